//! Ctrl-C: the first stops the work after a checkpoint, the second at once.

use anyhow::{Context, Result, bail};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Stack of the worker thread. Deep graphs are read recursively, so it equals that of a main
/// thread.
const STACK_BYTES: usize = 8 << 20;

/// Runs `work` on a thread of its own. The first SIGINT or SIGTERM sets the flag passed to `work`;
/// the second returns without waiting for it.
///
/// # Errors
/// Returns the error of `work`, or "interrupted".
pub(super) fn run(work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, mut done) = oneshot::channel();
        let thread = thread::Builder::new().name("work".into()).stack_size(STACK_BYTES);
        let flag = stop.clone();
        // The receiver is gone after a second signal.
        thread.spawn(move || drop(sender.send(work(&flag))))?;
        for _ in 0..2 {
            tokio::select! {
                done = &mut done => return done.context("this is a mistake of the program")?,
                () = any(&mut interrupt, &mut terminate) => {}
            }
            if !stop.swap(true, Ordering::Relaxed) {
                let text = "stopping after a checkpoint; press Ctrl-C again to stop at once";
                // The message is optional.
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
        bail!("interrupted")
    })
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
