//! Deep Gradient Compression: ranks send few of their gradients, and lose none.

pub mod coding;
mod sparsity;
mod threshold;

use crate::batch::Batch;
use crate::collective::Collective;
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings, Span, spans};
use crate::strategy::state::gather;
use crate::strategy::{State, StepReport, Strategy};
use coding::{SparseValues, decode, encode};
use std::ops::Range;

pub use coding::Precision;
pub use sparsity::Sparsity;

const NAME: &str = "deep-gradient";
/// Correction for shares that binary numbers cannot represent: 0.999 of 1000 is 999.
const ROUNDING: f64 = 1e-6;

/// Settings of Deep Gradient Compression.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepGradientSettings {
    /// Momentum and decay, as without compression.
    pub sgd: SgdSettings,
    /// Largest norm of the summed gradient of all ranks. Each rank clips its own by its expected
    /// share (section 3.2, "local gradient clipping").
    pub clip: Option<f32>,
    /// Share held back at each step.
    pub sparsity: Sparsity,
    /// True to clear the velocity of each value that is sent (section 3.3, "momentum factor
    /// masking").
    pub factor_masking: bool,
    /// Encoding of the values.
    pub precision: Precision,
}

impl Default for DeepGradientSettings {
    fn default() -> Self {
        Self {
            sgd: SgdSettings { momentum: 0.9, ..SgdSettings::default() },
            clip: None,
            sparsity: Sparsity::default(),
            factor_masking: true,
            precision: Precision::default(),
        }
    }
}

/// Deep Gradient Compression (Lin et al. 2018, algorithm 4), for weights and biases alike.
///
/// Each rank accumulates its velocities, and sends only the largest sums in each step; the rest is
/// held back. Decay needs no messages: each rank applies it with its own momentum. Statistics are
/// averaged as a whole.
///
/// A step sends everything and holds nothing back if the sparse form would cost more bytes. So
/// sparsity 0 is synchronous SGD with momentum.
pub struct DeepGradient {
    settings: DeepGradientSettings,
    collective: Box<dyn Collective>,
    entries: Vec<Range<usize>>,
    spans: Vec<Span>,
    /// Optimizer for the updates that all ranks know: decay and statistics.
    common: Sgd,
    velocity: Vec<f32>,
    residual: Vec<f32>,
    gradients: Vec<f32>,
    steps: u64,
}

impl DeepGradient {
    /// Starts with nothing held back.
    ///
    /// # Errors
    /// Fails when the model has more parameters than 32 bits can count.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: DeepGradientSettings,
    ) -> Result<Self, TrainError> {
        if u32::try_from(layout.len()).is_err() {
            return Err(TrainError::State(format!("{} parameters are too many", layout.len())));
        }
        let trained = layout.entries().iter().filter(|entry| entry.kind != EntryKind::Statistic);
        Ok(Self {
            entries: trained.map(|entry| entry.range.clone()).collect(),
            spans: spans(layout),
            common: Sgd::new(layout, settings.sgd),
            velocity: vec![0.0; layout.len()],
            residual: vec![0.0; layout.len()],
            gradients: vec![0.0; layout.len()],
            steps: 0,
            collective,
            settings,
        })
    }

    /// Values held back on this rank: the sum of unsent velocities of each parameter.
    pub fn residual(&self) -> &[f32] {
        &self.residual
    }

    fn has_common(&self) -> bool {
        let statistic = |span: &Span| span.kind == EntryKind::Statistic;
        self.settings.sgd.weight_decay != 0.0 || self.spans.iter().any(statistic)
    }

    /// Clips this rank's share of the gradient, and adds it to the held-back values.
    fn accumulate(&mut self) {
        let share = 1.0 / self.collective.world() as f32;
        let trained = self.spans.iter().filter(|span| span.kind != EntryKind::Statistic);
        let scale = share * self.clip_factor(share);
        let SgdSettings { momentum, nesterov, .. } = self.settings.sgd;
        for span in trained {
            let range = span.range.clone();
            let gradients = self.gradients[range.clone()].iter();
            let held = self.velocity[range.clone()].iter_mut().zip(&mut self.residual[range]);
            for (gradient, (velocity, residual)) in gradients.zip(held) {
                let gradient = gradient * scale;
                if nesterov {
                    *velocity = momentum * (*velocity + gradient);
                    *residual += *velocity + gradient;
                } else {
                    *velocity = momentum * *velocity + gradient;
                    *residual += *velocity;
                }
            }
        }
    }

    /// Factor that keeps the norm of this rank's share of the gradient within the limit.
    fn clip_factor(&self, share: f32) -> f32 {
        let Some(clip) = self.settings.clip else { return 1.0 };
        let squares = |range: &Range<usize>| {
            self.gradients[range.clone()].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>()
        };
        let norm = self.entries.iter().map(squares).sum::<f64>().sqrt() as f32 * share;
        let longest = clip * share.sqrt();
        if norm > longest { longest / norm } else { 1.0 }
    }

    /// Returns true if sending sparse values costs less. An all-gather delivers each rank's message
    /// to all; an all-reduce costs at most two copies.
    fn is_sparse(&self, sparsity: f64) -> bool {
        let world = self.collective.world() as f64;
        let few = (1.0 - sparsity) * self.settings.precision.bytes() as f64 * (world - 1.0);
        let all = 8.0 * (world - 1.0) / world;
        sparsity > 0.0 && few <= all
    }

    /// Selects the largest held-back values of each parameter.
    fn largest_values(&self, sparsity: f64) -> SparseValues {
        let mut chosen = SparseValues::default();
        for range in &self.entries {
            let held_back = (range.len() as f64 * sparsity + ROUNDING).floor() as usize;
            let keep = (range.len() - held_back.min(range.len())).max(1);
            let values = &self.residual[range.clone()];
            for index in threshold::largest(values, keep, self.steps) {
                chosen.indices.push(range.start as u32 + index);
                chosen.values.push(values[index as usize]);
            }
        }
        chosen
    }

    /// Sends the largest values, and applies those of all ranks. Returns the mean loss.
    fn update_sparse(
        &mut self,
        parameters: &mut [f32],
        sparsity: f64,
        loss: f32,
        rate: f32,
    ) -> Result<f32, TrainError> {
        let mut message = loss.to_ne_bytes().to_vec();
        message.extend(encode(&self.largest_values(sparsity), self.settings.precision));
        let mut losses = 0.0;
        for (rank, message) in self.collective.all_gather(&message)?.iter().enumerate() {
            let (loss, coded) = message.split_first_chunk().unwrap_or((&[0; 4], message));
            let sent = decode(coded, parameters.len()).map_err(|error| {
                TrainError::State(format!("the message of rank {rank} is invalid: {error}"))
            })?;
            losses += f32::from_ne_bytes(*loss);
            for (index, value) in sent.indices.iter().zip(&sent.values) {
                parameters[*index as usize] -= rate * value;
            }
            if rank == self.collective.rank() {
                self.remove_sent(&sent);
            }
        }
        Ok(losses / self.collective.world() as f32)
    }

    /// Removes sent values from the held-back ones. Rounding errors stay.
    fn remove_sent(&mut self, sent: &SparseValues) {
        for (index, value) in sent.indices.iter().zip(&sent.values) {
            self.residual[*index as usize] -= value;
            if self.settings.factor_masking {
                self.velocity[*index as usize] = 0.0;
            }
        }
    }

    /// Applies the sum of all held-back values of all ranks. Returns the mean loss.
    fn update_dense(
        &mut self,
        parameters: &mut [f32],
        loss: f32,
        rate: f32,
    ) -> Result<f32, TrainError> {
        self.residual.push(loss);
        let reduced = self.collective.all_reduce(&mut self.residual);
        let losses = self.residual.pop().unwrap_or(loss);
        reduced?;
        parameters.iter_mut().zip(&self.residual).for_each(|(p, sum)| *p -= rate * sum);
        self.residual.fill(0.0);
        Ok(losses / self.collective.world() as f32)
    }

    /// Applies the updates that need no gradients: decay, and statistics, which ranks average.
    fn update_common(&mut self, parameters: &mut [f32], rate: f32) -> Result<(), TrainError> {
        let share = 1.0 / self.collective.world() as f32;
        for span in &self.spans {
            let gradients = &mut self.gradients[span.range.clone()];
            if span.kind == EntryKind::Statistic {
                self.collective.all_reduce(gradients)?;
                gradients.iter_mut().for_each(|fall| *fall *= share);
            } else {
                gradients.fill(0.0);
            }
        }
        self.common.step(parameters, &self.gradients, rate);
        Ok(())
    }
}

impl Strategy for DeepGradient {
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let before = self.collective.bytes_sent();
        let loss = learner.gradients(parameters, batch, &mut self.gradients)?;
        self.accumulate();
        if self.has_common() {
            self.update_common(parameters, rate)?;
        }
        let sparsity = self.settings.sparsity.at(self.steps);
        let loss = if self.is_sparse(sparsity) {
            self.update_sparse(parameters, sparsity, loss, rate)?
        } else {
            self.update_dense(parameters, loss, rate)?
        };
        self.steps += 1;
        Ok(StepReport { loss, bytes_sent: self.collective.bytes_sent() - before })
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let collective = self.collective.as_mut();
        let velocities = gather(collective, &self.velocity)?;
        let residuals = gather(collective, &self.residual)?;
        let (Some(velocities), Some(residuals)) = (velocities, residuals) else { return Ok(None) };
        let state = State::new(NAME, self.collective.world())
            .count("steps", self.steps)
            .slice("common", self.common.velocity().to_vec())
            .slice_per_rank("velocity", velocities)
            .slice_per_rank("residual", residuals);
        Ok(Some(state))
    }

    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.check_strategy(NAME)?;
        let (rank, world) = (self.collective.rank(), self.collective.world());
        self.steps = state.counter("steps")?;
        state.copy_to("common", self.common.velocity_mut())?;
        state.copy_share_to("velocity", rank, world, &mut self.velocity)?;
        state.copy_share_to("residual", rank, world, &mut self.residual)
    }
}
