//! Batching settings under comparison, and their `model.toml`.

use std::fmt::{self, Write};
use std::time::Duration;

/// Batch sizes of the grid.
const ROWS: [usize; 5] = [1, 4, 16, 64, 256];

/// Delays of the grid.
const DELAYS_US: [u64; 4] = [0, 500, 2_000, 8_000];

/// Settings of a model that are the same under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FixedSettings {
    /// Latency objective, if it differs from the engine's.
    pub(super) objective: Option<Duration>,
    /// Replicas and threads, if they are not to be calibrated again. Two near-equal choices would
    /// otherwise differ more than the settings.
    pub(super) replicas: Option<(usize, usize)>,
}

/// Setting of the batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// The default, with nothing set.
    Predictive,
    /// Clipper's first policy.
    Aimd,
    /// Clipper's second policy.
    Quantile,
    /// No batching: each request is a run.
    Unbatched,
    /// Fixed batch size and delay.
    Fixed {
        /// Rows of the largest batch.
        rows: usize,
        /// Longest time that the oldest request waits for others.
        delay_us: u64,
    },
}

impl Setting {
    /// Typical hand-set point without measurements.
    pub(super) const USUAL: Self = Self::Fixed { rows: 64, delay_us: 2_000 };

    /// All sizes with all delays. A batch of one row is full at once and has no delay.
    pub(super) fn grid() -> Vec<Self> {
        let point = |rows, delay_us| Self::Fixed { rows, delay_us };
        let points = ROWS.iter().flat_map(|&rows| DELAYS_US.map(|delay_us| point(rows, delay_us)));
        points.filter(|p| !matches!(p, Self::Fixed { rows: 1, delay_us: 1.. })).collect()
    }

    /// Some points of the grid.
    pub(super) fn thin_grid() -> Vec<Self> {
        let is_in =
            |point: &Self| matches!(point, Self::Fixed { rows: 1 | 16 | 64, delay_us: 0 | 2_000 });
        Self::grid().into_iter().filter(is_in).collect()
    }

    /// Text of `model.toml` for this setting; for `predictive` only the fixed settings.
    pub(super) fn toml(self, fixed: &FixedSettings) -> String {
        let mut toml = String::new();
        if let Some((count, threads)) = fixed.replicas {
            push(&mut toml, format_args!("replicas = {{ count = {count}, threads = {threads} }}"));
        }
        if let Some(objective) = fixed.objective {
            push(&mut toml, format_args!("objective_ms = {:?}", objective.as_secs_f64() * 1e3));
        }
        match self {
            Self::Predictive => {}
            Self::Aimd => push(&mut toml, format_args!("batching.policy = \"aimd\"")),
            Self::Quantile => push(&mut toml, format_args!("batching.policy = \"quantile\"")),
            Self::Unbatched => push(&mut toml, format_args!("max_batch_size = 0")),
            Self::Fixed { rows, delay_us } => {
                push(&mut toml, format_args!("max_batch_size = {rows}"));
                push(&mut toml, format_args!("batching.policy = \"fixed\""));
                push(&mut toml, format_args!("batching.max_delay_us = {delay_us}"));
            }
        }
        toml
    }

    /// Name that is valid for a folder.
    pub(super) fn key(self) -> String {
        self.to_string().replace([' ', ','], "-")
    }
}

fn push(toml: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(toml, "{line}");
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predictive => f.pad("predictive"),
            Self::Aimd => f.pad("aimd"),
            Self::Quantile => f.pad("quantile"),
            Self::Unbatched => f.pad("no batching"),
            Self::Fixed { rows, delay_us } => {
                write!(f, "fixed {rows}, {} ms", *delay_us as f64 / 1e3)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_engine::config::ModelConfig;
    use skysail_policy::batch::PolicyName;

    fn config(setting: Setting) -> ModelConfig {
        let objective = Some(Duration::from_millis(20));
        let fixed = FixedSettings { objective, replicas: Some((2, 1)) };
        let config = ModelConfig::from_toml(&setting.toml(&fixed));
        let config = config.unwrap();
        config.check().unwrap();
        assert_eq!(config.objective_ms, Some(20.0));
        assert_eq!((config.replicas.count, config.replicas.threads), (Some(2), Some(1)));
        config
    }

    #[test]
    fn the_engine_reads_every_setting() {
        let policy = |setting| config(setting).batching.name();
        assert_eq!(policy(Setting::Predictive), PolicyName::Predictive);
        assert_eq!(policy(Setting::Aimd), PolicyName::Aimd);
        assert_eq!(policy(Setting::Quantile), PolicyName::Quantile);
        assert_eq!(config(Setting::Unbatched).max_batch_size, Some(0));
        for setting in Setting::grid() {
            let Setting::Fixed { rows, delay_us } = setting else { panic!("{setting}") };
            let read = config(setting);
            assert_eq!(read.batching.name(), PolicyName::Fixed);
            assert_eq!((read.max_batch_size, read.batching.max_delay_us), (Some(rows), delay_us));
        }
        assert_eq!(Setting::Predictive.toml(&FixedSettings::default()), "");
    }

    #[test]
    fn every_point_of_the_grid_has_its_own_folder() {
        let mut keys: Vec<String> = Setting::grid().into_iter().map(Setting::key).collect();
        assert_eq!(keys.len(), 1 + 4 * 4);
        assert!(keys.iter().all(|key| !key.contains([' ', '/', ','])));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 17);
    }
}
