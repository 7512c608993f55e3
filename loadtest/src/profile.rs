//! Capacity profile: measurements of a server with one model at several rates, kept in a file for
//! planning.

use crate::quantiles::Quantiles;
use crate::server_settings::Settings;
use crate::server_statistics::BatchSize;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// First field of a profile's file.
pub const FORMAT: &str = "skysail-capacity-profile/2";
/// Largest file that is read, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// Most rates of a profile.
const LEVELS_MAX: usize = 10_000;

/// Measurements of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Value of [`FORMAT`].
    pub format: String,
    /// Name of the model.
    pub model: String,
    /// Version of the model, if one was requested.
    pub version: Option<String>,
    /// Address of the server.
    pub url: String,
    /// Protocol of the requests.
    pub protocol: String,
    /// Rows of each request.
    pub rows_per_request: u64,
    /// Machine of the load generator.
    pub machine: Machine,
    /// Settings of the server for the model.
    pub server: Settings,
    /// Latency objective of the server itself, if known.
    pub server_objective_ms: Option<f64>,
    /// Objective of the capacity.
    pub objective: Objective,
    /// Highest rate that meets the objective.
    pub capacity_per_s: f64,
    /// Measurements at each rate, the lowest first.
    pub levels: Vec<Level>,
    /// Spread of the run times.
    pub spread: Spread,
}

/// Machine of a load generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Host name, if known.
    pub name: Option<String>,
    /// Number of processors.
    pub processors: u64,
    /// Model of the processors, if known.
    pub processor: Option<String>,
}

/// Latency objective for a share of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Objective, in milliseconds.
    pub ms: f64,
    /// Percentage of the requests.
    pub percentile: f64,
    /// Confidence of the result, in percent.
    pub confidence: f64,
}

/// Measurements at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Offered requests a second, of a Poisson process.
    pub per_s: f64,
    /// Duration in seconds.
    pub seconds: f64,
    /// Number of scheduled requests.
    pub requests: u64,
    /// Answered requests.
    pub answered: u64,
    /// Requests answered within the objective.
    pub in_time: u64,
    /// Requests that the server rejected because of overload.
    pub rejected: u64,
    /// Latency from the scheduled time to the response.
    pub latency_us: Quantiles,
    /// Mean time in the server's queue, if known.
    pub queue_us_mean: Option<f64>,
    /// Mean time from queue to outputs in the server, if known.
    pub engine_us_mean: Option<f64>,
    /// Mean latency outside the engine: network, decoding, and response.
    #[serde(default)]
    pub outside_us_mean: Option<f64>,
    /// Runs by batch size, if known.
    pub batches: Vec<BatchSize>,
}

/// Spread of the run times of one size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Number of runs that were seen one by one.
    pub runs: u64,
    /// Run times over the mean of their size.
    pub times: Quantiles,
}

/// Reason why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        error: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        error: io::Error,
    },
    /// The file is no profile.
    #[error(
        "{} is not a capacity profile: {reason}; `skysail-load capacity --profile FILE` writes one",
        path.display()
    )]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// Description of the error.
        reason: String,
    },
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// Fails if it cannot be read, or is no profile.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::Read { path: path.to_owned(), error };
        let invalid = |reason: String| Error::Invalid { path: path.to_owned(), reason };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > BYTES_MAX {
            return Err(invalid(format!("it has {length} bytes")));
        }
        let text = fs::read(path).map_err(failed)?;
        let profile: Self =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        profile.check().map_err(invalid)?;
        Ok(profile)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::Write { path: path.to_owned(), error };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        fs::write(path, text).map_err(failed)
    }

    /// Checks all values before anything is computed from them.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            let format: String = self.format.chars().take(50).collect();
            return Err(format!("its format is {format:?}, not {FORMAT:?}"));
        }
        let above_0 = |value: f64, what: &str| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(format!("its {what} is {value}")),
        };
        above_0(self.capacity_per_s, "capacity")?;
        above_0(self.objective.ms, "objective")?;
        if self.levels.is_empty() || self.levels.len() > LEVELS_MAX {
            return Err(format!("it has {} rates", self.levels.len()));
        }
        if !self.levels.is_sorted_by(|a, b| a.per_s < b.per_s) {
            return Err("its rates are not in order".to_owned());
        }
        for level in &self.levels {
            above_0(level.per_s, "rate")?;
            above_0(level.seconds, "time at a rate")?;
            let mut times = level.batches.iter().map(BatchSize::total_us);
            if !level.latency_us.is_valid() || !times.all(|us| us.is_finite() && us >= 0.0) {
                return Err(format!("the times at {} requests/s are not right", level.per_s));
            }
        }
        let sizes = [self.rows_per_request, self.server.replicas.unwrap_or(1)];
        let is_wrong = |size: &u64| *size == 0 || *size > 1 << 20;
        if sizes.iter().any(is_wrong) || !self.spread.times.is_valid() {
            return Err("its rows, replicas or spread are not right".to_owned());
        }
        Ok(())
    }
}

impl Machine {
    /// Machine that this program runs on.
    pub fn this() -> Self {
        let line = |path: &str| fs::read_to_string(path).ok();
        let name = line("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        let cpus = line("/proc/cpuinfo").unwrap_or_default();
        let kind = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let kind = kind.and_then(|rest| Some(rest.split_once(':')?.1.trim().to_owned()));
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        Self { name, processors, processor: kind }
    }
}

impl Level {
    /// Answered requests a second.
    pub fn answered_per_s(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Share of the requests that were answered in time.
    pub fn in_time_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.in_time as f64 / self.requests as f64 }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Profile of one replica that runs a row in a millisecond, at a tenth and at half of its
    /// capacity.
    pub(crate) fn example() -> Profile {
        let batches =
            vec![BatchSize { rows: 1, runs: 100, run_us: 1_000.0, ..BatchSize::default() }];
        let level = |per_s: f64, us: f64| Level {
            per_s,
            seconds: 10.0,
            requests: (per_s * 10.0) as u64,
            answered: (per_s * 10.0) as u64,
            in_time: (per_s * 10.0) as u64,
            latency_us: Quantiles::from_values(vec![us; 3]),
            batches: batches.clone(),
            ..Level::default()
        };
        Profile {
            format: FORMAT.to_owned(),
            model: "m".to_owned(),
            version: None,
            url: "http://127.0.0.1:8000".to_owned(),
            protocol: "binary".to_owned(),
            rows_per_request: 1,
            machine: Machine::this(),
            server: Settings { batch_rows_max: Some(1), replicas: Some(1), ..Settings::default() },
            server_objective_ms: None,
            objective: Objective { ms: 10.0, percentile: 99.0, confidence: 95.0 },
            capacity_per_s: 800.0,
            levels: vec![level(100.0, 1_100.0), level(500.0, 1_600.0)],
            spread: Spread::default(),
        }
    }

    fn written(text: &str) -> Result<Profile, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Profile::read(file.path())
    }

    #[test]
    fn a_written_file_is_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        example().write(file.path()).unwrap();
        assert_eq!(Profile::read(file.path()).unwrap(), example());
    }

    #[test]
    fn an_invalid_profile_is_reported_with_its_reason() {
        let changed = |change: fn(&mut Profile)| {
            let mut profile = example();
            change(&mut profile);
            written(&serde_json::to_string(&profile).unwrap()).unwrap_err().to_string()
        };
        for (message, expected) in [
            (written("{}").unwrap_err().to_string(), "missing field `format`"),
            (changed(|profile| profile.format = "x/2".into()), "its format is \"x/2\""),
            (changed(|profile| profile.levels.clear()), "it has 0 rates"),
            (changed(|profile| profile.levels.reverse()), "not in order"),
            (changed(|profile| profile.capacity_per_s = 0.0), "its capacity is 0"),
            (changed(|profile| profile.levels[0].batches[0].run_us = -5.0), "are not right"),
            (changed(|profile| profile.server.replicas = Some(0)), "are not right"),
        ] {
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("is not a capacity profile"), "{message}");
        }
        let absent = Profile::read(Path::new("/absent/profile.json")).unwrap_err();
        assert!(absent.to_string().starts_with("cannot read /absent/profile.json: No such file"));
    }
}
