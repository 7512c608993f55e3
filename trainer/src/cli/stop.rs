//! Ctrl-C: the first ends the work soon, and well; the second at once.

use anyhow::{Context, Result, bail};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Deep graphs are read by recursion, so the thread gets what a first thread has.
const STACK_BYTES: usize = 8 << 20;

/// Does the work on a thread of its own. When the process is told to stop, what the work is given
/// becomes true; when it is told again, it is not waited for any more.
///
/// # Errors
/// What the work says; that it was interrupted.
pub(super) fn run(work: impl FnOnce(&AtomicBool) -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, mut done) = oneshot::channel();
        let thread = thread::Builder::new().name("work".into()).stack_size(STACK_BYTES);
        let asked = stop.clone();
        // Nobody waits for the result once the process was told twice.
        thread.spawn(move || drop(sender.send(work(&asked))))?;
        for _ in 0..2 {
            tokio::select! {
                done = &mut done => return done.context("this is a mistake of the program")?,
                () = any(&mut interrupt, &mut terminate) => {}
            }
            if !stop.swap(true, Ordering::Relaxed) {
                let told = "stopping: a checkpoint comes first; Ctrl-C again ends at once";
                // Whoever does not read this presses Ctrl-C again anyway.
                let _ = writeln!(io::stderr(), "{told}");
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
