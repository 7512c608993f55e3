//! Why a request took as long as it did: one cause, by rule, from what is known at its end.
//!
//! Each part of its time has a cause of its own, and an excess: what of that part was not to be
//! expected. The largest excess names the cause, if it is a fair share of the whole; else the time
//! was ordinary.

use std::fmt;

#[cfg(test)]
mod tests;

/// The part of a request's time that an excess must have to be its cause.
const SHARE_MIN: f64 = 0.25;

/// A run or a wait this much longer than predicted was slowed down by something.
const BEYOND: f64 = 1.5;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its answer.
    Completed,
    /// It was sound and turned down.
    Shed,
    /// It was no good, or something broke.
    Failed,
    /// Its caller left, or stopped sending.
    Cancelled,
}

/// The batch that ran when a request was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingBatch {
    /// Its number, of its model.
    pub number: u64,
    /// Its rows.
    pub rows: usize,
    /// How long it should still have run.
    pub expected_us: u64,
    /// How long the request waited until its end; as expected, until that is known.
    pub waited_us: u64,
}

/// The run that a request was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The batch's number, of its model.
    pub number: u64,
    /// Its rows.
    pub rows: usize,
    /// Requests in it.
    pub members: usize,
    /// How long it should have run; `None` when nothing was known of any run.
    pub predicted_us: Option<u64>,
    /// How long it ran.
    pub ran_us: u64,
    /// Whether its replica had not run this size before.
    pub cold: bool,
}

/// What is known of a request at its end. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How it ended.
    pub end: End,
    /// All of its time.
    pub total_us: u64,
    /// From its head to its last byte, as its client sent it.
    pub sending_us: u64,
    /// How long it was there before its thread looked at it.
    pub unseen_us: u64,
    /// In the queue.
    pub queued_us: u64,
    /// Requests that waited before it when it was queued.
    pub ahead: usize,
    /// What ran when it was queued, if no replica was free.
    pub behind: Option<BlockingBatch>,
    /// Its run, if it had one.
    pub run: Option<Run>,
    /// How long it waited for the run of another request that asked the same.
    pub shared_us: u64,
    /// From its response to when the system had taken the last byte of that.
    pub reading_us: u64,
    /// For how much of its time a model was loaded or unloaded.
    pub loading_us: u64,
}

/// Why a request took its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was queued while a batch ran, and waited for its end.
    WaitedBehindBatch {
        /// The batch's number.
        batch: u64,
        /// Its rows.
        rows: usize,
    },
    /// Its batch had a size that its replica had not run before.
    ColdBatchSize {
        /// That size.
        rows: usize,
    },
    /// It was slowed down while a model was loaded or unloaded.
    LoadInProgress,
    /// Its batch ran beyond prediction, so others had the cores.
    CpuContention {
        /// How long it should have run.
        predicted_us: u64,
        /// How long it ran.
        ran_us: u64,
    },
    /// It was there, and its thread was busy with others or with a batch.
    ThreadBusy,
    /// Its bytes came slowly.
    ClientSlowToSend,
    /// Its response was taken slowly.
    ClientSlowToRead,
    /// It waited for the run of another that asked the same.
    CacheStampede,
    /// More waited before it than the next batch took.
    QueueLong {
        /// Requests before it.
        requests: usize,
    },
    /// A replica was free, and it waited all the same: for its batch to fill, or for a core.
    WaitedToStart,
    /// It was turned down; its outcome says how.
    Shed,
    /// It failed; its outcome says how.
    Failed,
    /// Nothing stands out.
    Ordinary,
}

impl Cause {
    /// All names, for those who count by them.
    pub const NAMES: [&'static str; 13] = [
        "waited_behind_batch",
        "cold_batch_size",
        "load_in_progress",
        "cpu_contention",
        "thread_busy",
        "client_slow_to_send",
        "client_slow_to_read",
        "cache_stampede",
        "queue_long",
        "waited_to_start",
        "shed",
        "failed",
        "ordinary",
    ];

    /// Its name, in one word.
    pub fn name(self) -> &'static str {
        let [names @ .., queue, start, shed, failed, ordinary] = Self::NAMES;
        let [behind, cold, load, contention, thread, send, read, stampede] = names;
        match self {
            Self::WaitedBehindBatch { .. } => behind,
            Self::ColdBatchSize { .. } => cold,
            Self::LoadInProgress => load,
            Self::CpuContention { .. } => contention,
            Self::ThreadBusy => thread,
            Self::ClientSlowToSend => send,
            Self::ClientSlowToRead => read,
            Self::CacheStampede => stampede,
            Self::QueueLong { .. } => queue,
            Self::WaitedToStart => start,
            Self::Shed => shed,
            Self::Failed => failed,
            Self::Ordinary => ordinary,
        }
    }
}

/// In words.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitedBehindBatch { batch, rows: 1 } => {
                write!(f, "waited behind batch {batch} of 1 item")
            }
            Self::WaitedBehindBatch { batch, rows } => {
                write!(f, "waited behind batch {batch} of {rows} items")
            }
            Self::ColdBatchSize { rows } => {
                write!(f, "the first batch of {rows} rows on its replica")
            }
            Self::LoadInProgress => f.write_str("a model was being loaded or unloaded"),
            Self::CpuContention { predicted_us, ran_us } => {
                let [ran_ms, predicted_ms] = [ran_us, predicted_us].map(|us| *us as f64 / 1e3);
                write!(f, "its batch ran {ran_ms:.2} ms and should have run {predicted_ms:.2} ms")
            }
            Self::ThreadBusy => {
                f.write_str("its connection's thread was busy with others or with a batch")
            }
            Self::ClientSlowToSend => f.write_str("its client was slow to send it"),
            Self::ClientSlowToRead => f.write_str("its client was slow to read the response"),
            Self::CacheStampede => f.write_str("waited for the run of another that asked the same"),
            Self::QueueLong { requests: 1 } => f.write_str("1 request waited before it"),
            Self::QueueLong { requests } => write!(f, "{requests} requests waited before it"),
            Self::WaitedToStart => f.write_str("waited for its batch to fill, or for a core"),
            Self::Shed => f.write_str("turned down"),
            Self::Failed => f.write_str("failed"),
            Self::Ordinary => f.write_str("nothing stands out"),
        }
    }
}

/// The cause of a request's time.
pub fn cause(facts: &Facts) -> Cause {
    match facts.end {
        End::Shed => Cause::Shed,
        End::Failed => Cause::Failed,
        End::Cancelled if is_share(facts.sending_us, facts) => Cause::ClientSlowToSend,
        End::Cancelled => Cause::Failed,
        End::Completed => of_answered(facts),
    }
}

fn of_answered(facts: &Facts) -> Cause {
    let (waited, waited_us) = of_wait(facts);
    let (behind, behind_us) = behind(facts);
    let (ran, ran_us) = of_run(facts);
    let excesses = [
        (Cause::ClientSlowToSend, facts.sending_us),
        (Cause::ThreadBusy, facts.unseen_us),
        (behind, behind_us),
        (waited, waited_us),
        (ran, ran_us),
        (Cause::CacheStampede, facts.shared_us),
        (Cause::ClientSlowToRead, facts.reading_us),
    ];
    let mut largest = (Cause::Ordinary, 0);
    for excess in excesses {
        // Of equal ones the first counts, as what came later may follow from it.
        if excess.1 > largest.1 {
            largest = excess;
        }
    }
    let (cause, excess_us) = largest;
    if !is_share(excess_us, facts) {
        return Cause::Ordinary;
    }
    if is_slowed(cause, facts) && facts.loading_us >= excess_us / 2 && facts.loading_us > 0 {
        return Cause::LoadInProgress;
    }
    cause
}

fn is_share(us: u64, facts: &Facts) -> bool {
    us > 0 && us as f64 >= SHARE_MIN * facts.total_us as f64
}

/// What others on the same cores can bring about.
fn is_slowed(cause: Cause, facts: &Facts) -> bool {
    match cause {
        Cause::CpuContention { .. } | Cause::WaitedToStart | Cause::ThreadBusy => true,
        Cause::WaitedBehindBatch { .. } => facts.behind.is_some_and(|behind| {
            behind.expected_us > 0 && behind.waited_us as f64 > BEYOND * behind.expected_us as f64
        }),
        _ => false,
    }
}

/// The wait for the end of what ran.
fn behind(facts: &Facts) -> (Cause, u64) {
    let Some(BlockingBatch { number, rows, waited_us, .. }) = facts.behind else {
        return (Cause::Ordinary, 0);
    };
    (Cause::WaitedBehindBatch { batch: number, rows }, waited_us.min(facts.queued_us))
}

/// The rest of the wait.
fn of_wait(facts: &Facts) -> (Cause, u64) {
    let (_, behind_us) = behind(facts);
    let cause = match facts.ahead {
        0 => Cause::WaitedToStart,
        requests => Cause::QueueLong { requests },
    };
    (cause, facts.queued_us - behind_us)
}

/// What of the run was not predicted.
fn of_run(facts: &Facts) -> (Cause, u64) {
    let Some(Run { rows, predicted_us, ran_us, cold, .. }) = facts.run else {
        return (Cause::Ordinary, 0);
    };
    match (cold, predicted_us) {
        (true, predicted_us) => {
            (Cause::ColdBatchSize { rows }, ran_us.saturating_sub(predicted_us.unwrap_or(0)))
        }
        (false, Some(predicted_us)) if ran_us as f64 > BEYOND * predicted_us as f64 => {
            (Cause::CpuContention { predicted_us, ran_us }, ran_us - predicted_us)
        }
        _ => (Cause::Ordinary, 0),
    }
}
