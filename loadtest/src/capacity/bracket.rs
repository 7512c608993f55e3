//! Bracket of a threshold rate. The rate is doubled or halved until one rate passes and one fails;
//! then the interval between them is bisected on the logarithmic scale.

/// Next step of a [`Bracket`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Try this rate.
    Try {
        /// Requests a second.
        per_s: f64,
    },
    /// This rate passes, and one within the precision above it fails.
    Found {
        /// Requests a second.
        per_s: f64,
    },
    /// The highest allowed rate passes.
    PassedAtMaximum {
        /// Requests a second.
        per_s: f64,
    },
    /// The lowest allowed rate fails.
    FailedAtMinimum {
        /// Requests a second.
        per_s: f64,
    },
}

/// Rates that passed and failed so far.
#[derive(Clone, Debug)]
pub struct Bracket {
    from_per_s: f64,
    least_per_s: f64,
    most_per_s: f64,
    precision: f64,
    passed: Vec<f64>,
    /// Lowest rate that failed.
    failed: Option<f64>,
    /// Suggested rate below it.
    hint: Option<f64>,
}

impl Bracket {
    /// Creates a bracket that begins at `from_per_s` and ends at a relative `precision`.
    pub fn new(from_per_s: f64, least_per_s: f64, most_per_s: f64, precision: f64) -> Self {
        let most_per_s = most_per_s.max(least_per_s);
        let from_per_s = from_per_s.clamp(least_per_s, most_per_s);
        let passed = Vec::new();
        Self { from_per_s, least_per_s, most_per_s, precision, passed, failed: None, hint: None }
    }

    /// Records a rate that passed.
    pub fn passed(&mut self, per_s: f64) {
        self.passed.push(per_s);
    }

    /// Records a rate that failed, and suggests a lower one; half of it by default.
    pub fn failed(&mut self, per_s: f64, hint: Option<f64>) {
        if self.failed.is_none_or(|lowest| per_s < lowest) {
            (self.failed, self.hint) = (Some(per_s), hint);
        }
    }

    /// Next step.
    pub fn next(&self) -> Step {
        let Some(high) = self.failed else {
            return match self.highest_below(f64::INFINITY) {
                None => Step::Try { per_s: self.from_per_s },
                Some(low) if low >= self.most_per_s => Step::PassedAtMaximum { per_s: low },
                Some(low) => Step::Try { per_s: (low * 2.0).min(self.most_per_s) },
            };
        };
        match self.highest_below(high) {
            Some(low) if high / low <= 1.0 + self.precision => Step::Found { per_s: low },
            Some(low) => Step::Try { per_s: (low * high).sqrt() },
            None if high <= self.least_per_s => Step::FailedAtMinimum { per_s: high },
            None => Step::Try { per_s: self.hint.unwrap_or(high / 2.0).max(self.least_per_s) },
        }
    }

    /// Highest rate that passed below a rate.
    fn highest_below(&self, high: f64) -> Option<f64> {
        self.passed.iter().copied().filter(|&per_s| per_s < high).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_found_from_both_sides_and_with_a_hint() {
        for (from, hint) in [(1.0, None), (5_000.0, None), (5_000.0, Some(600.0))] {
            let mut bracket = Bracket::new(from, 0.5, 1e6, 0.03);
            let found = loop {
                match bracket.next() {
                    Step::Try { per_s } if per_s <= 700.0 => bracket.passed(per_s),
                    Step::Try { per_s } => bracket.failed(per_s, hint),
                    end => break end,
                }
            };
            let Step::Found { per_s } = found else { panic!("{found:?}") };
            assert!((700.0 / 1.03..=700.0).contains(&per_s), "{per_s}");
        }
    }

    #[test]
    fn a_pass_above_a_failure_does_not_count() {
        let mut bracket = Bracket::new(100.0, 1.0, 1_000.0, 0.01);
        bracket.passed(100.0);
        bracket.passed(200.0);
        bracket.failed(150.0, None);
        assert_eq!(bracket.next(), Step::Try { per_s: (100.0_f64 * 150.0).sqrt() });
    }
}
