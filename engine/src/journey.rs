//! What one request lived through, told when it is over: its stages, its batch, how it ended and
//! why it took its time.

use crate::error::{Reason, Refusal};
use crate::stage::Stage;
use skysail_policy::cause::{Behind, Cause, End, Facts, Run, cause};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod id;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use id::RequestId;

/// How the cache answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// From what it keeps.
    Hit,
    /// By the run of another request.
    Shared,
    /// Not at all.
    Miss,
}

impl Lookup {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Shared => "shared",
            Self::Miss => "miss",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in time, or when there was no hurry.
    Answered,
    /// Answered after its objective.
    Missed,
    /// Turned down.
    Refused(Refusal),
    /// Not answered for another reason; `Reason::Cancelled` when its caller left.
    Failed(Reason),
}

impl Outcome {
    /// Names of all, without their reasons.
    pub const NAMES: [&'static str; 4] = ["answered", "missed", "refused", "failed"];

    /// Its place in [`Self::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Missed => 1,
            Self::Refused(_) => 2,
            Self::Failed(_) => 3,
        }
    }

    /// Its name, without the reason.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Why there was no answer, in a word.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Answered | Self::Missed => None,
            Self::Refused(refusal) => Some(refusal.name()),
            Self::Failed(reason) => Some(reason.name()),
        }
    }

    /// Whether it was answered, late or not.
    pub fn is_answered(self) -> bool {
        matches!(self, Self::Answered | Self::Missed)
    }

    fn end(self) -> End {
        match self {
            Self::Answered | Self::Missed => End::Answered,
            Self::Refused(_) => End::Shed,
            Self::Failed(Reason::Cancelled) => End::Left,
            Self::Failed(_) => End::Failed,
        }
    }
}

/// When a request ended each of its stages, from its acceptance on. It ends them in order, and
/// one that got no answer has not ended all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    ns: [u64; Stage::ALL.len()],
    count: usize,
}

impl Ends {
    /// Of a request that has ended none.
    pub const NONE: Self = Self { ns: [0; Stage::ALL.len()], count: 0 };

    /// It ends its next stage, so long after its acceptance.
    pub fn push(&mut self, since_accepted: Duration) {
        if let Some(end) = self.ns.get_mut(self.count) {
            *end = nanos(since_accepted);
            self.count += 1;
        }
    }

    /// The last stage that it has ended was over at another time.
    pub fn replace_last(&mut self, since_accepted: Duration) {
        self.count = self.count.saturating_sub(1);
        self.push(since_accepted);
    }

    /// The last stage that it has ended.
    pub fn last_stage(&self) -> Option<Stage> {
        Stage::ALL.get(self.count.checked_sub(1)?).copied()
    }

    /// From its acceptance to the end of a stage, in nanoseconds.
    pub fn end_ns(&self, stage: Stage) -> Option<u64> {
        self.ns[..self.count].get(stage as usize).copied()
    }

    /// How long a stage took, in nanoseconds.
    pub fn stage_ns(&self, stage: Stage) -> Option<u64> {
        let end = self.end_ns(stage)?;
        let before = (stage as usize).checked_sub(1).map_or(0, |before| self.ns[before]);
        Some(end.saturating_sub(before))
    }

    /// The end of the last stage that it has ended.
    pub(crate) fn last_ns(&self) -> u64 {
        self.count.checked_sub(1).map_or(0, |last| self.ns[last])
    }
}

/// One request's way through the server.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The model that was asked.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Its caller's name for it, or ours.
    pub request_id: RequestId,
    /// The trace that it is a part of.
    pub trace_id: Option<u128>,
    /// When its head was there.
    pub accepted: Instant,
    /// The ends of its stages.
    pub ends: Ends,
    /// When it was over: answered, refused, failed, or left by its caller.
    pub ended_us: u64,
    /// When the system had taken the last byte of its response, where that is known.
    pub written_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The run that answered it, if one did.
    pub run: Option<Run>,
    /// The batch that ran when it was queued, if no replica was free.
    pub behind: Option<Behind>,
    /// Requests that waited before it when it was queued.
    pub ahead: usize,
    /// What the cache said, if it was asked.
    pub cache: Option<Lookup>,
    /// How soon it should have been answered.
    pub objective_us: Option<u64>,
    /// From its head to its last byte, as its client sent it.
    pub sending_us: u64,
    /// For how much of its time a model was loaded or unloaded.
    pub loading_us: u64,
    /// Why it took its time. [`Journey::find_cause`] says.
    pub cause: Cause,
}

impl Journey {
    /// All of its time, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.written_us.map_or(self.ended_us, |written| written.max(self.ended_us))
    }

    /// When it was over.
    pub fn ended(&self) -> Instant {
        let total = Duration::from_micros(self.total_us());
        self.accepted.checked_add(total).unwrap_or(self.accepted)
    }

    /// How long a stage took, in microseconds; `None` when it did not end it.
    pub fn stage_us(&self, stage: Stage) -> Option<u64> {
        self.ends.stage_ns(stage).map(|ns| ns / 1000)
    }

    /// The last stage that it has ended.
    pub fn last_stage(&self) -> Option<Stage> {
        self.ends.last_stage()
    }

    /// Sets the cause from everything else, which must be there.
    pub fn find_cause(&mut self) {
        self.cause = cause(&self.facts());
    }

    fn facts(&self) -> Facts {
        let accept_us = self.stage_us(Stage::Accept).unwrap_or(0);
        let waited_us = self.stage_us(Stage::Queue).unwrap_or(0);
        let is_shared = self.cache == Some(Lookup::Shared);
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

    /// What happened to it, in a few words that name the cause.
    pub fn explanation(&self) -> String {
        let cause = self.cause;
        let Some(reason) = self.outcome.reason() else { return cause.to_string() };
        let mut words = match cause {
            Cause::ClientSlowToSend => format!("{reason}: {cause}"),
            _ => format!("{} ({reason})", Words(self.outcome)),
        };
        if let Some(Behind { number, rows, .. }) = self.behind {
            words += &format!(", queued behind batch {number} of {rows}");
        }
        words
    }
}

/// An outcome in words.
struct Words(Outcome);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Outcome::Answered => "answered",
            Outcome::Missed => "answered late",
            Outcome::Refused(Refusal::Overloaded) => "no answer in time was possible",
            Outcome::Refused(Refusal::QueueFull) => "the queue was full",
            Outcome::Refused(Refusal::Expired) => "its time was over before it ran",
            Outcome::Refused(Refusal::Busy) => "the server was full",
            Outcome::Failed(Reason::Rejected) => "the request was no good",
            Outcome::Failed(Reason::Cancelled) => "its caller left",
            Outcome::Failed(Reason::Backend) => "the model failed",
            Outcome::Failed(Reason::Other) => "the server failed",
        })
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
