//! A thread that runs children of the probe, one at a time: sends them jobs, judges how they end, and
//! caches the verdicts.

use super::Subject;
use super::cache_key::{self, SubjectFiles};
use super::pending::PendingProbe;
use super::process::{Ending, Limits, Process};
use super::protocol::{Extent, Job, Report};
use super::queue::{ProbeQueue, Work};
use super::verdict_cache::{Verdict, VerdictCache};
use crate::config::ProbeSettings;
use crate::load::is_package;
use crate::thread_priority::{self, Role};
use crate::zero_elements::{ZeroDims, ZeroTrials};
use monitor::{JobMonitor, JobOutcome, Step};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

mod monitor;
#[cfg(test)]
mod tests;

/// Time without a job after which a child is ended and new verdicts are written.
const IDLE: Duration = Duration::from_millis(500);

/// Memory after a job above which a child is not used for another.
const KEPT_BYTES: u64 = 512 << 20;

/// Children for one version, at most.
const CHILDREN_MAX: usize = 10;

/// Default memory limit of a child, at least.
const MEMORY_MIN: u64 = 2 << 30;

/// Default memory limit of a child, as a multiple of the bytes of its files.
const MEMORY_FACTOR: u64 = 16;

/// The same for a package, whose weights are coded.
const PACKAGE_MEMORY_FACTOR: u64 = 64;

/// Default memory limit of a child as a share of the machine's memory, at most.
const MEMORY_SHARE: f64 = 0.75;

/// Result of probing one version.
enum Found {
    /// A verdict that may be cached.
    Verdict(Verdict),
    /// Everything but results for zero dimensions, which take long.
    LeftZeroDims,
    /// Nothing to be cached.
    Nothing,
}

/// State that all workers share.
pub(super) struct Context {
    settings: ProbeSettings,
    cores: usize,
    pub(super) runtime: String,
    pub(super) cache: Mutex<VerdictCache>,
    /// Verdicts to be cached once a worker has nothing else to do.
    unkept: Mutex<Vec<NewVerdict>>,
    pub(super) queue: ProbeQueue,
    pub(super) stopping: Arc<AtomicBool>,
    /// True once a warning was logged that no child can be used.
    has_warned: AtomicBool,
}

impl Context {
    /// The context of workers for the runtime with this identity.
    pub(super) fn new(settings: ProbeSettings, cores: usize, runtime: String) -> Self {
        let cache = Mutex::new(VerdictCache::read(settings.cache.as_deref()));
        let (queue, stopping) = (ProbeQueue::default(), Arc::default());
        Self {
            settings,
            cores,
            runtime,
            cache,
            unkept: Mutex::default(),
            queue,
            stopping,
            has_warned: AtomicBool::new(false),
        }
    }
}

/// A verdict that is not cached yet, and the files that it is of.
struct NewVerdict {
    subject: Subject,
    files: SubjectFiles,
    verdict: Verdict,
}

/// A worker with its child.
pub(super) struct Worker {
    context: Arc<Context>,
    child: Option<Process>,
    /// True if the thread waits for work as long as the server runs.
    stays: bool,
}

impl Worker {
    pub(super) fn new(context: Arc<Context>, stays: bool) -> Self {
        Self { context, child: None, stays }
    }

    pub(super) fn run(mut self) {
        thread_priority::lower_priority(Role::Load);
        if self.stays && self.context.cache.lock().is_empty() {
            // The child starts while the first files are read. An error is reported when it is used.
            self.child = Process::start(&self.context.settings, self.context.cores).ok();
        }
        let context = Arc::clone(&self.context);
        loop {
            match context.queue.next(IDLE) {
                Work::Probe(probe) => self.complete(&probe),
                Work::ZeroTrials(probe) => {
                    self.complete_later(&probe);
                    context.queue.end_later();
                }
                Work::Idle => {
                    self.child = None;
                    self.keep_verdicts();
                    context.cache.lock().save();
                    if !self.stays {
                        return;
                    }
                }
                Work::Closed => break,
            }
        }
        self.keep_verdicts();
        context.cache.lock().save();
    }

    /// Completes a probe from the cache or with a child. All of its results are set in any case, but
    /// those for zero dimensions that come later.
    fn complete(&mut self, probe: &Arc<PendingProbe>) {
        let context = Arc::clone(&self.context);
        if context.stopping.load(Relaxed) {
            return probe.set_load(Err(Ending::Stopped.to_string()));
        }
        let files = cache_key::files(&probe.subject).ok();
        let bytes = files.as_ref().map_or(0, SubjectFiles::bytes);
        let verdict = match self.cached(&probe.subject, files.as_ref()) {
            Some(cached) => Some(cached),
            None => match self.probe(probe, bytes, Extent::Quick) {
                Found::Verdict(found) => {
                    self.remember(probe, files, &found);
                    Some(found)
                }
                Found::Nothing => None,
                Found::LeftZeroDims => {
                    probe.set_load(Ok(()));
                    probe.postpone_zero_trials();
                    return context.queue.push_later(Arc::clone(probe));
                }
            },
        };
        match verdict {
            Some(Verdict::Crashes(why)) => {
                probe.set_load(Err(why));
                probe.set_zero_trials(Some(ZeroTrials::default()));
            }
            Some(Verdict::CrashesWithRows(why)) => {
                probe.set_load(Ok(()));
                probe.refuse_rows(why);
                probe.set_zero_trials(Some(ZeroTrials::default()));
            }
            Some(Verdict::Rejected) => {
                probe.set_load(Ok(()));
                probe.set_zero_trials(Some(ZeroTrials::default()));
            }
            Some(Verdict::Runs { zero_trials, rows }) => {
                probe.set_load(Ok(()));
                probe.set_rows(rows);
                probe.set_zero_trials(Some(zero_trials));
            }
            // The results are set already, or nothing could be probed.
            None => {
                probe.set_load(Ok(()));
                probe.set_zero_trials(None);
            }
        }
    }

    /// Tries the zero dimensions of a version that is loaded already.
    fn complete_later(&mut self, probe: &PendingProbe) {
        let context = Arc::clone(&self.context);
        if context.stopping.load(Relaxed) {
            return;
        }
        let files = cache_key::files(&probe.subject).ok();
        let bytes = files.as_ref().map_or(0, SubjectFiles::bytes);
        if let Found::Verdict(Verdict::Runs { zero_trials, .. }) =
            self.probe(probe, bytes, Extent::ZeroDims)
        {
            let rows = probe.wait_rows(&context.stopping).ok().flatten();
            let verdict = Verdict::Runs { zero_trials: zero_trials.clone(), rows };
            self.remember(probe, files, &verdict);
            probe.set_zero_trials(Some(zero_trials));
        }
        // Dimensions without a result are not run.
        probe.set_zero_trials(Some(ZeroTrials::default()));
    }

    /// The cached verdict of a version with these files.
    fn cached(&self, subject: &Subject, files: Option<&SubjectFiles>) -> Option<Verdict> {
        let (files, context) = (files?, &self.context);
        let is_this = |new: &&NewVerdict| new.subject == *subject && new.files == *files;
        if let Some(new) = context.unkept.lock().iter().rev().find(is_this) {
            return Some(new.verdict.clone());
        }
        if files.are_new(&context.cache.lock()) {
            return None;
        }
        let key = cache_key::key(subject, files, context).ok()?;
        context.cache.lock().verdict(&key)
    }

    /// Notes a verdict to be cached; `files` are those that were found before the probe.
    fn remember(&self, probe: &PendingProbe, files: Option<SubjectFiles>, verdict: &Verdict) {
        let Some(files) = files else { return };
        let (subject, verdict) = (probe.subject.clone(), verdict.clone());
        self.context.unkept.lock().push(NewVerdict { subject, files, verdict });
    }

    /// Caches the verdicts that were noted, of files that have not changed meanwhile.
    fn keep_verdicts(&self) {
        let context = &self.context;
        let unkept = std::mem::take(&mut *context.unkept.lock());
        for NewVerdict { subject, files, verdict } in unkept {
            if cache_key::files(&subject).is_ok_and(|now| now == files)
                && let Ok(key) = cache_key::key(&subject, &files, context)
            {
                context.cache.lock().insert_verdict(&key, verdict);
            }
        }
    }

    /// Probes a version in as many children as it takes. Returns the verdict to be cached, and sets
    /// results that are not.
    fn probe(&mut self, probe: &PendingProbe, bytes: u64, extent: Extent) -> Found {
        let memory_bytes = self.memory_bytes(probe, bytes);
        let mut crashed: Vec<ZeroDims> = Vec::new();
        let (mut has_died, mut is_lasting) = (false, true);
        for _ in 0..CHILDREN_MAX {
            let job = Job {
                file: probe.subject.file.clone(),
                settings: probe.subject.settings,
                extent,
                libraries: probe.subject.libraries.clone(),
                crashed: crashed.clone(),
            };
            let outcome = match self.run_job(probe, &job, memory_bytes) {
                Ok(outcome) => outcome,
                Err(_) if self.context.stopping.load(Relaxed) => {
                    probe.set_load(Err(Ending::Stopped.to_string()));
                    return Found::Nothing;
                }
                Err(error) => {
                    self.warn_unprobed(&error);
                    return Found::Nothing;
                }
            };
            match outcome {
                JobOutcome::Done { left_zero_dims: true, .. } => return Found::LeftZeroDims,
                JobOutcome::Done { zero_trials, rows, .. } => {
                    let crashed = crashed.into_iter().collect();
                    let zero_trials = ZeroTrials { crashed, ..zero_trials };
                    if is_lasting {
                        return Found::Verdict(Verdict::Runs { zero_trials, rows });
                    }
                    probe.set_zero_trials(Some(zero_trials));
                    return Found::Nothing;
                }
                JobOutcome::Rejected { always: true } => return Found::Verdict(Verdict::Rejected),
                JobOutcome::Rejected { always: false } => break,
                // One death may be chance, or caused by earlier jobs of this child.
                JobOutcome::Ended(Ending::Died(_) | Ending::Killed, _) if !has_died => {
                    has_died = true;
                }
                JobOutcome::Ended(Ending::Stopped, _) => {
                    probe.set_load(Err(Ending::Stopped.to_string()));
                    return Found::Nothing;
                }
                JobOutcome::Ended(ending, step) => {
                    let verdict = self.judge(probe, &ending, step, &crashed);
                    return verdict.map_or(Found::Nothing, Found::Verdict);
                }
                JobOutcome::EndedAtZero(ending, dims) => {
                    // A timeout may come from a busy machine.
                    is_lasting &= matches!(ending, Ending::Died(_));
                    crashed.push(dims);
                }
            }
        }
        // Dimensions without a result are not run.
        let crashed = crashed.into_iter().collect();
        probe.set_load(Ok(()));
        probe.set_zero_trials(Some(ZeroTrials { crashed, ..ZeroTrials::default() }));
        Found::Nothing
    }

    /// Derives the verdict from the way in which a child ended.
    fn judge(
        &self,
        probe: &PendingProbe,
        ending: &Ending,
        step: Step,
        crashed: &[ZeroDims],
    ) -> Option<Verdict> {
        let file = probe.subject.file.display();
        let why = format!("it was tried in a process of its own, and {step} {ending}");
        tracing::debug!("{file}: {why}");
        match ending {
            Ending::Died(_) if crashed.is_empty() => Some(match step {
                Step::Rows => Verdict::CrashesWithRows(why),
                Step::Load | Step::Row | Step::Later => Verdict::Crashes(why),
            }),
            // A busy machine, or one short of memory, may be the cause. So this is not cached.
            _ => {
                probe.set_load(Err(why));
                let crashed = crashed.iter().cloned().collect();
                probe.set_zero_trials(Some(ZeroTrials { crashed, ..ZeroTrials::default() }));
                None
            }
        }
    }

    /// Sends a job to a child and follows it to its end.
    fn run_job(
        &mut self,
        probe: &PendingProbe,
        job: &Job,
        memory_bytes: u64,
    ) -> io::Result<JobOutcome> {
        let is_kept = self.child.is_some();
        let mut child = match self.send(job, memory_bytes) {
            // A kept child may have been killed while it had no job, which tells nothing of this one.
            Err(_) if is_kept => self.send(job, memory_bytes)?,
            sent => sent?,
        };
        let outcome = JobMonitor { probe, child: &mut child, timeout: self.timeout() }
            .follow(memory_bytes, &self.context.stopping);
        match &outcome {
            JobOutcome::Done { .. } | JobOutcome::Rejected { .. }
                if child.memory_bytes() <= KEPT_BYTES =>
            {
                self.child = Some(child);
            }
            JobOutcome::Done { .. } | JobOutcome::Rejected { .. } => {}
            JobOutcome::Ended(..) | JobOutcome::EndedAtZero(..) => {
                let (file, words) = (job.file.display(), child.last_words());
                let doing = match &outcome {
                    JobOutcome::EndedAtZero(ending, dims) => {
                        format!("with zero as (input, dimension) {dims:?} {ending}")
                    }
                    JobOutcome::Ended(ending, step) => format!("{step} {ending}"),
                    JobOutcome::Done { .. } | JobOutcome::Rejected { .. } => String::new(),
                };
                tracing::warn!("trial of {file}: {doing}; its process wrote last: {words}");
            }
        }
        Ok(outcome)
    }

    /// Sends a job to the kept child, or to a new one.
    fn send(&mut self, job: &Job, memory_bytes: u64) -> io::Result<Process> {
        let mut child = self.child(memory_bytes)?;
        child.send(job)?;
        Ok(child)
    }

    /// Returns a child that takes jobs: the kept one, or a new one.
    fn child(&mut self, memory_bytes: u64) -> io::Result<Process> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => Process::start(&self.context.settings, self.context.cores)?,
        };
        if child.is_ready {
            return Ok(child);
        }
        let time = self.timeout();
        match child.next(Limits { time, memory_bytes, stopping: &self.context.stopping }) {
            Ok(Report::Ready) => {
                child.is_ready = true;
                Ok(child)
            }
            Ok(_) => Err(io::Error::other("it does not talk as a trial's process does")),
            Err(ending) => {
                Err(io::Error::other(format!("{ending}; it wrote: {}", child.last_words())))
            }
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.context.settings.timeout_ms)
    }

    fn memory_bytes(&self, probe: &PendingProbe, bytes: u64) -> u64 {
        let is_package = is_package(&probe.subject.file);
        let factor = if is_package { PACKAGE_MEMORY_FACTOR } else { MEMORY_FACTOR };
        let by_files = bytes.saturating_mul(factor).max(MEMORY_MIN);
        let machine = machine_bytes().map(|bytes| (bytes as f64 * MEMORY_SHARE) as u64);
        self.context.settings.memory_bytes_max.unwrap_or(by_files.min(machine.unwrap_or(u64::MAX)))
    }

    /// Warns once that versions are loaded without a probe.
    fn warn_unprobed(&self, error: &io::Error) {
        if !self.context.has_warned.swap(true, Relaxed) {
            let program = self.context.settings.program.display();
            tracing::warn!(
                "versions are loaded without a trial in a process of their own, as {program} can \
                 not be used for that: {error}; --probe never turns trials off"
            );
        }
    }
}

/// Bytes of the machine's RAM.
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
