//! How much sooner than its deadline a request must be expected to be answered, to be admitted.
//!
//! A request that is admitted and then given up has waited for nothing, and its caller learns it
//! late; one that is refused learns it at once. So the share of requests given up is held near a
//! small target: each that is given up makes admission more cautious by a step, and each that runs
//! less cautious by as much smaller a step (stochastic approximation, Robbins and Monro 1951).
//! It is zero while runs are as predicted, and grows with what predictions do not know: a core
//! shared with others, a pause of the machine.

/// Requests given up, of those admitted.
const REMOVED_SHARE: f64 = 0.003;

/// A step, as a part of the time that a request has.
const STEP: f64 = 0.01;

/// Steps for the requests that are given up together: a single pause costs all of them.
const TOGETHER_MAX: usize = 3;

/// The most, as a part of the time that a request has.
const MOST: f64 = 0.5;

/// A part of the time that a request has, between 0 and [`MOST`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct AdmissionMargin(f64);

impl AdmissionMargin {
    pub(crate) fn share(self) -> f64 {
        self.0
    }

    /// So many requests were given up at once.
    pub(crate) fn on_removed(&mut self, requests: usize) {
        self.0 = (self.0 + STEP * requests.min(TOGETHER_MAX) as f64).min(MOST);
    }

    /// So many requests run.
    pub(crate) fn run(&mut self, requests: usize) {
        self.0 = (self.0 - STEP * REMOVED_SHARE * requests as f64).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_where_few_enough_are_given_up() {
        let mut caution = AdmissionMargin::default();
        let mut given_up = 0;
        for _ in 0..100_000 {
            // Half of the requests' time is what this machine's pauses take.
            if caution.share() < 0.25 {
                caution.on_removed(1);
                given_up += 1;
            }
            caution.run(1);
        }
        assert!((0.2..0.3).contains(&caution.share()), "{caution:?}");
        assert!((250..400).contains(&given_up), "{given_up}");
    }

    #[test]
    fn is_forgotten_when_all_goes_well_and_never_all_of_the_time() {
        let mut caution = AdmissionMargin::default();
        (0..1_000).for_each(|_| caution.on_removed(100));
        assert_eq!(caution.share(), MOST);
        (0..20_000).for_each(|_| caution.run(1));
        assert_eq!(caution, AdmissionMargin::default());
    }
}
