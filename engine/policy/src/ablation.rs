//! Switches for parts of the policy, so that an ablation can measure what each is worth.
//!
//! Without the feature `ablation` every part is on, and the compiler removes the questions.

/// A part of the policy that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Pace of the machine, learned from runs of any size for all sizes.
    Pace,
    /// Margin of admission, learned from requests that expire.
    AdmissionMargin,
    /// Runs of larger batches now and then, to learn their run times anew.
    Exploration,
    /// Wait for clients that were just answered.
    Linger,
    /// Expiry of requests that cannot be met, for those behind them.
    EarlyExpiry,
    /// Batches that run for longer than half of the objective.
    LongBatches,
    /// Choice of the smallest batch at nearly the best rate.
    EfficientSize,
    /// Full time for requests whose batch would become inefficient.
    FillFirst,
    /// Admission for a batch as large as the last ones.
    ExpectedRows,
    /// Drift of the run times of idle sizes with those that run.
    Drift,
    /// Comparison of the rates with and without a linger.
    LingerCompare,
    /// Rarer lingers after lingers in vain.
    LingerSkip,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 12] = [
        Self::Pace,
        Self::AdmissionMargin,
        Self::Exploration,
        Self::Linger,
        Self::EarlyExpiry,
        Self::LongBatches,
        Self::EfficientSize,
        Self::FillFirst,
        Self::ExpectedRows,
        Self::Drift,
        Self::LingerCompare,
        Self::LingerSkip,
    ];
}

/// Calls a function with a part taken away on this thread.
#[cfg(feature = "ablation")]
pub fn without<R>(part: Option<Part>, call: impl FnOnce() -> R) -> R {
    OFF.set(part);
    let result = call();
    OFF.set(None);
    result
}

#[cfg(feature = "ablation")]
thread_local! {
    static OFF: std::cell::Cell<Option<Part>> = const { std::cell::Cell::new(None) };
}

/// Returns true if a part is taken away.
#[cfg(feature = "ablation")]
pub(crate) fn is_off(part: Part) -> bool {
    OFF.get() == Some(part)
}

/// Returns true if a part is taken away.
#[cfg(not(feature = "ablation"))]
pub(crate) const fn is_off(_part: Part) -> bool {
    false
}
