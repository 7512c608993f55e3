//! Data parallel: all ranks take the same step, by the mean of their gradients.

mod buckets;
mod courier;

use crate::batch::Batch;
use crate::collective::Collective;
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings};
use crate::strategy::{State, StepReport, Strategy};
use buckets::Buckets;
use courier::Courier;

const NAME: &str = "synchronous";

/// Data parallel, synchronous: a step is the one that a single rank would take with the batches
/// of all ranks joined (batches of different sizes count by their rows).
///
/// Gradients go to the other ranks in buckets, the last layers' first, while the backward pass
/// goes on (Li et al. 2020, section 3.2).
pub struct Synchronous {
    sgd: Sgd,
    buckets: Buckets,
    courier: Courier,
    rank: usize,
    world: usize,
    /// Of a rank that is alone.
    gradients: Vec<f32>,
}

impl Synchronous {
    /// With buckets of at least `bucket_bytes`, but for the last.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: SgdSettings,
        bucket_bytes: usize,
    ) -> Result<Self, TrainError> {
        let (rank, world) = (collective.rank(), collective.world());
        let sgd = Sgd::new(layout, settings);
        let buckets = Buckets::new(layout, bucket_bytes);
        let gradients = vec![0.0; if world == 1 { layout.len() } else { 0 }];
        Ok(Self { sgd, buckets, courier: Courier::new(collective)?, rank, world, gradients })
    }

    /// A step of a rank that is alone: nothing is sent, so nothing has to overlap with that.
    fn step_alone(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let loss = learner.gradients(parameters, batch, &mut self.gradients)?;
        self.sgd.step(parameters, &self.gradients, rate);
        Ok(StepReport { loss, bytes_sent: 0 })
    }

    /// Gradients of a batch, each bucket on its way as soon as it is full.
    fn backward(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &[f32],
        batch: &Batch,
    ) -> Result<(), TrainError> {
        let rows = batch.rows() as f32;
        let (buckets, courier) = (&mut self.buckets, &mut self.courier);
        buckets.start(batch.rows());
        if batch.rows() == 0 {
            return buckets.rest().try_for_each(|bucket| courier.send(bucket));
        }
        let mut sent = Ok(());
        let loss = learner.gradients_as_ready(parameters, batch, &mut |entry, gradient| {
            for full in buckets.fill(entry, gradient, rows) {
                if sent.is_ok() {
                    sent = courier.send(full);
                }
            }
        })?;
        sent?;
        buckets.set_loss(loss * rows);
        buckets.rest().try_for_each(|bucket| courier.send(bucket))
    }

    /// Moves the parameters of each bucket as it comes back. Gives the mean loss.
    fn update(&mut self, parameters: &mut [f32], rate: f32) -> Result<f32, TrainError> {
        let mut loss = 0.0;
        for _ in 0..self.buckets.count() {
            let bucket = self.courier.receive()?;
            let share = 1.0 / bucket.rows().max(1.0);
            loss = bucket.loss() * share;
            let range = bucket.range.clone();
            let here = &mut parameters[range.clone()];
            self.sgd.step_range(range, here, bucket.gradients(), share, rate);
            self.buckets.take_back(bucket);
        }
        Ok(loss)
    }
}

impl Strategy for Synchronous {
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        if self.world == 1 && batch.rows() > 0 {
            return self.step_alone(learner, parameters, batch, rate);
        }
        let before = self.courier.bytes_sent();
        self.backward(learner, parameters, batch)?;
        let loss = self.update(parameters, rate)?;
        Ok(StepReport { loss, bytes_sent: self.courier.bytes_sent() - before })
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let state = || {
            let velocity = self.sgd.velocity().to_vec();
            State::new(NAME, self.world).slice("velocity", velocity)
        };
        Ok((self.rank == 0).then(state))
    }

    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.expect(NAME)?;
        state.copy_to("velocity", self.sgd.velocity_mut())
    }
}
