//! Search for the highest rate that meets an objective. It knows no server and no clock, so that
//! simulated servers can drive it.
//!
//! The rate is doubled or halved until one rate meets the objective and one does not. Then the
//! interval between them is bisected on the logarithmic scale. A rate is measured in windows until
//! its share of requests in time is above or below the goal with confidence. The confidence is
//! divided among the windows (Bonferroni), so that repeated looks prove nothing.

use super::bracket::{Bracket, Step};
use crate::confidence::{Block, Bounds, bounds};

/// Goal of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Least share of the requests in time, such as 0.99.
    pub share: f64,
    /// Confidence of each verdict, such as 0.95.
    pub confidence: f64,
    /// Greatest relative distance of the result below the true capacity, such as 0.05.
    pub precision: f64,
    /// Most windows of one rate.
    pub windows_max: usize,
    /// Lowest rate that is tried.
    pub least_per_s: f64,
    /// Highest rate that is tried.
    pub most_per_s: f64,
}

/// Fewest windows after which a rate may meet the objective.
const WINDOWS_MIN: usize = 2;

/// Verdict about a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More windows are needed.
    Open,
    /// It meets the objective.
    Meets,
    /// It misses the objective.
    Misses,
    /// All windows were not enough to decide.
    Unclear,
}

impl Verdict {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Meets => "meets",
            Self::Misses => "misses",
            Self::Unclear => "unclear",
        }
    }
}

/// Measured rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Requests a second.
    pub per_s: f64,
    /// Blocks of all windows.
    pub blocks: Vec<Block>,
    /// Number of windows.
    pub windows: usize,
    /// Verdict so far.
    pub verdict: Verdict,
    /// Share of requests in time, with its bounds.
    pub bounds: Option<Bounds>,
}

/// Next step of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Measure one window at this rate.
    Measure {
        /// Requests a second.
        per_s: f64,
    },
    /// The highest rate that meets the objective is found.
    Found {
        /// Requests a second.
        per_s: f64,
    },
    /// The highest allowed rate meets the objective.
    MetAtMaximum {
        /// Requests a second.
        per_s: f64,
    },
    /// The lowest allowed rate misses the objective.
    NeverMet {
        /// Lowest rate that was tried.
        per_s: f64,
    },
}

/// State of a search.
#[derive(Clone, Debug)]
pub struct Search {
    goal: Goal,
    from_per_s: f64,
    points: Vec<Point>,
}

impl Search {
    /// Creates a search that begins at a rate.
    pub fn new(goal: Goal, from_per_s: f64) -> Self {
        Self { goal, from_per_s, points: Vec::new() }
    }

    /// Next step.
    pub fn next(&self) -> Next {
        if let Some(last) = self.points.last().filter(|last| last.verdict == Verdict::Open) {
            return Next::Measure { per_s: last.per_s };
        }
        match self.bracket().next() {
            Step::Try { per_s } => Next::Measure { per_s },
            Step::Found { per_s } => Next::Found { per_s },
            Step::PassedAtMaximum { per_s } => Next::MetAtMaximum { per_s },
            Step::FailedAtMinimum { per_s } => Next::NeverMet { per_s },
        }
    }

    /// Bracket of all rates with a verdict; an unclear one counts as a miss.
    fn bracket(&self) -> Bracket {
        let Goal { least_per_s, most_per_s, precision, .. } = self.goal;
        let mut bracket = Bracket::new(self.from_per_s, least_per_s, most_per_s, precision);
        for point in &self.points {
            match point.verdict {
                Verdict::Meets => bracket.passed(point.per_s),
                _ => bracket.failed(point.per_s, None),
            }
        }
        bracket
    }

    /// Records a window at a rate.
    pub fn record(&mut self, per_s: f64, blocks: &[Block]) {
        if self.points.last().is_none_or(|last| last.per_s != per_s) {
            let (verdict, bounds) = (Verdict::Open, None);
            self.points.push(Point { per_s, blocks: Vec::new(), windows: 0, verdict, bounds });
        }
        let goal = self.goal;
        if let Some(point) = self.points.last_mut() {
            point.blocks.extend_from_slice(blocks);
            point.windows += 1;
            point.evaluate(&goal);
        }
    }

    /// All measured rates, in the order of their measurement.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

impl Point {
    fn evaluate(&mut self, goal: &Goal) {
        let looks = goal.windows_max.max(1) as f64;
        let each = 1.0 - (1.0 - goal.confidence) / looks;
        self.bounds = bounds(&self.blocks, each);
        let is_last = self.windows >= goal.windows_max;
        self.verdict = match self.bounds {
            Some(bounds) if bounds.high < goal.share => Verdict::Misses,
            Some(bounds)
                if bounds.low >= goal.share && (self.windows >= WINDOWS_MIN || is_last) =>
            {
                Verdict::Meets
            }
            _ if is_last => Verdict::Unclear,
            _ => Verdict::Open,
        };
    }
}

#[cfg(test)]
mod tests;
