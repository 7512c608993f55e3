//! The threads of a server with several models: how many there are, and their priority. Nothing
//! else runs in this process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_graph::mlp;
use std::fs;
use support::{CORES, Models};

/// What the loading thread's nice value is at least.
const LOW_PRIORITY: i32 = 10;

/// The name and the nice value of every thread of this process.
fn threads() -> Vec<(String, i32)> {
    let thread = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (start, fields) = stat.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        Some((name.to_owned(), fields.split_whitespace().nth(16)?.parse().ok()?))
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| thread(task.unwrap())).collect()
}

#[test]
fn models_share_one_pool_and_nothing_that_serves_has_a_low_priority() {
    let own = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let normal: i32 =
        own.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
    let models = Models::on_all_cores();
    // It reads 24 MiB of weights for each row, which takes any processor long enough.
    let model = mlp(&[512, 2048, 2048, 512], 7).unwrap();
    let load = |name: &str, toml: &str| models.load_new(name, &model, toml).unwrap();

    let first = load("first", "");
    assert_eq!(first.replicas() * first.threads(), CORES);
    for name in ["second", "third"] {
        let before = threads().len();
        let model = load(name, "");
        assert_eq!(threads().len() - before, model.replicas(), "{:?}", threads());
    }
    let before = threads().len();
    let pinned = load("pinned", "replicas = { count = 2, threads = 3 }");
    assert_eq!((pinned.replicas(), pinned.threads()), (2, 3));
    let all = threads();
    let named = |start: &str| all.iter().filter(|(name, _)| name.starts_with(start)).count();
    assert_eq!(named("pool"), 2 * 2, "{all:?}");
    assert_eq!(all.len() - before, 2 + 2 * 2, "{all:?}");

    for (name, nice) in &all {
        let wanted = if name == "repository" { normal.max(LOW_PRIORITY) } else { normal };
        assert_eq!(*nice, wanted, "{name} of {all:?}");
    }
}
