//! The search for the highest rate that keeps an objective: which rate is measured next, given what
//! was seen. It knows no server and no clock, so that simulated ones can drive it.
//!
//! The rate is doubled, or halved, until one keeps the objective and one does not; then the
//! interval between them is halved on the logarithmic scale. A rate is measured in windows until
//! its share of requests in time is above or below the wanted one with confidence. The confidence
//! is shared out over the looks, so that looking often proves nothing (Bonferroni).

use crate::confidence::{Batch, Bounds, bounds};

/// What is looked for, and how closely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The part of the requests that is to be in time: 0.99.
    pub share: f64,
    /// How sure each answer about a rate is: 0.95.
    pub confidence: f64,
    /// How far the answer may be below the truth, as a part of it: 0.05.
    pub precision: f64,
    /// Windows that a rate is measured in, at most.
    pub windows_max: usize,
    /// No rate below this is tried.
    pub least_per_s: f64,
    /// Nor one above this.
    pub most_per_s: f64,
}

/// Windows after which a rate may be found to keep the objective, at least.
const WINDOWS_MIN: usize = 2;

/// What has been found out about a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough yet.
    Open,
    /// It keeps the objective.
    Keeps,
    /// It does not.
    Misses,
    /// All windows were not enough to tell.
    Unclear,
}

impl Verdict {
    /// Its word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Keeps => "keeps",
            Self::Misses => "misses",
            Self::Unclear => "unclear",
        }
    }
}

/// A rate that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Requests a second.
    pub per_s: f64,
    /// By seconds.
    pub batches: Vec<Batch>,
    /// Windows that they were seen in.
    pub windows: usize,
    /// What they say.
    pub verdict: Verdict,
    /// The share in time.
    pub bounds: Option<Bounds>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// One window at this rate.
    Measure {
        /// Requests a second.
        per_s: f64,
    },
    /// This is the highest rate that keeps the objective.
    Found {
        /// Requests a second.
        per_s: f64,
    },
    /// The highest rate that may be tried keeps it.
    KeptAtMost {
        /// Requests a second.
        per_s: f64,
    },
    /// Not even the lowest rate that may be tried keeps it.
    NeverKept {
        /// The lowest that was tried.
        per_s: f64,
    },
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    goal: Goal,
    from_per_s: f64,
    points: Vec<Point>,
}

impl Search {
    /// Begins at a rate.
    pub fn new(goal: Goal, from_per_s: f64) -> Self {
        let most = goal.most_per_s.max(goal.least_per_s);
        Self { goal, from_per_s: from_per_s.clamp(goal.least_per_s, most), points: Vec::new() }
    }

    /// What to do next.
    pub fn next(&self) -> Next {
        let Some(last) = self.points.last() else {
            return Next::Measure { per_s: self.from_per_s };
        };
        if last.verdict == Verdict::Open {
            return Next::Measure { per_s: last.per_s };
        }
        match (self.kept(), self.not_kept()) {
            (None, None) => Next::Measure { per_s: self.from_per_s },
            (Some(low), None) => self.higher(low),
            (None, Some(high)) => self.lower(high),
            (Some(low), Some(high)) if high / low <= 1.0 + self.goal.precision => {
                Next::Found { per_s: low }
            }
            (Some(low), Some(high)) => Next::Measure { per_s: (low * high).sqrt() },
        }
    }

    /// Takes in a window at a rate.
    pub fn saw(&mut self, per_s: f64, batches: &[Batch]) {
        if self.points.last().is_none_or(|last| last.per_s != per_s) {
            let (verdict, bounds) = (Verdict::Open, None);
            self.points.push(Point { per_s, batches: Vec::new(), windows: 0, verdict, bounds });
        }
        let goal = self.goal;
        if let Some(point) = self.points.last_mut() {
            point.batches.extend_from_slice(batches);
            point.windows += 1;
            point.judge(&goal);
        }
    }

    /// All rates that were measured, in the order they were.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    fn not_kept(&self) -> Option<f64> {
        let missed = self.points.iter().filter(|point| point.verdict != Verdict::Keeps);
        missed.map(|point| point.per_s).min_by(f64::total_cmp)
    }

    /// The highest that keeps the objective, below all that do not.
    fn kept(&self) -> Option<f64> {
        let high = self.not_kept().unwrap_or(f64::INFINITY);
        let kept = self.points.iter().filter(|point| point.verdict == Verdict::Keeps);
        kept.map(|point| point.per_s).filter(|&per_s| per_s < high).max_by(f64::total_cmp)
    }

    fn higher(&self, low: f64) -> Next {
        if low >= self.goal.most_per_s {
            return Next::KeptAtMost { per_s: low };
        }
        Next::Measure { per_s: (low * 2.0).min(self.goal.most_per_s) }
    }

    fn lower(&self, high: f64) -> Next {
        if high <= self.goal.least_per_s {
            return Next::NeverKept { per_s: high };
        }
        Next::Measure { per_s: (high / 2.0).max(self.goal.least_per_s) }
    }
}

impl Point {
    fn judge(&mut self, goal: &Goal) {
        let looks = goal.windows_max.max(1) as f64;
        let each = 1.0 - (1.0 - goal.confidence) / looks;
        self.bounds = bounds(&self.batches, each);
        let is_last = self.windows >= goal.windows_max;
        self.verdict = match self.bounds {
            Some(bounds) if bounds.high < goal.share => Verdict::Misses,
            Some(bounds)
                if bounds.low >= goal.share && (self.windows >= WINDOWS_MIN || is_last) =>
            {
                Verdict::Keeps
            }
            _ if is_last => Verdict::Unclear,
            _ => Verdict::Open,
        };
    }
}

#[cfg(test)]
mod tests;
