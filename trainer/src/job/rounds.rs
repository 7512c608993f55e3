//! One rank's part of a training that goes round by round: federated averaging.

use super::evaluate::evaluate_together;
use super::pulse::Pulse;
use super::rank::Progress;
use super::{Job, MakeFederated, Outcome, StepNews, at_step};
use crate::batch::Batch;
use crate::checkpoint::Measured;
use crate::collective::Collective;
use crate::data::{Dataset, Shift};
use crate::error::TrainError;
use crate::random::Random;
use crate::strategy::ClientData;
use std::sync::atomic::Ordering;

/// The rows of each client, out of data that all share.
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
    let mut progress = Progress::begin(job, collective.as_mut())?;
    let mut group = collective.duplicate()?;
    let mut learner = job.trainee.learner()?;
    let mut federated = make(learner.layout(), collective)?;
    if let Some(state) = progress.state.take() {
        federated.restore(&state)?;
    }
    let mut clients = Clients { data: &job.train, rows, shift: job.settings.shift };
    let mut pulse = Pulse::new();
    while progress.steps < job.settings.steps {
        let (round, rate) = (progress.steps, job.schedule.rate(progress.steps));
        let report =
            federated.round(learner.as_mut(), &mut progress.parameters, &mut clients, rate);
        let report = report.map_err(|error| at_step(error, round, round))?;
        progress.steps += 1;
        progress.position.epoch = progress.steps;
        progress.bytes_sent += report.upload_bytes;
        if group.rank() == 0 {
            let learned: usize = report.clients.iter().map(|client| rows[*client].len()).sum();
            let (steps, bytes_sent) = (progress.steps, progress.bytes_sent);
            let (epoch, loss) = (round, report.loss);
            let news = StepNews { steps, epoch, loss, rate, bytes_sent, rows: learned };
            job.watcher.step(&news)?;
        }
        let accuracy =
            measure(job, learner.as_mut(), group.as_mut(), &mut progress, rate, report.loss)?;
        let is_last = progress.steps == job.settings.steps;
        let wanted = job.stop.load(Ordering::Relaxed);
        let stop = pulse.beat(group.as_mut(), wanted)? && !is_last;
        if job.store.is_some() {
            progress.save(job, (group.rank() == 0).then(|| federated.state()))?;
        }
        let enough =
            job.settings.enough.zip(accuracy).is_some_and(|(wanted, found)| found >= wanted);
        if stop || enough {
            return Ok(progress.outcome(stop));
        }
    }
    Ok(progress.outcome(false))
}

/// Measures what was learned so far; all ranks together. Gives the accuracy.
fn measure(
    job: &Job<'_>,
    learner: &mut dyn crate::learner::Learner,
    group: &mut dyn Collective,
    progress: &mut Progress,
    rate: f32,
    train_loss: f32,
) -> Result<Option<f32>, TrainError> {
    let probabilities = job.trainee.gives_probabilities();
    let found = evaluate_together(learner, &progress.parameters, &job.test, probabilities, group);
    let found = found.map_err(|error| at_step(error, progress.steps, progress.steps))?;
    let measured = Measured {
        epoch: progress.steps,
        steps: progress.steps,
        rate,
        train_loss,
        test_loss: found.loss,
        accuracy: found.accuracy,
        bytes_sent: progress.bytes_sent,
    };
    progress.history.push(measured);
    if group.rank() == 0 {
        job.watcher.measured(&measured)?;
    }
    Ok(found.accuracy)
}
