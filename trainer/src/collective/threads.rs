//! Ranks as threads of one process, which needs no setup.

mod abort;
mod connection;
mod reduce;
mod channels;

use crate::collective::Collective;
use crate::error::TrainError;
use abort::{AbortSignal, Cause};
use connection::ThreadCollective;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Runs `work` on one thread per rank, and returns the results in the order of ranks.
///
/// An operation waits for others at most `timeout`. When a rank fails or panics, the operations of
/// all others end at once with an error that names it.
///
/// # Errors
/// Returns the error of the rank that failed first.
pub fn threads<T: Send>(
    world: usize,
    timeout: Duration,
    work: impl Fn(usize, Box<dyn Collective>) -> Result<T, TrainError> + Sync,
) -> Result<Vec<T>, TrainError> {
    let signal = Arc::new(AbortSignal::new());
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let connections = ThreadCollective::group(world, timeout, &signal);
        let start = |(rank, connection): (usize, ThreadCollective)| {
            let (work, signal) = (&work, &signal);
            let open_channels = connection.open_channels();
            scope.spawn(move || {
                let result = run_rank(rank, signal, || work(rank, Box::new(connection)));
                open_channels.lock().clear();
                result
            })
        };
        let running: Vec<_> = connections.into_iter().enumerate().map(start).collect();
        running
            .into_iter()
            .enumerate()
            .map(|(rank, thread)| {
                thread.join().unwrap_or_else(|panic| Err(panicked(rank, panic.as_ref())))
            })
            .collect()
    });
    if let Some(first) = signal.first_failed()
        && results.get(first).is_some_and(Result::is_err)
    {
        results.swap(0, first);
    }
    results.into_iter().collect()
}

/// Runs a rank's work, and aborts all ranks if it fails.
fn run_rank<T>(
    rank: usize,
    signal: &AbortSignal,
    work: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(panicked(rank, panic.as_ref())));
    if let Err(error) = &result {
        signal.abort(rank, Cause::of(rank, error));
    }
    result
}

fn panicked(rank: usize, panic: &(dyn Any + Send)) -> TrainError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    TrainError::Panicked { rank, message: text.unwrap_or_else(|| "no message".to_owned()) }
}
