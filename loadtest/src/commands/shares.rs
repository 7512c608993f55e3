//! Flag values for objectives and confidence.

use super::values;
use skysail_loadtest::plan::Traffic;

/// Parses a percentile, in percent, that leaves room for late requests.
pub(crate) fn percentile(text: &str) -> Result<f64, String> {
    let wrong = || "a percentile is a number from 50 to 99.99: 99".to_owned();
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if (50.0..=99.99).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// Parses a confidence, in percent.
pub(crate) fn confidence(text: &str) -> Result<f64, String> {
    let wrong = || "a confidence is a number from 50 to 99.99: 95".to_owned();
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if (50.0..=99.99).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// Parses a precision, in percent.
pub(crate) fn precision(text: &str) -> Result<f64, String> {
    let wrong = || "a precision is a number from 1 to 50, in hundredths: 5".to_owned();
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if (1.0..=50.0).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// Parses a rate of any number of servers, in requests a second.
pub(crate) fn total_rate(text: &str) -> Result<f64, String> {
    let wrong = || "a rate is a number above 0 and at most 1e9".to_owned();
    let rate: f64 = text.parse().map_err(|_| wrong())?;
    if rate > 0.0 && rate <= 1e9 { Ok(rate) } else { Err(wrong()) }
}

/// Parses an amount of money above 0.
pub(crate) fn cost(text: &str) -> Result<f64, String> {
    let cost: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if cost > 0.0 && cost.is_finite() { Ok(cost) } else { Err("it must be above 0".to_owned()) }
}

/// Bursts of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bursts {
    times: f64,
    on_us: u64,
    period_us: u64,
}

impl Bursts {
    pub(crate) fn traffic(self, per_s: f64) -> Traffic {
        let Self { times, on_us, period_us } = self;
        Traffic::Bursts { per_s, times, on_us, period_us }
    }
}

/// Parses `TIMES,ON,PERIOD`, such as `5,200ms,2s`.
pub(crate) fn bursts(text: &str) -> Result<Bursts, String> {
    let wrong = || "write TIMES,ON,PERIOD: 5,200ms,2s".to_owned();
    let [times, on, period] = text.split(',').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let times: f64 = times.parse().map_err(|_| wrong())?;
    let us = |text: &str| -> Result<u64, String> {
        let time = values::some_duration(text)?;
        u64::try_from(time.as_micros()).map_err(|_| wrong())
    };
    let (on_us, period_us) = (us(on)?, us(period)?);
    if !(1.0..=1_000.0).contains(&times) || on_us == 0 || on_us > period_us {
        return Err("a burst has 1 to 1000 times as many requests and is shorter than its period"
            .to_owned());
    }
    Ok(Bursts { times, on_us, period_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_three_parts() {
        let found = bursts("5,200ms,2s").unwrap();
        assert_eq!(found, Bursts { times: 5.0, on_us: 200_000, period_us: 2_000_000 });
        for wrong in ["5", "5,1s", "0.5,1s,2s", "5,3s,2s", "nan,1s,2s", "5,0s,2s", "5,1s,2s,3s"] {
            assert!(bursts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_hundredths_that_leave_room() {
        assert_eq!((percentile("99"), confidence("95")), (Ok(99.0), Ok(95.0)));
        for wrong in ["100", "0.99", "x", "nan", ""] {
            assert!(percentile(wrong).is_err() && confidence(wrong).is_err(), "{wrong}");
        }
        assert!(precision("0").is_err() && precision("5").is_ok());
        assert!(cost("-1").is_err() && cost("inf").is_err() && cost("0.4").is_ok());
    }
}
