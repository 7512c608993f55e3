//! The thread that has the children: gives them jobs, judges how they end, remembers it.

use super::digest;
use super::meeting::Meeting;
use super::process::{End, Limits, Process};
use super::remembered::{Remembered, Verdict};
use super::talk::{Job, Report};
use crate::config::ProbeSettings;
use crate::empty::{Places, Zeros};
use crate::repository::load::is_package;
use crate::repository::row_trial::RowTrial;
use crate::threads::{self, Duty};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long a child without a job is kept, and what is new is not yet written.
const IDLE: Duration = Duration::from_millis(500);

/// A child that holds more after a job is not kept for another.
const KEPT_BYTES: u64 = 512 << 20;

/// Children in which one version is tried.
const CHILDREN_MAX: usize = 10;

/// Least time in which a run with dimensions that are zero counts as one that hangs, and how many
/// times as long as one row it may take.
const ZERO_TIME: Duration = Duration::from_secs(10);
const ZERO_TIMES: u32 = 20;

/// Memory that a child may have where nobody says: bytes at least, times its files, and times a
/// package, whose weights are coded; and of the machine's memory, this share at most.
const MEMORY_LEAST: u64 = 2 << 30;
const MEMORY_TIMES: u64 = 16;
const PACKAGE_TIMES: u64 = 64;
const MEMORY_SHARE: f64 = 0.75;

/// What one child made of a job.
enum Pass {
    /// It came to the end, with the dimensions that it lived through.
    Done(Zeros, Option<RowTrial>),
    /// The file can not be loaded, which a load here tells too; now, or always.
    Refused { always: bool },
    /// It ended while it loaded or ran one row.
    Ended(End, &'static str),
    /// It ended while these dimensions were zero.
    EndedAtZero(End, Places),
}

pub(super) struct Prober {
    settings: ProbeSettings,
    cores: usize,
    runtime: String,
    remembered: Remembered,
    stopping: Arc<AtomicBool>,
    child: Option<Process>,
    /// Whether it was said that there is no child to be had.
    is_told: bool,
}

impl Prober {
    /// Of a runtime, as what tells it from others.
    pub(super) fn new(
        settings: ProbeSettings,
        cores: usize,
        runtime: String,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let remembered = Remembered::read(settings.cache.as_deref());
        Self { settings, cores, runtime, remembered, stopping, child: None, is_told: false }
    }

    pub(super) fn run(mut self, meetings: &mpsc::Receiver<Weak<Meeting>>) {
        threads::lower_priority(Duty::Load);
        if self.remembered.is_empty() {
            // It starts while the first files are read. An error is told when it is wanted.
            self.child = Process::start(&self.settings, self.cores).ok();
        }
        loop {
            match meetings.recv_timeout(IDLE) {
                Ok(meeting) => {
                    // Nobody may want it any more.
                    if let Some(meeting) = meeting.upgrade() {
                        self.meet(&meeting);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.child = None;
                    self.remembered.save();
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.remembered.save();
    }

    /// Finds out what is to be known, and tells it in any case.
    fn meet(&mut self, meeting: &Meeting) {
        if self.stopping.load(Relaxed) {
            return meeting.tell_loads(Err(End::Stopped.to_string()));
        }
        let subject = &meeting.subject;
        let key = digest::key(subject, &self.runtime, &mut self.remembered);
        let (key, bytes) = key.map_or((None, 0), |(key, bytes)| (Some(key), bytes));
        let known = key.as_deref().and_then(|key| self.remembered.verdict(key));
        let verdict = match known {
            Some(known) => Some(known),
            None => {
                let found = self.probe(meeting, bytes);
                // Files that have changed in the meantime may have been tried in part.
                let now = digest::key(subject, &self.runtime, &mut self.remembered).ok();
                if let (Some(found), Some(key)) = (&found, &key)
                    && now.is_some_and(|(now, _)| now == *key)
                {
                    self.remembered.keep_verdict(key, found.clone());
                }
                found
            }
        };
        match verdict {
            Some(Verdict::Ends(why)) => meeting.tell_loads(Err(why)),
            Some(Verdict::Refused) => {
                meeting.tell_loads(Ok(()));
                meeting.tell_zeros(Some(Zeros::default()));
            }
            Some(Verdict::Lives { zeros, rows }) => {
                meeting.tell_loads(Ok(()));
                meeting.tell_compares(rows);
                meeting.tell_zeros(Some(zeros));
            }
            // It has been told, or nothing could be tried.
            None => {
                meeting.tell_loads(Ok(()));
                meeting.tell_zeros(None);
            }
        }
    }

    /// Tries a version in as many children as it takes; gives what is to be remembered of it, and
    /// tells what is not.
    fn probe(&mut self, meeting: &Meeting, bytes: u64) -> Option<Verdict> {
        let memory_bytes = self.memory_bytes(meeting, bytes);
        let mut ended: Vec<Places> = Vec::new();
        let (mut died, mut lasts) = (false, true);
        for _ in 0..CHILDREN_MAX {
            let job = Job {
                file: meeting.subject.file.clone(),
                settings: meeting.subject.settings,
                ended: ended.clone(),
            };
            let pass = match self.pass(meeting, &job, memory_bytes) {
                Ok(pass) => pass,
                Err(_) if self.stopping.load(Relaxed) => {
                    meeting.tell_loads(Err(End::Stopped.to_string()));
                    return None;
                }
                Err(error) => {
                    self.say_untried(&error);
                    return None;
                }
            };
            match pass {
                Pass::Done(zeros, rows) => {
                    let zeros = Zeros { ended: ended.into_iter().collect(), ..zeros };
                    meeting.tell_zeros(Some(zeros.clone()));
                    return lasts.then_some(Verdict::Lives { zeros, rows });
                }
                Pass::Refused { always: true } => return Some(Verdict::Refused),
                Pass::Refused { always: false } => break,
                // Once may be chance, or what others left behind in this child.
                Pass::Ended(End::Died(_) | End::Killed, _) if !died => died = true,
                Pass::Ended(end, doing) => return self.judge(meeting, &end, doing, &ended),
                Pass::EndedAtZero(end, places) => {
                    // A busy machine says nothing of the next time.
                    lasts &= matches!(end, End::Died(_));
                    ended.push(places);
                }
            }
        }
        // What was not found out is not run.
        let ended = ended.into_iter().collect();
        meeting.tell_loads(Ok(()));
        meeting.tell_zeros(Some(Zeros { ended, ..Zeros::default() }));
        None
    }

    /// What the end of a child says of a version.
    fn judge(
        &mut self,
        meeting: &Meeting,
        end: &End,
        doing: &str,
        ended: &[Places],
    ) -> Option<Verdict> {
        let file = meeting.subject.file.display();
        let why = format!("it was tried in a process of its own, and {doing} {end}");
        tracing::debug!("{file}: {why}");
        match end {
            End::Died(_) if ended.is_empty() => Some(Verdict::Ends(why)),
            // A busy machine or one short of memory says nothing of the next time.
            _ => {
                meeting.tell_loads(Err(why));
                let ended = ended.iter().cloned().collect();
                meeting.tell_zeros(Some(Zeros { ended, ..Zeros::default() }));
                None
            }
        }
    }

    /// Gives a job to a child and follows it to its end.
    fn pass(&mut self, meeting: &Meeting, job: &Job, memory_bytes: u64) -> io::Result<Pass> {
        let mut child = self.child(memory_bytes)?;
        child.give(job)?;
        let pass = Follow { meeting, child: &mut child, timeout: self.timeout() }
            .judge_reports(memory_bytes, &self.stopping);
        match &pass {
            Pass::Done(..) | Pass::Refused { .. } if child.memory_bytes() <= KEPT_BYTES => {
                self.child = Some(child);
            }
            Pass::Done(..) | Pass::Refused { .. } => {}
            Pass::Ended(..) | Pass::EndedAtZero(..) => {
                let (file, words) = (job.file.display(), child.last_words());
                let doing = match &pass {
                    Pass::EndedAtZero(end, places) => {
                        format!("with zero as (input, dimension) {places:?} {end}")
                    }
                    Pass::Ended(end, doing) => format!("{doing} {end}"),
                    Pass::Done(..) | Pass::Refused { .. } => String::new(),
                };
                tracing::warn!("trial of {file}: {doing}; its process wrote last: {words}");
            }
        }
        Ok(pass)
    }

    /// A child that takes jobs.
    fn child(&mut self, memory_bytes: u64) -> io::Result<Process> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => Process::start(&self.settings, self.cores)?,
        };
        if child.is_ready {
            return Ok(child);
        }
        let time = self.timeout();
        match child.next(Limits { time, memory_bytes, stopping: &self.stopping }) {
            Ok(Report::Ready) => {
                child.is_ready = true;
                Ok(child)
            }
            Ok(_) => Err(io::Error::other("it does not talk as a trial's process does")),
            Err(end) => Err(io::Error::other(format!("{end}; it wrote: {}", child.last_words()))),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.timeout_ms)
    }

    fn memory_bytes(&self, meeting: &Meeting, bytes: u64) -> u64 {
        let times = if is_package(&meeting.subject.file) { PACKAGE_TIMES } else { MEMORY_TIMES };
        let by_files = bytes.saturating_mul(times).max(MEMORY_LEAST);
        let machine = machine_bytes().map(|bytes| (bytes as f64 * MEMORY_SHARE) as u64);
        self.settings.memory_bytes_max.unwrap_or(by_files.min(machine.unwrap_or(u64::MAX)))
    }

    /// Says once that versions are loaded without having been tried.
    fn say_untried(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_told, true) {
            let program = self.settings.program.display();
            tracing::warn!(
                "versions are loaded without a trial in a process of their own, as {program} can \
                 not be used for that: {error}; --probe never turns trials off"
            );
        }
    }
}

/// A job on its way through a child.
struct Follow<'a> {
    meeting: &'a Meeting,
    child: &'a mut Process,
    timeout: Duration,
}

impl Follow<'_> {
    fn judge_reports(self, memory_bytes: u64, stopping: &AtomicBool) -> Pass {
        let Self { meeting, child, timeout } = self;
        let (mut time, mut at, mut begun) = (timeout, Report::Loads, Instant::now());
        let (mut zeros, mut rows) = (Zeros::default(), None);
        loop {
            let report = match child.next(Limits { time, memory_bytes, stopping }) {
                Ok(report) => report,
                Err(end) => return ended(end, at),
            };
            match report {
                Report::Refused { always } => return Pass::Refused { always },
                Report::Done => return Pass::Done(zeros, rows),
                Report::Lived(places) => drop(zeros.lived.insert(places)),
                Report::Ran => {
                    meeting.tell_loads(Ok(()));
                    time = timeout.min(ZERO_TIME.max(begun.elapsed() * ZERO_TIMES));
                    at = Report::Ran;
                }
                Report::Compared(found) => {
                    rows.clone_from(&found);
                    meeting.tell_compares(found);
                }
                Report::Runs => (at, begun) = (Report::Runs, Instant::now()),
                Report::Tries(_) | Report::Loads | Report::Shares => at = report,
                Report::Ready => {}
            }
        }
    }
}

/// What the end of a child means after what it said last.
fn ended(end: End, at: Report) -> Pass {
    match (end, at) {
        (end @ End::Stopped, _) => Pass::Ended(end, "then"),
        (end, Report::Tries(places)) => Pass::EndedAtZero(end, places),
        (end, Report::Runs) => Pass::Ended(end, "when it ran one row"),
        (end, Report::Ran | Report::Shares) => Pass::Ended(end, "after it ran one row"),
        (end, _) => Pass::Ended(end, "when it loaded"),
    }
}

/// Bytes of RAM that the machine has.
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
