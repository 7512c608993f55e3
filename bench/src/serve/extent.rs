//! Numbers and sizes of the measurements.

use super::Flags;
use crate::engine_under_test::WIDE_MLP;
use std::time::Duration;

/// Numbers and sizes of all measurements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) rounds: usize,
    /// Duration of a measurement.
    pub(super) duration: Duration,
    /// Time after which the memory of an idle process is read, as some is given back late.
    pub(super) rest: Duration,
    /// Starts of the server, for the start time.
    pub(super) starts: usize,
    /// Connections of the table of many.
    pub(super) connections: [usize; 2],
    /// Models that requests are spread over.
    pub(super) models: [usize; 2],
    /// Layers of the wide MLP.
    pub(super) wide: &'static [u64],
    /// Layers of the MLP that is loaded and replicated, with 100 MB of weights.
    pub(super) heavy: &'static [u64],
    /// Replicas of that MLP.
    pub(super) replicas: usize,
    /// Elements of float32 in the bodies.
    pub(super) elements: &'static [u64],
    /// Floats in a row of the one-operator models.
    pub(super) operator_width: u64,
}

impl Extent {
    pub(super) fn new(flags: &Flags) -> Self {
        if flags.quick {
            return Self {
                rounds: 1,
                duration: Duration::from_millis(100),
                rest: Duration::from_millis(100),
                starts: 1,
                connections: [32, 128],
                models: [4, 16],
                wide: &[64, 256, 10],
                heavy: &[256, 1024, 256],
                replicas: 2,
                elements: &[250, 25_000],
                operator_width: 256,
            };
        }
        Self {
            rounds: flags.rounds,
            duration: Duration::from_secs(flags.seconds),
            rest: Duration::from_secs(3),
            starts: 5,
            connections: [1_024, 4_096],
            models: [64, 512],
            wide: WIDE_MLP,
            heavy: &[2_048, 4_096, 4_096],
            replicas: 10,
            elements: &[250, 25_000, 250_000, 2_500_000],
            operator_width: 65_536,
        }
    }

    /// Megabytes of the heavy MLP's weights.
    pub(super) fn heavy_mb(&self) -> f64 {
        let weights: u64 = self.heavy.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        weights as f64 * 4.0 / f64::from(1 << 20)
    }
}
