//! The child as the server has it: started, listened to, watched and ended.

use super::talk::{Job, LINE_BYTES_MAX, Report};
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

/// How often the child's memory is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long lines that were written before the end may take to be read.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Bytes that are kept of what the child wrote last to its standard error.
const TAIL_BYTES: usize = 2 << 10;

/// Reports that wait to be taken.
const REPORTS_MAX: usize = 64;

/// Why a child gives no further report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("it ended the process with {0}")]
    Died(String),
    /// From outside: what it was doing may have nothing to do with it.
    #[error("its process was killed by the system or by somebody, as it is when memory is short")]
    Killed,
    #[error("it took longer than {0} ms; the flag --probe-timeout-ms sets that")]
    Time(u64),
    #[error("it took more than {0} bytes of memory; the flag --probe-memory-bytes-max sets that")]
    Memory(u64),
    #[error("the server stops")]
    Stopped,
}

/// What a child may take until its next report.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) time: Duration,
    pub(super) memory_bytes: u64,
    /// Set when the server stops.
    pub(super) stopping: &'a AtomicBool,
}

/// A child that runs. It is killed when it is dropped.
pub(super) struct Process {
    child: Child,
    jobs: Option<ChildStdin>,
    reports: mpsc::Receiver<Report>,
    tail: Arc<Mutex<VecDeque<u8>>>,
    /// Whether it has said that it takes jobs.
    pub(super) is_ready: bool,
}

impl Process {
    /// Starts a child, by the thread that is to live as long as it.
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
        let kept = Arc::clone(&tail);
        let (jobs, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Self { child, jobs, reports, tail, is_ready: false };
        // They end with the pipes, whoever has the other ends by then.
        if let Some(output) = output {
            Builder::new().name("probe-out".into()).spawn(move || listen(output, &sender))?;
        }
        if let Some(errors) = errors {
            Builder::new().name("probe-err".into()).spawn(move || keep_tail(errors, &kept))?;
        }
        Ok(process)
    }

    /// Gives it a job.
    pub(super) fn give(&mut self, job: &Job) -> io::Result<()> {
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("the path of the file is too long"));
        }
        let jobs = self.jobs.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        jobs.write_all(&line)
    }

    /// The next report, or why there is none; the child is dead then.
    pub(super) fn next(&mut self, limits: Limits<'_>) -> Result<Report, End> {
        let begun = Instant::now();
        loop {
            match self.reports.recv_timeout(POLL) {
                Ok(report) => return Ok(report),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.end()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let last = self.reports.recv_timeout(LAST_LINES);
                return last.map_err(|_| died(status));
            }
            let end = if limits.stopping.load(Relaxed) {
                End::Stopped
            } else if begun.elapsed() > limits.time {
                End::Time(u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX))
            } else if self.memory_bytes() > limits.memory_bytes {
                End::Memory(limits.memory_bytes)
            } else {
                continue;
            };
            self.kill();
            return Err(end);
        }
    }

    /// Bytes of RAM that it has now; 0 when the system does not tell. The address space says
    /// nothing of it: each thread's stack and arena count there.
    pub(super) fn memory_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let pages = text.ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        pages.unwrap_or(0).saturating_mul(rustix::param::page_size() as u64)
    }

    /// What it wrote last to its standard error, as one line.
    pub(super) fn last_words(&self) -> String {
        let tail: Vec<u8> = self.tail.lock().iter().copied().collect();
        String::from_utf8_lossy(&tail).trim().escape_debug().to_string()
    }

    /// Of a child that has closed its output.
    fn end(&mut self) -> End {
        // One that dies already keeps its own status.
        self.kill();
        self.child.wait().map_or(End::Died("an unknown status".into()), died)
    }

    fn kill(&mut self) {
        // An error means that it has ended.
        drop(self.child.kill());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        drop(self.child.wait());
    }
}

/// Passes reports on. Whatever else a model makes the child print is none.
fn listen(output: impl Read, reports: &mpsc::SyncSender<Report>) {
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

fn keep_tail(mut errors: impl Read, tail: &Mutex<VecDeque<u8>>) {
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

fn died(status: ExitStatus) -> End {
    const KILL: i32 = 9;
    let known = [(4, "ILL"), (5, "TRAP"), (6, "ABRT"), (7, "BUS"), (8, "FPE"), (11, "SEGV")];
    let Some(signal) = status.signal() else {
        return End::Died(format!("exit code {}", status.code().unwrap_or(-1)));
    };
    if signal == KILL {
        return End::Killed;
    }
    let name = known.iter().find(|(number, _)| *number == signal);
    End::Died(match name {
        Some((_, name)) => format!("signal {signal} (SIG{name})"),
        None => format!("signal {signal}"),
    })
}
