//! The child process on the server's side: starts it, reads its reports, limits and ends it.

use super::protocol::{Job, LINE_BYTES_MAX, Report};
use crate::config::ProbeSettings;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Period at which the child's memory is checked.
const POLL: Duration = Duration::from_millis(20);

/// Time in which the last lines of an ended child are read.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Bytes kept of the end of the child's standard error.
const TAIL_BYTES: usize = 2 << 10;

/// Reports that may be queued.
const REPORTS_MAX: usize = 64;

/// Reason for which a child sends no further report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ending {
    #[error("it ended the process with {0}")]
    Died(String),
    /// Killed from outside, possibly for a reason other than its work.
    #[error("its process was killed by the system or a user, as it is when memory is short")]
    Killed,
    #[error("it took longer than {0} ms; the flag --probe-timeout-ms sets that")]
    Time(u64),
    #[error("it took more than {0} bytes of memory; the flag --probe-memory-bytes-max sets that")]
    Memory(u64),
    #[error("the server stops")]
    Stopped,
}

/// Limits on a child until its next report.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) time: Duration,
    pub(super) memory_bytes: u64,
    /// True once the server stops.
    pub(super) stopping: &'a AtomicBool,
}

/// A running child. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    jobs: Option<ChildStdin>,
    reports: mpsc::Receiver<Report>,
    tail: Arc<Mutex<VecDeque<u8>>>,
    /// True once the child has reported that it takes jobs.
    pub(super) is_ready: bool,
}

impl Process {
    /// Starts a child. The calling thread must outlive it.
    pub(super) fn start(settings: &ProbeSettings, cores: usize) -> io::Result<Self> {
        let mut child = Command::new(&settings.program)
            .arg0("skysail-probe")
            .args(&settings.arguments)
            .arg(cores.to_string())
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, reports) = mpsc::sync_channel(REPORTS_MAX);
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let writer = Arc::clone(&tail);
        let (jobs, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Self { child, jobs, reports, tail, is_ready: false };
        // These threads end when the pipes close, whichever process holds the other ends.
        if let Some(output) = output {
            Builder::new().name("probe-out".into()).spawn(move || read_reports(output, &sender))?;
        }
        if let Some(errors) = errors {
            Builder::new().name("probe-err".into()).spawn(move || read_tail(errors, &writer))?;
        }
        Ok(process)
    }

    /// Sends a job to the child.
    pub(super) fn send(&mut self, job: &Job) -> io::Result<()> {
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("the path of the file is too long"));
        }
        let jobs = self.jobs.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        jobs.write_all(&line)
    }

    /// Waits for the next report. On an error the child is dead.
    pub(super) fn next(&mut self, limits: Limits<'_>) -> Result<Report, Ending> {
        let started = Instant::now();
        loop {
            match self.reports.recv_timeout(POLL) {
                Ok(report) => return Ok(report),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.finish()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let last = self.reports.recv_timeout(LAST_LINES);
                return last.map_err(|_| died(status));
            }
            let ending = if limits.stopping.load(Relaxed) {
                Ending::Stopped
            } else if started.elapsed() > limits.time {
                Ending::Time(u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX))
            } else if self.memory_bytes() > limits.memory_bytes {
                Ending::Memory(limits.memory_bytes)
            } else {
                continue;
            };
            self.kill();
            return Err(ending);
        }
    }

    /// Bytes of RAM that the child uses now; 0 if the system does not tell. Address space is no
    /// measure, as it includes each thread's stack and arena.
    pub(super) fn memory_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let pages = text.ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
    }

    /// The end of the child's standard error, as one line.
    pub(super) fn last_words(&self) -> String {
        let tail: Vec<u8> = self.tail.lock().iter().copied().collect();
        String::from_utf8_lossy(&tail).trim().escape_debug().to_string()
    }

    /// Ends a child that has closed its output, and returns the reason.
    fn finish(&mut self) -> Ending {
        // A child that has died keeps its own status.
        self.kill();
        self.child.wait().map_or(Ending::Died("an unknown status".into()), died)
    }

    fn kill(&mut self) {
        // An error means that the child has ended.
        drop(self.child.kill());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        drop(self.child.wait());
    }
}

/// Reads reports. Other lines, which a model may make the child print, are ignored.
fn read_reports(output: impl Read, reports: &mpsc::SyncSender<Report>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match output.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Ok(report) = serde_json::from_slice(&line)
            && reports.send(report).is_err()
        {
            return;
        }
    }
}

/// Keeps the end of the child's standard error.
fn read_tail(mut errors: impl Read, tail: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        let count = match errors.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut tail = tail.lock();
        tail.extend(&buffer[..count]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }
}

fn died(status: ExitStatus) -> Ending {
    const KILL: i32 = 9;
    let known = [(4, "ILL"), (5, "TRAP"), (6, "ABRT"), (7, "BUS"), (8, "FPE"), (11, "SEGV")];
    let Some(signal) = status.signal() else {
        return Ending::Died(format!("exit code {}", status.code().unwrap_or(-1)));
    };
    if signal == KILL {
        return Ending::Killed;
    }
    let name = known.iter().find(|(number, _)| *number == signal);
    Ending::Died(match name {
        Some((_, name)) => format!("signal {signal} (SIG{name})"),
        None => format!("signal {signal}"),
    })
}
