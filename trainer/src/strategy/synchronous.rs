//! Synchronous SGD: all ranks take the same step, by the mean of their gradients.

mod buckets;
mod comm_thread;

use crate::batch::Batch;
use crate::collective::Collective;
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings};
use crate::strategy::{State, StepReport, Strategy};
use buckets::Buckets;
use comm_thread::BucketReducer;

const NAME: &str = "synchronous";

/// Synchronous data-parallel SGD. A step equals that of a single rank with the batches of all ranks
/// joined; batches of different sizes count by their rows.
///
/// Gradients are sent in buckets, the last layers' first, while the backward pass continues (Li et
/// al. 2020, section 3.2).
pub struct Synchronous {
    sgd: Sgd,
    buckets: Buckets,
    reducer: BucketReducer,
    rank: usize,
    world: usize,
    /// Buffer of a single rank.
    gradients: Vec<f32>,
}

impl Synchronous {
    /// Creates buckets of at least `bucket_bytes`, except the last.
    ///
    /// # Errors
    /// Fails when no thread can be started.
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
        Ok(Self { sgd, buckets, reducer: BucketReducer::new(collective)?, rank, world, gradients })
    }

    /// Takes a step of a single rank: nothing is sent, so nothing has to overlap with it.
    fn step_single(
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

    /// Computes the gradients of a batch, and sends each bucket as soon as it is full.
    fn backward(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &[f32],
        batch: &Batch,
    ) -> Result<(), TrainError> {
        let rows = batch.rows() as f32;
        let (buckets, reducer) = (&mut self.buckets, &mut self.reducer);
        buckets.start(batch.rows());
        if batch.rows() == 0 {
            return buckets.remaining().try_for_each(|bucket| reducer.send(bucket));
        }
        let mut sent = Ok(());
        let loss = learner.gradients_as_ready(parameters, batch, &mut |entry, gradient| {
            for full in buckets.fill(entry, gradient, rows) {
                if sent.is_ok() {
                    sent = reducer.send(full);
                }
            }
        })?;
        sent?;
        buckets.set_loss(loss * rows);
        buckets.remaining().try_for_each(|bucket| reducer.send(bucket))
    }

    /// Updates the parameters of each bucket when it is summed. Returns the mean loss.
    fn update(&mut self, parameters: &mut [f32], rate: f32) -> Result<f32, TrainError> {
        let mut loss = 0.0;
        for _ in 0..self.buckets.count() {
            let bucket = self.reducer.receive()?;
            let share = 1.0 / bucket.rows().max(1.0);
            loss = bucket.loss() * share;
            let range = bucket.range.clone();
            let here = &mut parameters[range.clone()];
            self.sgd.step_range(range, here, bucket.gradients(), share, rate);
            self.buckets.put_back(bucket);
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
            return self.step_single(learner, parameters, batch, rate);
        }
        let before = self.reducer.bytes_sent();
        self.backward(learner, parameters, batch)?;
        let loss = self.update(parameters, rate)?;
        Ok(StepReport { loss, bytes_sent: self.reducer.bytes_sent() - before })
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let state = || {
            let velocity = self.sgd.velocity().to_vec();
            State::new(NAME, self.world).slice("velocity", velocity)
        };
        Ok((self.rank == 0).then(state))
    }

    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.check_strategy(NAME)?;
        state.copy_to("velocity", self.sgd.velocity_mut())
    }
}
