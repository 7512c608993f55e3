//! The part of a rank in a training run by rounds: federated averaging.

use super::progress::{FinishedStep, Progress};
use super::stop_consensus::StopConsensus;
use super::{Job, MakeFederated, Outcome, at_step};
use crate::batch::Batch;
use crate::collective::Collective;
use crate::data::{Dataset, Shift};
use crate::error::TrainError;
use crate::random::Random;
use crate::strategy::ClientData;
use std::sync::atomic::Ordering;

/// Row indices of each client in a shared dataset.
struct Clients<'a> {
    data: &'a Dataset,
    rows: &'a [Vec<u32>],
    shift: Option<Shift>,
}

impl ClientData for Clients<'_> {
    fn clients(&self) -> usize {
        self.rows.len()
    }

    fn rows(&self, client: usize) -> usize {
        self.rows.get(client).map_or(0, Vec::len)
    }

    fn epoch(
        &mut self,
        client: usize,
        batch: Option<usize>,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch, TrainError>> + '_>, TrainError> {
        let mut rows = self.rows.get(client).cloned().unwrap_or_default();
        Random::of(&[seed]).shuffle(&mut rows);
        let size = batch.unwrap_or(rows.len()).max(1);
        let (data, shift) = (self.data, self.shift);
        let batches = (0..rows.len()).step_by(size).map(move |start| {
            let rows = &rows[start..(start + size).min(rows.len())];
            let mut batch = data.batch(rows);
            if let Some(shift) = shift {
                shift.apply(&mut batch.input, rows, &[seed]);
            }
            Ok(batch)
        });
        Ok(Box::new(batches))
    }
}

pub(super) fn run(
    job: &Job<'_>,
    make: &MakeFederated<'_>,
    rows: &[Vec<u32>],
    mut collective: Box<dyn Collective>,
) -> Result<Outcome, TrainError> {
    let mut progress = Progress::start(job, collective.as_mut())?;
    let mut group = collective.duplicate()?;
    let mut learner = job.task.learner()?;
    let mut federated = make(learner.layout(), collective)?;
    if let Some(state) = progress.state.take() {
        federated.restore(&state)?;
    }
    let mut clients = Clients { data: &job.train, rows, shift: job.settings.shift };
    let mut consensus = StopConsensus::new();
    while progress.steps < job.settings.steps {
        let (round, rate) = (progress.steps, job.schedule.rate(progress.steps));
        let report =
            federated.round(learner.as_mut(), &mut progress.parameters, &mut clients, rate);
        let report = report.map_err(|error| at_step(error, round, round))?;
        let trained_rows = report.clients.iter().map(|client| rows[*client].len()).sum();
        let (loss, bytes_sent) = (report.loss, report.upload_bytes);
        let step = FinishedStep { epoch: round, loss, rate, bytes_sent, rows: trained_rows };
        progress.finish_step(job, group.rank(), &step)?;
        progress.position.epoch = progress.steps;
        let numbers = (progress.steps, rate, loss);
        let accuracy = progress.measure(job, learner.as_mut(), group.as_mut(), numbers)?;
        let is_last = progress.steps == job.settings.steps;
        let wanted = job.stop.load(Ordering::Relaxed);
        let stop = consensus.vote(group.as_mut(), wanted)? && !is_last;
        if job.store.is_some() {
            progress.save(job, (group.rank() == 0).then(|| federated.state()))?;
        }
        if stop || job.settings.is_target_reached(accuracy) {
            return Ok(progress.outcome(stop));
        }
    }
    Ok(progress.outcome(false))
}
