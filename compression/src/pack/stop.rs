//! Ctrl-C: the work ends at once, but not in the middle of what must be whole.

use anyhow::{Context, Result, bail};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Held while a file is written or ONNX Runtime runs.
static WHOLE: Mutex<()> = Mutex::new(());

/// Deep graphs are read by recursion, so the thread gets what a first thread has.
const STACK_BYTES: usize = 8 << 20;

/// Does what must not be cut off: the process does not end meanwhile. Not to be nested.
pub(crate) fn whole<T>(work: impl FnOnce() -> T) -> T {
    let _held = hold();
    work()
}

/// Does the work on a thread of its own, until it is done or the process is told to stop.
///
/// # Errors
/// What the work says; that it was interrupted.
pub(crate) fn run(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, done) = oneshot::channel();
        let thread = thread::Builder::new().name("work".into()).stack_size(STACK_BYTES);
        // Nobody waits for the result once the process was told to stop.
        thread.spawn(move || drop(sender.send(work())))?;
        tokio::select! {
            done = done => return done.context("this is a mistake of the program")?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Not given back: what has not begun by now never does.
        mem::forget(hold());
        bail!("interrupted")
    })
}

fn hold() -> MutexGuard<'static, ()> {
    WHOLE.lock().unwrap_or_else(PoisonError::into_inner)
}
