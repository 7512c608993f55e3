//! The record of one finished request: stages, batch, outcome, and the cause of its latency.

use crate::error::{Reason, ShedReason};
use crate::parameters::CustomParameters;
use crate::request::CacheLookup;
use crate::stage::Stage;
use skysail_policy::cause::{BlockingBatch, Cause, End, Facts, Run, cause};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod id;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use id::RequestId;

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered within the objective, or without one.
    Answered,
    /// Answered after its objective.
    Missed,
    /// Shed: rejected at the door, or expired in the queue.
    Shed(ShedReason),
    /// Failed for another reason; `Reason::Cancelled` if the caller left.
    Failed(Reason),
}

impl Outcome {
    /// Names of all outcomes, without reasons.
    pub const NAMES: [&'static str; 4] = ["answered", "missed", "shed", "failed"];

    /// Index in [`Self::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Missed => 1,
            Self::Shed(_) => 2,
            Self::Failed(_) => 3,
        }
    }

    /// Name of the outcome, without the reason.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Name of the reason for a missing response.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Answered | Self::Missed => None,
            Self::Shed(reason) => Some(reason.name()),
            Self::Failed(reason) => Some(reason.name()),
        }
    }

    /// True if there was a response, in time or late.
    pub fn is_answered(self) -> bool {
        matches!(self, Self::Answered | Self::Missed)
    }

    fn end(self) -> End {
        match self {
            Self::Answered | Self::Missed => End::Completed,
            Self::Shed(_) => End::Shed,
            Self::Failed(Reason::Cancelled) => End::Cancelled,
            Self::Failed(_) => End::Failed,
        }
    }
}

/// End times of a request's stages, since it was accepted.
///
/// Stages end in order. A request without a response has not ended all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    ns: [u64; Stage::ALL.len()],
    count: usize,
}

impl Ends {
    /// No stage has ended.
    pub const NONE: Self = Self { ns: [0; Stage::ALL.len()], count: 0 };

    /// Ends the next stage at this time after acceptance.
    pub fn push(&mut self, since_accepted: Duration) {
        if let Some(end) = self.ns.get_mut(self.count) {
            *end = nanos(since_accepted);
            self.count += 1;
        }
    }

    /// Corrects the end time of the last ended stage.
    pub fn replace_last(&mut self, since_accepted: Duration) {
        self.count = self.count.saturating_sub(1);
        self.push(since_accepted);
    }

    /// The last stage that has ended.
    pub fn last_stage(&self) -> Option<Stage> {
        Stage::ALL.get(self.count.checked_sub(1)?).copied()
    }

    /// Time from acceptance to the end of a stage, in nanoseconds.
    pub fn end_ns(&self, stage: Stage) -> Option<u64> {
        self.ns[..self.count].get(stage as usize).copied()
    }

    /// Duration of a stage, in nanoseconds.
    pub fn stage_ns(&self, stage: Stage) -> Option<u64> {
        let end = self.end_ns(stage)?;
        let before = (stage as usize).checked_sub(1).map_or(0, |before| self.ns[before]);
        Some(end.saturating_sub(before))
    }

    /// End of the last stage that has ended, in nanoseconds.
    pub(crate) fn last_ns(&self) -> u64 {
        self.count.checked_sub(1).map_or(0, |last| self.ns[last])
    }
}

/// The record of one request.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Name of the model.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: u64,
    /// Id of the request: the caller's, or a generated one.
    pub request_id: RequestId,
    /// Parameters of the request that the protocol gives no meaning.
    pub parameters: CustomParameters,
    /// Id of the trace, if the request is traced.
    pub trace_id: Option<u128>,
    /// Arrival of the request's head.
    pub accepted: Instant,
    /// End times of the stages.
    pub ends: Ends,
    /// Time from acceptance until the request was answered, shed, failed or cancelled.
    pub ended_us: u64,
    /// Time from acceptance until the system took the last byte of the response, if known.
    pub written_us: Option<u64>,
    /// Outcome of the request.
    pub outcome: Outcome,
    /// The run that produced the response, if any.
    pub run: Option<Run>,
    /// The batch that was running when the request was queued, if no replica was free.
    pub behind: Option<BlockingBatch>,
    /// Requests ahead in the queue when it was queued.
    pub ahead: usize,
    /// Result of the cache lookup, if there was one.
    pub cache: Option<CacheLookup>,
    /// Latency objective, in microseconds.
    pub objective_us: Option<u64>,
    /// Time from the head to the last byte of the body, as the client sent it.
    pub sending_us: u64,
    /// Time during the request in which a model was being loaded or unloaded.
    pub loading_us: u64,
    /// Main cause of the latency, set by [`RequestRecord::find_cause`].
    pub cause: Cause,
}

impl RequestRecord {
    /// Total latency, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.written_us.map_or(self.ended_us, |written| written.max(self.ended_us))
    }

    /// End of the request.
    pub fn ended(&self) -> Instant {
        let total = Duration::from_micros(self.total_us());
        self.accepted.checked_add(total).unwrap_or(self.accepted)
    }

    /// Duration of a stage, in microseconds; `None` if the stage did not end.
    pub fn stage_us(&self, stage: Stage) -> Option<u64> {
        self.ends.stage_ns(stage).map(|ns| ns / 1000)
    }

    /// The last stage that has ended.
    pub fn last_stage(&self) -> Option<Stage> {
        self.ends.last_stage()
    }

    /// Sets the cause. All other fields must be set.
    pub fn find_cause(&mut self) {
        self.cause = cause(&self.facts());
    }

    fn facts(&self) -> Facts {
        let accept_us = self.stage_us(Stage::Accept).unwrap_or(0);
        let waited_us = self.stage_us(Stage::Queue).unwrap_or(0);
        let is_shared = self.cache == Some(CacheLookup::Coalesced);
        Facts {
            end: self.outcome.end(),
            total_us: self.total_us(),
            sending_us: self.sending_us,
            unseen_us: accept_us.saturating_sub(self.sending_us),
            queued_us: if is_shared { 0 } else { waited_us },
            ahead: self.ahead,
            behind: self.behind,
            run: self.run,
            shared_us: if is_shared { waited_us } else { 0 },
            reading_us: self.written_us.map_or(0, |us| us.saturating_sub(self.ended_us)),
            loading_us: self.loading_us,
        }
    }

    /// A short explanation that names the cause.
    pub fn explanation(&self) -> String {
        let cause = self.cause;
        let Some(reason) = self.outcome.reason() else { return cause.to_string() };
        let mut text = match cause {
            Cause::ClientSlowToSend => format!("{reason}: {cause}"),
            _ => format!("{} ({reason})", Description(self.outcome)),
        };
        if let Some(BlockingBatch { number, rows, .. }) = self.behind {
            text += &format!(", queued behind batch {number} of {rows}");
        }
        text
    }
}

/// Displays an outcome in words.
struct Description(Outcome);

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Outcome::Answered => "answered",
            Outcome::Missed => "answered late",
            Outcome::Shed(ShedReason::Overloaded) => "no response in time was possible",
            Outcome::Shed(ShedReason::QueueFull) => "the queue was full",
            Outcome::Shed(ShedReason::Expired) => "the timeout passed before the request ran",
            Outcome::Shed(ShedReason::Busy) => "the server was at a limit",
            Outcome::Failed(Reason::Rejected) => "the request was invalid",
            Outcome::Failed(Reason::Cancelled) => "the caller left",
            Outcome::Failed(Reason::Backend) => "the model failed",
            Outcome::Failed(Reason::Other) => "the response could not be made",
        })
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
