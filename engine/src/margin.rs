//! The part of the objective that is kept for what comes after a run: waking the thread that
//! waits for it, writing the response. It is what three responses in a thousand take longer than,
//! followed by small steps (stochastic approximation, Robbins and Monro 1951).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Part of the responses that may take longer than the margin.
const LONGER_SHARE: f64 = 0.003;

/// A step, as a part of the objective.
const STEP_SHARE: f64 = 0.01;

/// The least that is kept, as a part of the objective.
pub(crate) const LEAST: f64 = 0.1;

/// The most.
const MOST: f64 = 0.4;

/// A margin, in microseconds.
#[derive(Debug)]
pub(crate) struct Margin {
    objective_us: f64,
    /// An `f64`. Two that learn at the same time may lose a step, which the next makes good.
    bits: AtomicU64,
}

impl Margin {
    pub(crate) fn new(objective_us: u64) -> Self {
        let objective_us = objective_us as f64;
        Self { objective_us, bits: AtomicU64::new((objective_us * LEAST).to_bits()) }
    }

    pub(crate) fn us(&self) -> u64 {
        f64::from_bits(self.bits.load(Relaxed)) as u64
    }

    /// Takes in how long after its run a response was on its way.
    pub(crate) fn learn(&self, after_run: Duration) {
        let us = f64::from_bits(self.bits.load(Relaxed));
        let is_longer = after_run.as_secs_f64() * 1e6 > us;
        let direction = if is_longer { 1.0 - LONGER_SHARE } else { -LONGER_SHARE };
        let (least, most) = (LEAST * self.objective_us, MOST * self.objective_us);
        let next = (us + direction * STEP_SHARE * self.objective_us).clamp(least, most);
        self.bits.store(next.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One response in `every` takes three milliseconds, the others ten microseconds.
    fn learned(every: usize) -> u64 {
        let margin = Margin::new(20_000);
        for response in 0..50_000 {
            let us = if response % every == 0 { 3_000 } else { 10 };
            margin.learn(Duration::from_micros(us));
        }
        margin.us()
    }

    #[test]
    fn is_what_nearly_all_responses_take() {
        assert!((2_700..3_300).contains(&learned(20)), "{}", learned(20));
        assert_eq!(learned(1_000_000), 2_000, "the least");
        assert!(learned(500) < 2_500, "{}", learned(500));
    }

    #[test]
    fn is_never_most_of_the_objective() {
        let margin = Margin::new(20_000);
        (0..1_000).for_each(|_| margin.learn(Duration::from_secs(1)));
        assert_eq!(margin.us(), 8_000);
    }
}
