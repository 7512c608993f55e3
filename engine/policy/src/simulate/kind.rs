//! Kinds of requests that a scenario draws from.

use crate::queue_policy::TimeoutAction;

/// Requests that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Weight among the other kinds.
    pub weight: f64,
    /// Fewest and most rows.
    pub rows: (usize, usize),
    /// Batch keys that they are spread over: requests of different batch keys share no run.
    pub batch_keys: u32,
    /// Time by which their responses are due.
    pub deadline: Deadline,
    /// End of their time in the queue, if that is limited.
    pub wait: Option<WaitLimit>,
    /// Priority, as a request states it.
    pub priority: u64,
    /// Callers that do not wait for their answer.
    pub cancelling: Option<Cancelling>,
}

impl Default for Kind {
    /// Requests of a single row and batch key, due within the objective, never cancelled.
    fn default() -> Self {
        Self {
            weight: 1.0,
            rows: (1, 1),
            batch_keys: 1,
            deadline: Deadline::Objective,
            wait: None,
            priority: 0,
            cancelling: None,
        }
    }
}

/// Deadline of a request, counted from its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Whenever it comes.
    None,
    /// Within the objective of the scenario, if it has one.
    Objective,
    /// Evenly between two times.
    Between {
        /// The shortest.
        least_us: u64,
        /// The longest.
        most_us: u64,
    },
}

/// Time in the queue, drawn evenly between two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimit {
    /// The shortest.
    pub least_us: u64,
    /// The longest.
    pub most_us: u64,
    /// Treatment of a request afterwards.
    pub action: TimeoutAction,
}

/// Callers that leave before they are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cancelling {
    /// Part of all.
    pub share: f64,
    /// After how long, on average.
    pub after_us: f64,
}
