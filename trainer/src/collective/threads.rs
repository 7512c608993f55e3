//! Ranks as threads of one process: nothing to install, nothing to configure.

mod alarm;
mod end;
mod reduce;
mod wires;

use crate::collective::Collective;
use crate::error::TrainError;
use alarm::{Alarm, Cause};
use end::End;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Runs `work` on each rank, a thread each, and gives what each returned, in the order of ranks.
///
/// An operation waits for others at most `deadline`. When a rank returns an error or panics, the
/// operations of all others end at once with an error that names it.
///
/// # Errors
/// That of the rank that failed first.
pub fn threads<T: Send>(
    world: usize,
    deadline: Duration,
    work: impl Fn(usize, Box<dyn Collective>) -> Result<T, TrainError> + Sync,
) -> Result<Vec<T>, TrainError> {
    let alarm = Arc::new(Alarm::new());
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let ends = End::group(world, deadline, &alarm);
        let start = |(rank, end): (usize, End)| {
            let (work, alarm) = (&work, &alarm);
            let kept = end.kept();
            scope.spawn(move || {
                let result = watched(rank, alarm, || work(rank, Box::new(end)));
                kept.lock().clear();
                result
            })
        };
        let running: Vec<_> = ends.into_iter().enumerate().map(start).collect();
        running
            .into_iter()
            .enumerate()
            .map(|(rank, thread)| {
                thread.join().unwrap_or_else(|panic| Err(panicked(rank, panic.as_ref())))
            })
            .collect()
    });
    if let Some(first) = alarm.first()
        && results.get(first).is_some_and(Result::is_err)
    {
        results.swap(0, first);
    }
    results.into_iter().collect()
}

/// Runs a rank's work, and rings the alarm if it fails.
fn watched<T>(
    rank: usize,
    alarm: &Alarm,
    work: impl FnOnce() -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(panicked(rank, panic.as_ref())));
    if let Err(error) = &result {
        alarm.ring(rank, Cause::of(rank, error));
    }
    result
}

fn panicked(rank: usize, panic: &(dyn Any + Send)) -> TrainError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    TrainError::Panicked { rank, message: text.unwrap_or_else(|| "for no reason given".to_owned()) }
}
