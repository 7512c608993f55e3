//! A capacity profile: what a server was seen to do with one model at several rates, kept in a file
//! so that other loads can be planned with it.

use crate::quantiles::Quantiles;
use crate::server_settings::Settings;
use crate::server_statistics::BatchSize;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The first field of a profile's file.
pub const FORMAT: &str = "skysail-capacity-profile/1";
/// A larger file is none.
const BYTES_MAX: u64 = 16 << 20;
/// More rates than any search measures.
const LEVELS_MAX: usize = 10_000;

/// What a server was seen to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`FORMAT`].
    pub format: String,
    /// The model's name.
    pub model: String,
    /// Its version, if one was asked for.
    pub version: Option<String>,
    /// The server's address.
    pub url: String,
    /// How requests travelled.
    pub protocol: String,
    /// Rows of each request.
    pub rows_per_request: u64,
    /// Where it was measured from.
    pub machine: Machine,
    /// How the server runs the model.
    pub server: Settings,
    /// How soon the server itself wants to answer, where it says so.
    pub server_objective_ms: Option<f64>,
    /// What was to be kept.
    pub objective: Objective,
    /// The highest rate that keeps it.
    pub capacity_per_s: f64,
    /// What was seen at each rate, the lowest first.
    pub levels: Vec<Level>,
    /// How runs of one size differ: the run time over the mean of its size.
    pub spread: Spread,
}

/// Where a load generator ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name, where it says so.
    pub name: Option<String>,
    /// Its processors.
    pub processors: u64,
    /// Their kind, where it is known.
    pub processor: Option<String>,
}

/// Which part of the requests is to be answered how soon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// How soon.
    pub ms: f64,
    /// Which part, in hundredths.
    pub percentile: f64,
    /// How sure the answer is, in hundredths.
    pub confidence: f64,
}

/// What was seen at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Requests a second, as they were meant to go out, independent of each other.
    pub per_s: f64,
    /// For how long.
    pub seconds: f64,
    /// Requests that were meant to go out.
    pub requests: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that were answered within the objective.
    pub in_time: u64,
    /// Those that the server turned down.
    pub refused: u64,
    /// From the intended send to the answer.
    pub latency_us: Quantiles,
    /// The server's mean time in the queue, where it says so.
    pub queue_us_mean: Option<f64>,
    /// The server's mean time from queue to outputs, where it says so.
    pub engine_us_mean: Option<f64>,
    /// The mean latency's rest: the way there and back, decoding, the response.
    #[serde(default)]
    pub outside_us_mean: Option<f64>,
    /// The server's runs by size, where it says so.
    pub batches: Vec<BatchSize>,
}

/// How runs of one size differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Runs that were seen one by one.
    pub runs: u64,
    /// Their times over the mean of their size.
    pub times: Quantiles,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Its file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is something else.
    #[error(
        "{} is no capacity profile: {reason}; `skysail-load capacity --profile FILE` writes one",
        path.display()
    )]
    Invalid {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no profile.
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

    /// Writes it to a file.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::Write { path: path.to_owned(), error };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        fs::write(path, text).map_err(failed)
    }

    /// What makes it useless, before anything is computed from it.
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
            let mut times = level.batches.iter().map(BatchSize::taken_us);
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
    /// The one that this program runs on.
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
    /// Requests a second that were answered.
    pub fn answered_per_s(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// The part of the requests that were answered in time.
    pub fn in_time_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.in_time as f64 / self.requests as f64 }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One replica that runs a row in a millisecond, at a tenth and at half of its capacity.
    pub(crate) fn example() -> Profile {
        let batches =
            vec![BatchSize { rows: 1, runs: 100, run_us: 1_000.0, ..BatchSize::default() }];
        let level = |per_s: f64, us: f64| Level {
            per_s,
            seconds: 10.0,
            requests: (per_s * 10.0) as u64,
            answered: (per_s * 10.0) as u64,
            in_time: (per_s * 10.0) as u64,
            latency_us: Quantiles::of(vec![us; 3]),
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
    fn what_is_written_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        example().write(file.path()).unwrap();
        assert_eq!(Profile::read(file.path()).unwrap(), example());
    }

    #[test]
    fn what_is_no_profile_is_said_why() {
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
            assert!(message.contains("is no capacity profile"), "{message}");
        }
        let absent = Profile::read(Path::new("/absent/profile.json")).unwrap_err();
        assert!(absent.to_string().starts_with("cannot read /absent/profile.json: No such file"));
    }
}
