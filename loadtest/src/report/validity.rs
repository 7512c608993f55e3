//! Validity of a report: was the server or the load generator the bottleneck?

use super::{format_us, quantile_us};
use crate::record::Recorder;

/// 99th percentile of the send delay above which the generator may be the bottleneck.
const SEND_DELAY_US_MAX: f64 = 1_000.0;
/// Share of the latency above which such a delay makes it the bottleneck.
const SEND_DELAY_SHARE_MAX: f64 = 0.1;
/// Utilization above which a thread has no time left.
pub(super) const UTILIZATION_MAX: f64 = 0.95;
/// Share of the scheduled rate below which such a thread is the bottleneck.
const REACHED_SHARE_MIN: f64 = 0.95;

/// Describes how the load generator was the bottleneck; `None` if it was not.
pub(super) fn generator_bottleneck(recorded: &Recorder, reached_share: f64) -> Option<String> {
    let send_delay_us = quantile_us(&recorded.send_delay_ns, 0.99)?;
    let latency_us = quantile_us(&recorded.latency_ns, 0.99).unwrap_or(0.0);
    let late =
        send_delay_us > SEND_DELAY_US_MAX && send_delay_us > latency_us * SEND_DELAY_SHARE_MAX;
    let overworked = recorded.utilization > UTILIZATION_MAX && reached_share < REACHED_SHARE_MIN;
    let what = if late {
        format!("1 % of the requests were more than {} late", format_us(send_delay_us))
    } else if overworked {
        format!(
            "its thread was busy all the time and reached {:.0} % of the rate",
            reached_share * 1e2
        )
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
    use crate::record::Completion;
    use std::time::Duration;

    fn record(latency: Duration, delay: Duration, utilization: f64) -> Recorder {
        let mut recorded = Recorder::new(&load(), 1);
        recorded.utilization = utilization;
        recorded.record_completion(Completion {
            kind: 0,
            at: Duration::ZERO,
            end: latency,
            result: &Ok(()),
        });
        recorded.record_send_delay(delay);
        recorded
    }

    #[test]
    fn a_late_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(generator_bottleneck(&Recorder::new(&load(), 1), 1.0), None);
        assert_eq!(generator_bottleneck(&record(ms(1), ms(1) * 9 / 10, 0.1), 1.0), None);
        assert_eq!(generator_bottleneck(&record(ms(50), ms(2), 0.1), 1.0), None);
        let reason = generator_bottleneck(&record(ms(4), ms(2), 0.1), 1.0).unwrap();
        assert!(reason.contains("more than 2.00 ms late"), "{reason}");
    }

    #[test]
    fn an_overworked_generator_is_the_bottleneck() {
        let ms = Duration::from_millis;
        assert_eq!(generator_bottleneck(&record(ms(1), ms(0), 0.98), 1.0), None);
        assert_eq!(generator_bottleneck(&record(ms(1), ms(0), 0.2), 0.5), None);
        let reason = generator_bottleneck(&record(ms(1), ms(0), 0.98), 0.5).unwrap();
        assert!(reason.contains("reached 50 % of the rate"), "{reason}");
    }
}
