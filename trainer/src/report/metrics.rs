//! Events of a training run, one JSON object a line.

use super::output;
use crate::checkpoint::Measurement;
use crate::error::TrainError;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// An event of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(super) enum Event {
    /// Several steps were taken.
    Step {
        /// Seconds since the program started.
        seconds: f64,
        epoch: u64,
        steps: u64,
        /// Mean loss since the last event.
        loss: f32,
        rate: f32,
        bytes_sent: u64,
        rows_per_second: f64,
    },
    /// The model was evaluated.
    Measured {
        seconds: f64,
        #[serde(flatten)]
        measured: Measurement,
    },
}

impl Event {
    fn steps(&self) -> u64 {
        match self {
            Self::Step { steps, .. } => *steps,
            Self::Measured { measured, .. } => measured.steps,
        }
    }
}

/// The file of events.
pub(super) struct Metrics {
    path: PathBuf,
    file: File,
    events: Vec<Event>,
}

impl Metrics {
    /// Opens the file, keeping events up to step `done`; later ones are dropped.
    pub(super) fn open(path: &Path, done: u64) -> Result<Self, TrainError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) if done > 0 => text,
            Ok(_) => String::new(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(output(path, &error)),
        };
        // Unfinished lines of a killed process are skipped.
        let read = text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
        let old: Vec<Event> = read.filter(|event| event.steps() <= done).collect();
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path);
        let file = file.map_err(|error| output(path, &error))?;
        let mut metrics = Self { path: path.to_path_buf(), file, events: Vec::new() };
        old.into_iter().try_for_each(|event| metrics.add(event))?;
        Ok(metrics)
    }

    pub(super) fn add(&mut self, event: Event) -> Result<(), TrainError> {
        let line = serde_json::to_string(&event).map_err(std::io::Error::from);
        let written = line.and_then(|line| self.file.write_all((line + "\n").as_bytes()));
        written.map_err(|error| output(&self.path, &error))?;
        self.events.push(event);
        Ok(())
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }
}
