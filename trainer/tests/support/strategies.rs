//! Strategies to test, and training data for their ranks.

use super::{batch, joined};
use skysail_trainer::{
    Batch, Collective, DeepGradient, DeepGradientSettings, Downpour, DownpourSettings, Layout,
    LocalSgd, SgdSettings, Staleness, Strategy, Synchronous, TrainError,
};
use std::time::Duration;

pub(crate) const LONG: Duration = Duration::from_secs(3600);
pub(crate) const WIDTH: usize = 5;
pub(crate) const RATE: f32 = 0.05;
pub(crate) const MOMENTUM: SgdSettings =
    SgdSettings { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
pub(crate) const ALL: SgdSettings =
    SgdSettings { momentum: 0.9, nesterov: true, weight_decay: 0.01 };

pub(crate) type Make =
    dyn Fn(&Layout, Box<dyn Collective>) -> Result<Box<dyn Strategy>, TrainError> + Sync;

pub(crate) fn synchronous(settings: SgdSettings, bucket_bytes: usize) -> Box<Make> {
    Box::new(move |layout, collective| {
        Ok(Box::new(Synchronous::new(layout, collective, settings, bucket_bytes)?))
    })
}

pub(crate) fn deep(settings: DeepGradientSettings) -> Box<Make> {
    Box::new(move |layout, collective| {
        Ok(Box::new(DeepGradient::new(layout, collective, settings.clone())?))
    })
}

pub(crate) fn downpour(staleness: Staleness) -> Box<Make> {
    Box::new(move |layout, collective| {
        let settings = DownpourSettings { staleness, epsilon: 1e-8 };
        Ok(Box::new(Downpour::new(layout, collective, settings)?))
    })
}

pub(crate) fn local(settings: SgdSettings, period: u64) -> Box<Make> {
    Box::new(move |layout, collective| {
        Ok(Box::new(LocalSgd::new(layout, collective, settings, period)))
    })
}

/// A rank's share of four quarters of a batch: the same rows for 1, 2 or 4 ranks.
pub(crate) fn share(rank: usize, world: usize, step: usize) -> Batch {
    let quarters: Vec<_> =
        (0..4).map(|quarter| batch(WIDTH, 8, (step * 4 + quarter) as u64)).collect();
    joined(&quarters[rank * 4 / world..(rank + 1) * 4 / world])
}
