//! Tests the threads that load, with a loader that opens nothing.

use super::*;
use crate::replica::thread_pool::ThreadPool;
use crate::repository::source::scan_folder;
use crate::thread_priority::Spawner;
use std::fs;

fn job(name: &str) -> LoadJob {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1")).unwrap();
    fs::write(folder.path().join("1/model.onnx"), "no model").unwrap();
    let mut scan = scan_folder(folder.path(), name, None);
    let (source, config) = (scan.versions.remove(&1).unwrap(), scan.config.unwrap());
    let origin = Origin { source, config };
    LoadJob { name: name.into(), version: 1, folder: folder.path().to_owned(), origin }
}

#[test]
fn a_thread_stays_while_jobs_wait_for_their_turn() {
    let queue = LoadQueue { idle_max: Duration::from_millis(1), ..LoadQueue::new(1) };
    queue.add(job("long"));
    queue.add(job("waits"));
    let first = queue.next().unwrap();
    // The first keeps its slot far longer than a thread without a job stays.
    let second = queue.next().unwrap();
    assert_eq!((&*first.name, &*second.name), ("long", "waits"));
    assert!(queue.next().is_none());
}

#[test]
fn a_thread_that_could_not_be_started_is_started_later() {
    let (events, inbox) = mpsc::channel();
    let loader = Loader {
        backends: Vec::new(),
        threads: ThreadPool::start(Spawner::start().unwrap()).unwrap(),
        probe: None,
        cores: 1,
        objective_ms: None,
        comparing: Mutex::default(),
        operator_libraries: Vec::new(),
    };
    let mut pool = LoadPool::new(Arc::new(loader), Arc::new(Shared::new(1)), events);
    pool.keep_going();
    assert!(pool.threads.is_empty() && pool.pause().is_none());
    // As after a push to which the system gave no thread.
    pool.queue().add(job("waits"));
    pool.lacks_thread = true;
    assert!(pool.pause().is_some());
    pool.keep_going();
    assert!(pool.pause().is_none());
    let event = inbox.recv_timeout(Duration::from_secs(20)).unwrap();
    let Event::Loaded(loaded) = event else { panic!("another event") };
    assert_eq!(loaded.name, "waits");
    assert!(loaded.result.err().unwrap().contains("no backend opens"));
    pool.close();
}
