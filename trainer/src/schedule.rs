//! The learning rate at each step.

/// The learning rate at each step: how it goes over the whole run, and how it rises at first.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    course: Course,
    warm_up: Option<WarmUp>,
    scale: f32,
}

#[derive(Debug, Clone, PartialEq)]
enum Course {
    Constant,
    Steps { factor: f32, at: Vec<u64> },
    Cosine { last: f32, steps: u64 },
}

#[derive(Debug, Clone, PartialEq)]
struct WarmUp {
    from: f32,
    steps: u64,
}

impl Schedule {
    /// The same rate always.
    pub fn constant(rate: f32) -> Self {
        Self { course: Course::Constant, warm_up: None, scale: rate }
    }

    /// `rate`, multiplied by `factor` at each step of `at`.
    pub fn steps(rate: f32, factor: f32, at: impl Into<Vec<u64>>) -> Self {
        Self { course: Course::Steps { factor, at: at.into() }, warm_up: None, scale: rate }
    }

    /// From `rate` to `last` along half a cosine, over `steps` steps (Loshchilov and Hutter 2017,
    /// equation 5, without restarts).
    pub fn cosine(rate: f32, last: f32, steps: u64) -> Self {
        Self { course: Course::Cosine { last, steps }, warm_up: None, scale: rate }
    }

    /// For a batch of all ranks together that is `factor` times as large as the one the rate was
    /// found for: the rate is `factor` times as high (Goyal et al. 2017, section 2.1), and rises
    /// to that from its old value step by step, over the first `steps` (section 2.2).
    #[must_use]
    pub fn scaled(self, factor: f32, steps: u64) -> Self {
        let from = self.course_at(0);
        self.scaled_at_once(factor).warmed_up(from, steps)
    }

    /// For a larger batch, but at its full rate from the first step.
    #[must_use]
    pub fn scaled_at_once(self, factor: f32) -> Self {
        let course = match self.course {
            Course::Cosine { last, steps } => Course::Cosine { last: last * factor, steps },
            other => other,
        };
        Self { course, scale: self.scale * factor, ..self }
    }

    /// Starts at `from`, and rises by the same amount each step, so that step `steps` is the
    /// first one at the full rate.
    #[must_use]
    pub fn warmed_up(self, from: f32, steps: u64) -> Self {
        Self { warm_up: Some(WarmUp { from, steps }), ..self }
    }

    /// The rate at a step, from 0.
    pub fn rate(&self, step: u64) -> f32 {
        match &self.warm_up {
            Some(WarmUp { from, steps }) if step < *steps => {
                let done = (step as f64 / *steps as f64) as f32;
                from + (self.course_at(*steps) - from) * done
            }
            _ => self.course_at(step),
        }
    }

    fn course_at(&self, step: u64) -> f32 {
        match &self.course {
            Course::Constant => self.scale,
            Course::Steps { factor, at } => {
                let passed = at.iter().filter(|at| step >= **at).count();
                self.scale * factor.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
            Course::Cosine { last, steps } => {
                let done = (step as f64 / (*steps).max(1) as f64).min(1.0);
                let left = 0.5 * (1.0 + (done * std::f64::consts::PI).cos());
                last + (self.scale - last) * left as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_multiply_from_their_step_on() {
        let schedule = Schedule::steps(1.0, 0.1, [10, 20]);
        assert_eq!(schedule.rate(9), 1.0);
        assert!((schedule.rate(10) - 0.1).abs() < 1e-7);
        assert!((schedule.rate(19) - 0.1).abs() < 1e-7);
        assert!((schedule.rate(20) - 0.01).abs() < 1e-8);
    }

    #[test]
    fn a_cosine_starts_at_the_rate_and_ends_at_the_last() {
        let schedule = Schedule::cosine(0.4, 0.2, 100);
        assert_eq!(schedule.rate(0), 0.4);
        assert!((schedule.rate(50) - 0.3).abs() < 1e-6);
        assert_eq!(schedule.rate(100), 0.2);
        assert_eq!(schedule.rate(1000), 0.2);
    }

    #[test]
    fn a_larger_batch_rises_step_by_step_to_the_scaled_rate() {
        let schedule = Schedule::constant(0.1).scaled(16.0, 50);
        assert_eq!(schedule.rate(0), 0.1);
        assert!((schedule.rate(25) - 0.85).abs() < 1e-6);
        assert!(schedule.rate(49) < 1.6);
        assert_eq!(schedule.rate(50), 1.6);
        assert_eq!(schedule.rate(5000), 1.6);
    }

    #[test]
    fn without_warm_up_the_scaled_rate_is_there_at_once() {
        let schedule = Schedule::cosine(0.1, 0.01, 10).scaled_at_once(4.0);
        assert_eq!(schedule.rate(0), 0.4);
        assert!((schedule.rate(10) - 0.04).abs() < 1e-7);
    }

    #[test]
    fn no_steps_and_no_warm_up_divide_by_nothing() {
        assert_eq!(Schedule::cosine(0.4, 0.2, 0).rate(0), 0.4);
        assert_eq!(Schedule::constant(0.4).warmed_up(0.1, 0).rate(0), 0.4);
    }
}
