//! Flag values, parsed from text. Each error says which values are valid.

mod arrival;
mod weight;

pub(crate) use arrival::{ArrivalPattern, TracePlayback, arrival_pattern, speed, unit};
pub(crate) use weight::{Weighted, weighted};

use skysail_loadtest::target::Protocol;
use std::time::Duration;

/// Longest duration of a flag.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Highest rate of a flag, in requests a second.
const RATE_MAX: f64 = 1e6;

/// Parses `10s`, `500ms` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a number and a unit: 10s, 500ms, 2m".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| "it is longer than 24h".to_owned())
}

/// Parses a [`duration`] above 0.
pub(crate) fn some_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| {
        if time.is_zero() { Err("it must be above 0".to_owned()) } else { Ok(time) }
    })
}

/// Parses milliseconds.
pub(crate) fn objective_ms(text: &str) -> Result<Duration, String> {
    let wrong = || "write milliseconds, a number above 0: 20".to_owned();
    let ms: f64 = text.parse().map_err(|_| wrong())?;
    let objective = Duration::try_from_secs_f64(ms / 1e3).map_err(|_| wrong())?;
    if objective.is_zero() || objective > DURATION_MAX { Err(wrong()) } else { Ok(objective) }
}

/// Parses requests a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        _ => Err(format!("a rate is a number above 0 and at most {RATE_MAX}")),
    }
}

/// Parses `NAME:1,2,3`; a name may contain colons.
pub(crate) fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let wrong = || "write NAME:1,2,3".to_owned();
    let (name, sizes) =
        text.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let sizes = sizes.split(',').map(|size| size.parse::<u32>().map(i64::from));
    Ok((name.to_owned(), sizes.collect::<Result<_, _>>().map_err(|_| wrong())?))
}

/// Parses the name of a protocol.
pub(crate) fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.name() == text)
        .ok_or_else(|| "it is one of json, binary, grpc and grpc-stream".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["10", "s", "1d", "-1s", "25h", "1.2.3s", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(some_duration("0s").is_err());
    }

    #[test]
    fn an_objective_is_above_zero() {
        assert_eq!(objective_ms("2.5"), Ok(Duration::from_micros(2500)));
        for wrong in ["0", "-1", "nan", "inf", "1e300", "20ms", ""] {
            assert!(objective_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_above_zero() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "2e6", "x"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shape_has_a_name() {
        assert_eq!(shape("x:0:1,2"), Ok(("x:0".to_owned(), vec![1, 2])));
        for wrong in ["x", "x:", ":1", "x:1,-2", "x:a"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }
}
