//! `--arrival`: the arrival process of an open loop.

use super::{rate, some_duration};
use skysail_loadtest::arrival::Arrival;
use skysail_loadtest::trace;
use skysail_policy::simulate::Arrivals;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Value of `--arrival`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ArrivalPattern {
    /// Evenly spaced.
    Constant,
    /// Poisson process.
    Poisson,
    /// Poisson process with a rate that is a multiple during bursts.
    Burst { times: f64, on: Duration, period: Duration },
    /// Poisson process whose rate changes linearly to another one.
    Ramp { to_per_s: f64, over: Option<Duration> },
    /// Recorded times.
    Trace(PathBuf),
}

/// Options for reading a recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracePlayback {
    pub(crate) unit: trace::Unit,
    /// Speed factor.
    pub(crate) speed: f64,
}

impl ArrivalPattern {
    /// Makes the arrivals. A recording ignores the rate; a ramp without a time takes `whole`.
    ///
    /// # Errors
    /// Fails if a recording cannot be read.
    pub(crate) fn arrival(
        &self,
        per_s: f64,
        whole: Duration,
        seed: u64,
        playback: TracePlayback,
    ) -> Result<Arrival, trace::Error> {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let arrivals = match self {
            Self::Constant => return Ok(Arrival::Constant { requests_per_s: per_s }),
            Self::Poisson => Arrivals::Poisson { per_s },
            Self::Burst { times, on, period } => {
                Arrivals::Bursts { per_s, times: *times, on_us: us(*on), period_us: us(*period) }
            }
            Self::Ramp { to_per_s, over } => Arrivals::Ramp {
                from_per_s: per_s,
                to_per_s: *to_per_s,
                over_us: us(over.unwrap_or(whole)),
            },
            Self::Trace(path) => {
                Arrivals::Recorded(trace::read(path, playback.unit, playback.speed)?)
            }
        };
        Ok(Arrival::Process { arrivals: Arc::new(arrivals), seed })
    }
}

/// Parses `constant`, `poisson`, `burst:TIMES,ON,PERIOD`, `ramp:RATE[,TIME]` or `trace:FILE`.
pub(crate) fn arrival_pattern(text: &str) -> Result<ArrivalPattern, String> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    match (name, rest) {
        ("constant", None) => Ok(ArrivalPattern::Constant),
        ("poisson", None) => Ok(ArrivalPattern::Poisson),
        ("burst", Some(rest)) => burst(rest),
        ("ramp", Some(rest)) => {
            let (to, over) =
                rest.split_once(',').map_or((rest, None), |(to, over)| (to, Some(over)));
            let over = over.map(|over| some_duration(over.trim())).transpose()?;
            Ok(ArrivalPattern::Ramp { to_per_s: rate(to.trim())?, over })
        }
        ("trace", Some(path)) if !path.is_empty() => Ok(ArrivalPattern::Trace(path.into())),
        _ => Err("it is one of constant, poisson, burst:TIMES,ON,PERIOD (burst:10,200ms,2s), \
                  ramp:RATE[,TIME] (ramp:2000,30s) and trace:FILE"
            .to_owned()),
    }
}

fn burst(text: &str) -> Result<ArrivalPattern, String> {
    let wrong = || "write burst:TIMES,ON,PERIOD, for example burst:10,200ms,2s".to_owned();
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [times, on, period] = parts[..] else { return Err(wrong()) };
    let times = times.parse::<f64>().ok().filter(|times| (0.0..=1e4).contains(times));
    let (times, on) = (times.ok_or_else(wrong)?, some_duration(on)?);
    let period = some_duration(period)?;
    if on > period {
        return Err("a burst is no longer than its period".to_owned());
    }
    Ok(ArrivalPattern::Burst { times, on, period })
}

/// Parses a speed factor.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (1e-6..=1e6).contains(speed));
    speed.ok_or_else(|| "write a number above 0: 2 is twice as fast".to_owned())
}

/// Parses a unit of time.
pub(crate) fn unit(text: &str) -> Result<trace::Unit, String> {
    let found = trace::Unit::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, unit)| unit).ok_or_else(|| "it is one of s, ms, us and ns".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrival_patterns_are_parsed() {
        let (on, period) = (Duration::from_millis(200), Duration::from_secs(2));
        assert_eq!(arrival_pattern("poisson"), Ok(ArrivalPattern::Poisson));
        assert_eq!(
            arrival_pattern("burst:10,200ms,2s"),
            Ok(ArrivalPattern::Burst { times: 10.0, on, period })
        );
        assert_eq!(
            arrival_pattern("ramp:500"),
            Ok(ArrivalPattern::Ramp { to_per_s: 500.0, over: None })
        );
        assert_eq!(
            arrival_pattern("ramp:500, 2s"),
            Ok(ArrivalPattern::Ramp { to_per_s: 500.0, over: Some(period) })
        );
        assert_eq!(
            arrival_pattern("trace:a:b,c.csv"),
            Ok(ArrivalPattern::Trace("a:b,c.csv".into()))
        );
    }

    #[test]
    fn an_invalid_arrival_process_is_reported() {
        for (text, expected) in [
            ("uniform", "it is one of constant, poisson"),
            ("poisson:3", "it is one of"),
            ("trace:", "it is one of"),
            ("burst:10,1s", "write burst:TIMES,ON,PERIOD"),
            ("burst:-1,1s,2s", "write burst:"),
            ("burst:2,3s,2s", "no longer than its period"),
            ("ramp:0", "a rate is a number above 0"),
            ("ramp:10,5", "write a number and a unit"),
        ] {
            let message = arrival_pattern(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(speed("0").is_err() && speed("nan").is_err() && unit("h").is_err());
    }

    #[test]
    fn a_pattern_becomes_arrivals_of_the_simulator() {
        let playback = TracePlayback { unit: trace::Unit::S, speed: 1.0 };
        let whole = Duration::from_secs(3);
        let arrival =
            arrival_pattern("ramp:500").unwrap().arrival(100.0, whole, 4, playback).unwrap();
        let ramp = Arrivals::Ramp { from_per_s: 100.0, to_per_s: 500.0, over_us: 3_000_000 };
        assert_eq!(arrival, Arrival::Process { arrivals: Arc::new(ramp), seed: 4 });
        assert_eq!(
            ArrivalPattern::Constant.arrival(7.0, whole, 4, playback).unwrap(),
            Arrival::Constant { requests_per_s: 7.0 }
        );
        assert!(arrival_pattern("trace:absent").unwrap().arrival(1.0, whole, 0, playback).is_err());
    }
}
