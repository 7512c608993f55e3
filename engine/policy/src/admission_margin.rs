//! Share of a request's time that admission does not count on.
//!
//! A request that expires after its admission has waited for nothing, and its caller learns so
//! late. A rejected one learns it at once. The margin holds the share of requests that expire near
//! a small target. It is zero while runs are as predicted. It grows with what predictions do not
//! know, such as a shared core or a pause of the machine.

use crate::ablation::{Part, is_off};
use crate::share_tracker::ShareTracker;

/// Largest margin, as a share of the time that a request has.
const MARGIN_MAX: f64 = 0.5;

/// Most requests that count of those that expire together: a single pause costs all of them.
const EXPIRED_TOGETHER_MAX: usize = 3;

/// Rule of the margin: three in a thousand of the admitted expire.
const TRACKER: ShareTracker = ShareTracker { target: 0.003, step: 0.01, bounds: (0.0, MARGIN_MAX) };

/// Share of the time that a request has, between 0 and [`MARGIN_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct AdmissionMargin(f64);

impl AdmissionMargin {
    pub(crate) fn share(self) -> f64 {
        if is_off(Part::AdmissionMargin) { 0.0 } else { self.0 }
    }

    /// Raises the margin after `requests` have expired together.
    pub(crate) fn on_expired(&mut self, requests: usize) {
        self.0 = TRACKER.next_of(self.0, true, requests.min(EXPIRED_TOGETHER_MAX));
    }

    /// Lowers the margin as `requests` run.
    pub(crate) fn on_run(&mut self, requests: usize) {
        self.0 = TRACKER.next_of(self.0, false, requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settles_where_few_enough_requests_expire() {
        let mut margin = AdmissionMargin::default();
        let mut expired = 0;
        for _ in 0..100_000 {
            // Pauses of this machine cost a quarter of the requests' time.
            if margin.share() < 0.25 {
                margin.on_expired(1);
                expired += 1;
            }
            margin.on_run(1);
        }
        assert!((0.2..0.3).contains(&margin.share()), "{margin:?}");
        assert!((250..400).contains(&expired), "{expired}");
    }

    #[test]
    fn falls_back_to_zero_and_never_takes_all_of_the_time() {
        let mut margin = AdmissionMargin::default();
        (0..1_000).for_each(|_| margin.on_expired(100));
        assert_eq!(margin.share(), MARGIN_MAX);
        (0..20_000).for_each(|_| margin.on_run(1));
        assert_eq!(margin, AdmissionMargin::default());
    }
}
