//! The main cause of a request's latency, found by rule from the facts known at its end.
//!
//! Each part of the latency has a cause of its own, and an excess: the time beyond what was
//! expected. The largest excess names the cause, if it is a fair share of the whole. Otherwise the
//! latency was ordinary.

use std::fmt;

#[cfg(test)]
mod tests;

/// Least share of the latency that the excess of a cause has.
const SHARE_MIN: f64 = 0.25;

/// Factor by which a run or a wait must exceed its prediction to count as slowed down.
const BEYOND: f64 = 1.5;

/// End of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Completed,
    /// It was valid, and shed.
    Shed,
    /// It was invalid, or something broke.
    Failed,
    /// The caller left, or stopped sending.
    Cancelled,
}

/// The batch that ran when a request was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingBatch {
    /// Number of the batch, counted by model.
    pub number: u64,
    /// Rows of the batch.
    pub rows: usize,
    /// Predicted rest of its run time.
    pub expected_us: u64,
    /// Wait of the request until the end of that run. Until that is known, it is the expected one.
    pub waited_us: u64,
}

/// The run that a request was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The batch's number, of its model.
    pub number: u64,
    /// Rows of the batch.
    pub rows: usize,
    /// Requests in the batch.
    pub members: usize,
    /// Predicted run time; `None` if no run was known yet.
    pub predicted_us: Option<u64>,
    /// Measured run time.
    pub ran_us: u64,
    /// True if the replica had not run this size before.
    pub cold: bool,
}

/// Facts about a request that has ended. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// End of the request.
    pub end: End,
    /// Total latency.
    pub total_us: u64,
    /// Time from the head to the last byte of the request, as the client sent it.
    pub sending_us: u64,
    /// Time in the socket before the I/O thread read it.
    pub unseen_us: u64,
    /// Time in the queue.
    pub queued_us: u64,
    /// Requests that waited before it when it was queued.
    pub ahead: usize,
    /// Batch that ran when it was queued, if no replica was free.
    pub behind: Option<BlockingBatch>,
    /// Run of the request, if it had one.
    pub run: Option<Run>,
    /// Time that it waited for an identical request in flight.
    pub shared_us: u64,
    /// Time from its response until the system took the last byte of it.
    pub reading_us: u64,
    /// Part of its latency during which a model was loaded or unloaded.
    pub loading_us: u64,
}

/// Main cause of a request's latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was queued while a batch ran, and waited for the end of that run.
    WaitedBehindBatch {
        /// Number of the batch.
        batch: u64,
        /// Rows of the batch.
        rows: usize,
    },
    /// The replica had not run a batch of this size before.
    ColdBatchSize {
        /// Rows of the batch.
        rows: usize,
    },
    /// It was slowed down while a model was loaded or unloaded.
    LoadInProgress,
    /// The batch ran longer than predicted, so other work had the cores.
    CpuContention {
        /// Predicted run time.
        predicted_us: u64,
        /// Measured run time.
        ran_us: u64,
    },
    /// It had arrived, and its I/O thread was busy with other connections or with a batch.
    ThreadBusy,
    /// The client sent its bytes slowly.
    ClientSlowToSend,
    /// The client read the response slowly.
    ClientSlowToRead,
    /// It waited for an identical request in flight.
    CacheStampede,
    /// More requests waited before it than the next batch took.
    QueueLong {
        /// Number of requests before it.
        requests: usize,
    },
    /// It waited although a replica was free: for its batch to fill, or for a core.
    WaitedToStart,
    /// It was shed; the outcome says how.
    Shed,
    /// It failed; the outcome says how.
    Failed,
    /// Nothing stands out.
    Ordinary,
}

impl Cause {
    /// Names of all causes.
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

    /// Name of the cause.
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

/// Describes the cause in a few words.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitedBehindBatch { batch, rows: 1 } => {
                write!(f, "waited behind batch {batch} of 1 row")
            }
            Self::WaitedBehindBatch { batch, rows } => {
                write!(f, "waited behind batch {batch} of {rows} rows")
            }
            Self::ColdBatchSize { rows } => {
                write!(f, "the first batch of {rows} rows on its replica")
            }
            Self::LoadInProgress => f.write_str("a model was being loaded or unloaded"),
            Self::CpuContention { predicted_us, ran_us } => {
                let [ran_ms, predicted_ms] = [ran_us, predicted_us].map(|us| *us as f64 / 1e3);
                write!(f, "its batch ran {ran_ms:.2} ms, and {predicted_ms:.2} ms were predicted")
            }
            Self::ThreadBusy => {
                f.write_str("its I/O thread was busy with other requests or with a batch")
            }
            Self::ClientSlowToSend => f.write_str("the client was slow to send the request"),
            Self::ClientSlowToRead => f.write_str("the client was slow to read the response"),
            Self::CacheStampede => f.write_str("waited for the run of an identical request"),
            Self::QueueLong { requests: 1 } => f.write_str("1 request was ahead in the queue"),
            Self::QueueLong { requests } => {
                write!(f, "{requests} requests were ahead in the queue")
            }
            Self::WaitedToStart => f.write_str("waited for its batch to fill, or for a core"),
            Self::Shed => f.write_str("shed"),
            Self::Failed => f.write_str("failed"),
            Self::Ordinary => f.write_str("nothing stands out"),
        }
    }
}

/// Finds the main cause of a request's latency.
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
        // Of equal excesses the first counts, as a later one may follow from it.
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

/// True for a cause that other work on the same cores can bring about.
fn is_slowed(cause: Cause, facts: &Facts) -> bool {
    match cause {
        Cause::CpuContention { .. } | Cause::WaitedToStart | Cause::ThreadBusy => true,
        Cause::WaitedBehindBatch { .. } => facts.behind.is_some_and(|behind| {
            behind.expected_us > 0 && behind.waited_us as f64 > BEYOND * behind.expected_us as f64
        }),
        _ => false,
    }
}

/// The wait for the run that was going on.
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

/// The part of the run time that was not predicted.
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
