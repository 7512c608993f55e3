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
use coding::{Entries, decode, encode};
use std::ops::Range;

pub use coding::Precision;
pub use sparsity::Sparsity;

const NAME: &str = "deep-gradient";
/// Makes up for what a share lacks in binary: 0.999 of 1000 are 999.
const ROUNDING: f64 = 1e-6;

/// How gradients are held back and sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepGradientSettings {
    /// Momentum and decay, as without compression.
    pub sgd: SgdSettings,
    /// The largest norm of the gradient of all ranks together; each rank clips its own by what it
    /// is likely to contribute (section 3.2, "local gradient clipping").
    pub clip: Option<f32>,
    /// How much is held back at each step.
    pub sparsity: Sparsity,
    /// Whether a value that is sent takes its velocity with it (section 3.3, "momentum factor
    /// masking").
    pub factor_masking: bool,
    /// How values are written.
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
/// Each rank adds up its velocities, and sends in each step the largest of the sums only; the rest
/// waits. Decay needs no messages: each rank gives it its own momentum. Statistics are averaged
/// whole. A step in which the few would cost more bytes than all sends all, and holds nothing
/// back; so sparsity 0 is synchronous SGD with momentum.
pub struct DeepGradient {
    settings: DeepGradientSettings,
    collective: Box<dyn Collective>,
    entries: Vec<Range<usize>>,
    spans: Vec<Span>,
    /// Moves parameters by what every rank knows: decay and statistics.
    common: Sgd,
    velocity: Vec<f32>,
    residual: Vec<f32>,
    gradients: Vec<f32>,
    steps: u64,
}

impl DeepGradient {
    /// Nothing is held back yet.
    ///
    /// # Errors
    /// When the model has more parameters than 32 bits can count.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: DeepGradientSettings,
    ) -> Result<Self, TrainError> {
        if u32::try_from(layout.len()).is_err() {
            return Err(TrainError::State(format!("{} parameters are too many", layout.len())));
        }
        let learned = layout.entries().iter().filter(|entry| entry.kind != EntryKind::Statistic);
        Ok(Self {
            entries: learned.map(|entry| entry.range.clone()).collect(),
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

    /// What is held back on this rank: of each parameter the sum of velocities that were not sent.
    pub fn residual(&self) -> &[f32] {
        &self.residual
    }

    fn has_common(&self) -> bool {
        let statistic = |span: &Span| span.kind == EntryKind::Statistic;
        self.settings.sgd.weight_decay != 0.0 || self.spans.iter().any(statistic)
    }

    /// Clips this rank's part of the gradient, and adds it to what is held back.
    fn accumulate(&mut self) {
        let share = 1.0 / self.collective.world() as f32;
        let learned = self.spans.iter().filter(|span| span.kind != EntryKind::Statistic);
        let scale = share * self.clipping(share);
        let SgdSettings { momentum, nesterov, .. } = self.settings.sgd;
        for span in learned {
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

    /// By what this rank's share of the gradient is to be multiplied so that it is not too long.
    fn clipping(&self, share: f32) -> f32 {
        let Some(clip) = self.settings.clip else { return 1.0 };
        let squares = |range: &Range<usize>| {
            self.gradients[range.clone()].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>()
        };
        let norm = self.entries.iter().map(squares).sum::<f64>().sqrt() as f32 * share;
        let longest = clip * share.sqrt();
        if norm > longest { longest / norm } else { 1.0 }
    }

    /// Whether what is sent in a step is few enough to be worth its places: an all-gather brings
    /// each rank's message to all, an all-reduce costs no more than two copies.
    fn is_sparse(&self, sparsity: f64) -> bool {
        let world = self.collective.world() as f64;
        let few = (1.0 - sparsity) * self.settings.precision.bytes() as f64 * (world - 1.0);
        let all = 8.0 * (world - 1.0) / world;
        sparsity > 0.0 && few <= all
    }

    /// The largest of each entry.
    fn choose(&self, sparsity: f64) -> Entries {
        let mut chosen = Entries::default();
        for range in &self.entries {
            let held_back = (range.len() as f64 * sparsity + ROUNDING).floor() as usize;
            let keep = (range.len() - held_back.min(range.len())).max(1);
            let values = &self.residual[range.clone()];
            for place in threshold::largest(values, keep, self.steps) {
                chosen.places.push(range.start as u32 + place);
                chosen.values.push(values[place as usize]);
            }
        }
        chosen
    }

    /// Sends the largest, and moves by what all ranks sent. Gives the mean loss.
    fn move_by_few(
        &mut self,
        parameters: &mut [f32],
        sparsity: f64,
        loss: f32,
        rate: f32,
    ) -> Result<f32, TrainError> {
        let mut message = loss.to_ne_bytes().to_vec();
        message.extend(encode(&self.choose(sparsity), self.settings.precision));
        let mut losses = 0.0;
        for (rank, message) in self.collective.all_gather(&message)?.iter().enumerate() {
            let (loss, coded) = message.split_first_chunk().unwrap_or((&[0; 4], message));
            let sent = decode(coded, parameters.len()).map_err(|error| {
                TrainError::State(format!("what rank {rank} sent is broken: {error}"))
            })?;
            losses += f32::from_ne_bytes(*loss);
            for (place, value) in sent.places.iter().zip(&sent.values) {
                parameters[*place as usize] -= rate * value;
            }
            if rank == self.collective.rank() {
                self.release(&sent);
            }
        }
        Ok(losses / self.collective.world() as f32)
    }

    /// What was sent is not held back any more. What rounding kept of it is.
    fn release(&mut self, sent: &Entries) {
        for (place, value) in sent.places.iter().zip(&sent.values) {
            self.residual[*place as usize] -= value;
            if self.settings.factor_masking {
                self.velocity[*place as usize] = 0.0;
            }
        }
    }

    /// Moves by the sum of all that all ranks hold back. Gives the mean loss.
    fn move_by_all(
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

    /// Moves parameters by what needs no gradients: decay, and statistics, which ranks average.
    fn move_by_common(&mut self, parameters: &mut [f32], rate: f32) -> Result<(), TrainError> {
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
            self.move_by_common(parameters, rate)?;
        }
        let sparsity = self.settings.sparsity.at(self.steps);
        let loss = if self.is_sparse(sparsity) {
            self.move_by_few(parameters, sparsity, loss, rate)?
        } else {
            self.move_by_all(parameters, loss, rate)?
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
            .slice_of_each_rank("velocity", velocities)
            .slice_of_each_rank("residual", residuals);
        Ok(Some(state))
    }

    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.expect(NAME)?;
        let (rank, world) = (self.collective.rank(), self.collective.world());
        self.steps = state.counter("steps")?;
        state.copy_to("common", self.common.velocity_mut())?;
        state.copy_share_to("velocity", rank, world, &mut self.velocity)?;
        state.copy_share_to("residual", rank, world, &mut self.residual)
    }
}
