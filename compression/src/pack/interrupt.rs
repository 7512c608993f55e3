//! Ctrl-C: the work ends at once, but not while a file is being written.

use anyhow::{Context, Result, bail};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Lock that is held while a file is written or ONNX Runtime runs.
static LOCK: Mutex<()> = Mutex::new(());

/// Stack of the work's thread in bytes, the same as that of a main thread: deep graphs are read by
/// recursion.
const STACK_BYTES: usize = 8 << 20;

/// Does work that must not be cut off: the process does not end meanwhile. Calls must not be
/// nested.
pub(crate) fn uninterrupted<T>(work: impl FnOnce() -> T) -> T {
    let _held = hold();
    work()
}

/// Runs the work on its own thread, until it is done or a signal ends the process.
///
/// # Errors
/// The work's error, or that it was interrupted.
pub(crate) fn run(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, done) = oneshot::channel();
        let thread = thread::Builder::new().name("work".into()).stack_size(STACK_BYTES);
        // Nobody waits for the result after a signal.
        thread.spawn(move || drop(sender.send(work())))?;
        tokio::select! {
            done = done => return done.context("this is a mistake of the program")?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // The lock is never released: protected work that has not begun never does.
        mem::forget(hold());
        bail!("interrupted")
    })
}

fn hold() -> MutexGuard<'static, ()> {
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
