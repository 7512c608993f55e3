//! Tests the number of threads of several models, and their priorities. No other test runs in this
//! process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_graph::mlp;
use std::fs;
use support::{CORES, Models};

/// Nice value of other threads.
const NORMAL: i32 = 0;
/// Nice value of threads that run models.
const EXECUTE: i32 = 5;
/// Nice value of the threads that load models, and of the one that decides what to load.
const LOAD: i32 = 15;

/// Name and nice value of every thread of this process, but for those of the pool that loads, which
/// come and go.
fn threads() -> Vec<(String, i32)> {
    let thread = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (start, fields) = stat.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        Some((name.to_owned(), fields.split_whitespace().nth(16)?.parse().ok()?))
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let all = tasks.filter_map(|task| thread(task.unwrap()));
    let (loading, others): (Vec<_>, _) = all.partition(|(name, _)| name == "load");
    assert!(loading.iter().all(|(_, nice)| *nice == LOAD), "{loading:?}");
    others
}

#[test]
fn models_share_one_pool_and_running_has_priority_over_loading() {
    let own = threads().len();
    if threads().iter().any(|(_, nice)| *nice != NORMAL) {
        println!("skipped: these tests do not run at normal priority themselves");
        return;
    }
    let models = Models::on_all_cores();
    // Reading 24 MiB of weights for each row takes every processor long enough.
    let model = mlp(&[512, 2048, 2048, 512], 7).unwrap();
    let load = |name: &str, toml: &str| models.load_new(name, &model, toml).unwrap();

    let first = load("first", "");
    assert_eq!(first.model().replicas() * first.model().threads(), CORES);
    for name in ["second", "third"] {
        let before = threads().len();
        load(name, "");
        assert_eq!(threads().len(), before, "an idle model has no thread: {:?}", threads());
    }
    let before = threads().len();
    let pinned = load("pinned", "replicas = { count = 2, threads = 3 }");
    assert_eq!((pinned.model().replicas(), pinned.model().threads()), (2, 3));
    let all = threads();
    let named = |start: &str| all.iter().filter(|(name, _)| name.starts_with(start)).count();
    assert_eq!(named("pool"), 2 * 2, "{all:?}");
    assert_eq!(all.len() - before, 2 * 2, "{all:?}");

    // Threads of the runtime's pool have the name of their creator, so they are only counted.
    let with = |nice: i32| all.iter().filter(|(_, own)| *own == nice).count();
    let is_loader = |(name, nice): &&(String, i32)| name == "repository" && *nice == LOAD;
    assert_eq!(all.iter().filter(is_loader).count(), 1, "{all:?}");
    assert_eq!((with(NORMAL), with(LOAD)), (own, 1), "{all:?}");
    assert_eq!(with(EXECUTE), all.len() - own - 1, "{all:?}");
}
