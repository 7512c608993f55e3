//! The learning rate at each step.

/// The learning rate at each step: a curve over the whole run, and an optional warm-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    curve: Curve,
    warm_up: Option<WarmUp>,
    scale: f32,
}

#[derive(Debug, Clone, PartialEq)]
enum Curve {
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
    /// A constant rate.
    pub fn constant(rate: f32) -> Self {
        Self { curve: Curve::Constant, warm_up: None, scale: rate }
    }

    /// Starts at `rate`, which is multiplied by `factor` at each step of `at`.
    pub fn steps(rate: f32, factor: f32, at: impl Into<Vec<u64>>) -> Self {
        Self { curve: Curve::Steps { factor, at: at.into() }, warm_up: None, scale: rate }
    }

    /// Falls from `rate` to `last` along half a cosine over `steps` steps (Loshchilov and Hutter
    /// 2017, equation 5, without restarts).
    pub fn cosine(rate: f32, last: f32, steps: u64) -> Self {
        Self { curve: Curve::Cosine { last, steps }, warm_up: None, scale: rate }
    }

    /// Scales the rate for a global batch that is `factor` times the one it was tuned for (Goyal et
    /// al. 2017, section 2.1). It rises linearly from the unscaled rate over the first `steps`
    /// (section 2.2).
    #[must_use]
    pub fn scaled(self, factor: f32, steps: u64) -> Self {
        let from = self.curve_at(0);
        self.scaled_at_once(factor).with_warm_up(from, steps)
    }

    /// Scales the rate for a larger batch from the first step on.
    #[must_use]
    pub fn scaled_at_once(self, factor: f32) -> Self {
        let curve = match self.curve {
            Curve::Cosine { last, steps } => Curve::Cosine { last: last * factor, steps },
            other => other,
        };
        Self { curve, scale: self.scale * factor, ..self }
    }

    /// Rises linearly from `from`; step `steps` is the first one at the full rate.
    #[must_use]
    pub fn with_warm_up(self, from: f32, steps: u64) -> Self {
        Self { warm_up: Some(WarmUp { from, steps }), ..self }
    }

    /// The rate at a step, from 0.
    pub fn rate(&self, step: u64) -> f32 {
        match &self.warm_up {
            Some(WarmUp { from, steps }) if step < *steps => {
                let done = (step as f64 / *steps as f64) as f32;
                from + (self.curve_at(*steps) - from) * done
            }
            _ => self.curve_at(step),
        }
    }

    fn curve_at(&self, step: u64) -> f32 {
        match &self.curve {
            Curve::Constant => self.scale,
            Curve::Steps { factor, at } => {
                let passed = at.iter().filter(|at| step >= **at).count();
                self.scale * factor.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
            Curve::Cosine { last, steps } => {
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
    fn without_warm_up_the_rate_is_scaled_at_once() {
        let schedule = Schedule::cosine(0.1, 0.01, 10).scaled_at_once(4.0);
        assert_eq!(schedule.rate(0), 0.4);
        assert!((schedule.rate(10) - 0.04).abs() < 1e-7);
    }

    #[test]
    fn zero_steps_do_not_divide_by_zero() {
        assert_eq!(Schedule::cosine(0.4, 0.2, 0).rate(0), 0.4);
        assert_eq!(Schedule::constant(0.4).with_warm_up(0.1, 0).rate(0), 0.4);
    }
}
