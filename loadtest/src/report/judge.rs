//! Whether what was measured is the server's, or this program's own.

use super::{quantile_us, text_us};
use crate::record::Recorder;

/// A generator that was this late for a hundredth of the requests may have been the bottleneck...
const LAG_US_MAX: f64 = 1_000.0;
/// ...and was, if its lateness is more than this part of the latency.
const LAG_SHARE_MAX: f64 = 0.1;
/// A thread that is busier than this has nothing left to give...
pub(super) const BUSY_SHARE_MAX: f64 = 0.95;
/// ...and was the bottleneck, if less than this part of the rate was reached.
const REACHED_SHARE_MIN: f64 = 0.95;

/// How this program was slower than its own requests; `None` when the server was.
pub(super) fn bottleneck(seen: &Recorder, reached_share: f64) -> Option<String> {
    let lag_us = quantile_us(&seen.lag_ns, 0.99)?;
    let latency_us = quantile_us(&seen.latency_ns, 0.99).unwrap_or(0.0);
    let late = lag_us > LAG_US_MAX && lag_us > latency_us * LAG_SHARE_MAX;
    let overworked = seen.busy_share > BUSY_SHARE_MAX && reached_share < REACHED_SHARE_MIN;
    let what = if late {
        format!("1 % of the requests were more than {} late", text_us(lag_us))
    } else if overworked {
        format!("it was busy all the time and reached {:.0} % of the rate", reached_share * 1e2)
    } else {
        return None;
    };
    let advice = "give it more threads or processors, or a lower rate";
    Some(format!("the load generator was the bottleneck: {what}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;
    use crate::record::Ended;
    use std::time::Duration;

    fn seen(latency: Duration, lag: Duration, busy_share: f64) -> Recorder {
        let mut seen = Recorder::new(&load(), 1);
        seen.busy_share = busy_share;
        seen.ended(Ended { kind: 0, at: Duration::ZERO, end: latency, result: &Ok(()) });
        seen.lagged(lag);
        seen
    }

    #[test]
    fn a_late_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(bottleneck(&Recorder::new(&load(), 1), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(1), ms(1) * 9 / 10, 0.1), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(50), ms(2), 0.1), 1.0), None);
        let reason = bottleneck(&seen(ms(4), ms(2), 0.1), 1.0).unwrap();
        assert!(reason.contains("more than 2.00 ms late"), "{reason}");
    }

    #[test]
    fn an_overworked_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(bottleneck(&seen(ms(1), ms(0), 0.98), 1.0), None);
        assert_eq!(bottleneck(&seen(ms(1), ms(0), 0.2), 0.5), None);
        let reason = bottleneck(&seen(ms(1), ms(0), 0.98), 0.5).unwrap();
        assert!(reason.contains("reached 50 % of the rate"), "{reason}");
    }
}
