//! Response reserve of a model, shared by the threads that write its responses.

use skysail_policy::response_reserve::ResponseReserve;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Time of the objective that is kept for what follows a run.
#[derive(Debug)]
pub(crate) struct SharedReserve {
    rule: ResponseReserve,
    /// Reserve in microseconds, an `f64`. Two threads that learn at once may lose a step, which
    /// the next makes good.
    bits: AtomicU64,
}

impl SharedReserve {
    pub(crate) fn new(objective_us: u64) -> Self {
        let rule = ResponseReserve::new(objective_us as f64);
        Self { rule, bits: AtomicU64::new(rule.least_us().to_bits()) }
    }

    pub(crate) fn us(&self) -> u64 {
        f64::from_bits(self.bits.load(Relaxed)) as u64
    }

    /// Learns how long after its run a response was written.
    pub(crate) fn learn(&self, after_run: Duration) {
        let reserve_us = f64::from_bits(self.bits.load(Relaxed));
        let next_us = self.rule.next_us(reserve_us, after_run.as_secs_f64() * 1e6);
        self.bits.store(next_us.to_bits(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_responses_raise_the_reserve() {
        let reserve = SharedReserve::new(20_000);
        assert_eq!(reserve.us(), 2_000);
        (0..100).for_each(|_| reserve.learn(Duration::from_millis(3)));
        assert!((3_000..3_300).contains(&reserve.us()), "{}", reserve.us());
    }
}
