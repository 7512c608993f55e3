//! Tests threads that versions share.

use super::*;
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use crate::executor::Executor;
use crate::executor::puppet::{echo, puppet};
use crate::testing::{HANG, answer, batches, endpoint, help, request};
use std::sync::{Barrier, mpsc};

fn pool() -> ThreadPool {
    ThreadPool::start(Spawner::start().unwrap()).unwrap()
}

/// A version whose threads come from the pool.
fn served(pool: &ThreadPool, executors: Vec<Box<dyn Executor>>) -> Arc<Endpoint> {
    let endpoint = endpoint(batches(1), executors, ModelConfig::default());
    endpoint.model().queue().serve_with(pool.handle(), endpoint.model());
    endpoint
}

#[test]
fn each_replica_has_a_thread_while_there_is_work() {
    let pool = pool();
    let meeting = Arc::new(Barrier::new(3));
    let executor = || {
        let meeting = Arc::clone(&meeting);
        puppet(move |inputs| {
            meeting.wait();
            Ok(echo(inputs))
        })
    };
    let endpoint = served(&pool, (0..3).map(|_| executor()).collect());
    // A run ends only while the two others run.
    let mut tickets: Vec<_> =
        (0..30_u8).map(|row| endpoint.submit(request(&[row.into()])).unwrap()).collect();
    assert!(tickets.iter_mut().all(|ticket| help(ticket).is_pending()));
    for (row, ticket) in (0..30_u8).zip(tickets) {
        assert_eq!(answer(ticket).unwrap(), [f32::from(row)]);
    }
}

#[test]
fn a_long_run_of_one_version_holds_no_other_up() {
    let pool = pool();
    let (go, wait) = mpsc::channel::<()>();
    let long = served(
        &pool,
        vec![puppet(move |inputs| {
            wait.recv_timeout(HANG).unwrap();
            Ok(echo(inputs))
        })],
    );
    let mut slow = long.submit(request(&[1.0])).unwrap();
    assert!(help(&mut slow).is_pending());
    let short = served(&pool, vec![puppet(|inputs| Ok(echo(inputs)))]);
    for row in [2.0, 3.0, 4.0] {
        assert_eq!(answer(short.submit(request(&[row])).unwrap()).unwrap(), [row]);
    }
    go.send(()).unwrap();
    assert_eq!(answer(slow).unwrap(), [1.0]);
}

#[test]
fn idle_versions_have_no_threads() {
    let pool = pool();
    let versions: Vec<_> =
        (0..20).map(|_| served(&pool, vec![puppet(|inputs| Ok(echo(inputs)))])).collect();
    for version in &versions {
        assert_eq!(answer(version.submit(request(&[1.0])).unwrap()).unwrap(), [1.0]);
        version.model().queue().close();
        version.model().queue().wait_until_ended();
        assert_eq!(version.model().queue().threads(), 0);
    }
}
