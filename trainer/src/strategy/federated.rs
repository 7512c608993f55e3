//! Federated averaging: clients train on their own data, and send parameters.

use crate::batch::Batch;
use crate::collective::Collective;
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings};
use crate::random::mixed_seed;
use crate::strategy::State;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;

const NAME: &str = "federated";

/// Data of the clients. Every rank can read the data of every client.
pub trait ClientData {
    /// Number of clients.
    fn clients(&self) -> usize;

    /// Rows of a client.
    fn rows(&self, client: usize) -> usize;

    /// Iterates over all rows of a client once, in batches of `batch` rows, or in one batch if that
    /// is `None`. The order depends on the seed only.
    ///
    /// # Errors
    /// Fails when the data cannot be read.
    /// When the data can not be read.
    fn epoch(
        &mut self,
        client: usize,
        batch: Option<usize>,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch, TrainError>> + '_>, TrainError>;
}

/// Settings of federated averaging; letters are those of the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FederatedSettings {
    /// Fraction of the clients in a round (C); at least one takes part.
    pub fraction: f64,
    /// Passes of a client over its data in a round (E).
    pub epochs: usize,
    /// Rows of a client's batch (B); `None` for all rows in one, the paper's infinity.
    pub batch: Option<usize>,
    /// Momentum and decay within a client's round; the paper uses neither.
    pub sgd: SgdSettings,
    /// Seed of sampling and shuffling.
    pub seed: u64,
}

/// Result of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundReport {
    /// Mean training loss of the clients, weighted by rows.
    pub loss: f32,
    /// Clients of the round, in ascending order.
    pub clients: Vec<usize>,
    /// Bytes sent to other ranks.
    pub bytes_sent: u64,
    /// Bytes that all clients would have sent: the parameters once each.
    pub upload_bytes: u64,
}

/// Federated averaging (McMahan et al. 2017, algorithm 1). Ranks share the clients of a round.
/// Selection and training of the clients do not depend on the number of ranks.
pub struct FederatedAveraging {
    settings: FederatedSettings,
    layout: Layout,
    collective: Box<dyn Collective>,
    rounds: u64,
}

/// A client in a round.
#[derive(Clone, Copy)]
struct ClientTask {
    client: usize,
    /// Share of its rows in those of the round.
    weight: f32,
    rate: f32,
}

/// Sum over the clients of a rank.
struct RoundSum {
    /// Change of each parameter, then the loss, both weighted by client.
    weighted: Vec<f32>,
    local: Vec<f32>,
    gradients: Vec<f32>,
}

impl RoundSum {
    fn new(len: usize) -> Self {
        Self { weighted: vec![0.0; len + 1], local: vec![0.0; len], gradients: vec![0.0; len] }
    }
}

impl FederatedAveraging {
    /// Starts before the first round.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: FederatedSettings,
    ) -> Self {
        Self { settings, layout: layout.clone(), collective, rounds: 0 }
    }

    /// Runs one round. Clients start from the parameters, which then become the mean of the
    /// clients' results, weighted by rows.
    ///
    /// # Errors
    /// Fails when no client of the round has data, or data cannot be read or does not fit the
    /// model. Fails when the loss is not finite, or a rank is late or gone.
    pub fn round(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        data: &mut dyn ClientData,
        rate: f32,
    ) -> Result<RoundReport, TrainError> {
        let before = self.collective.bytes_sent();
        let clients = self.sample_clients(data.clients());
        let total: usize = clients.iter().map(|client| data.rows(*client)).sum();
        if total == 0 {
            let problem = format!("the {} clients of the round have no examples", clients.len());
            return Err(TrainError::Data(problem));
        }
        let mut sum = RoundSum::new(self.layout.len());
        let (rank, world) = (self.collective.rank(), self.collective.world());
        for client in clients.iter().skip(rank).step_by(world) {
            let weight = (data.rows(*client) as f64 / total as f64) as f32;
            if weight > 0.0 {
                let task = ClientTask { client: *client, weight, rate };
                self.train_client(learner, parameters, data, task, &mut sum)?;
            }
        }
        self.collective.all_reduce(&mut sum.weighted)?;
        parameters.iter_mut().zip(&sum.weighted).for_each(|(p, change)| *p += change);
        self.rounds += 1;
        Ok(RoundReport {
            loss: sum.weighted.last().copied().unwrap_or(0.0),
            bytes_sent: self.collective.bytes_sent() - before,
            upload_bytes: 4 * (parameters.len() * clients.len()) as u64,
            clients,
        })
    }

    /// Clients of the coming round in ascending order; the same on all ranks.
    fn sample_clients(&self, clients: usize) -> Vec<usize> {
        let count = (self.settings.fraction * clients as f64).round() as usize;
        let count = count.max(1).min(clients);
        let mut random = StdRng::seed_from_u64(self.seed(0));
        let mut sampled = sample(&mut random, clients, count).into_vec();
        sampled.sort_unstable();
        sampled
    }

    /// Trains a client on its data, and adds the result to the sum (`ClientUpdate`).
    fn train_client(
        &self,
        learner: &mut dyn Learner,
        parameters: &[f32],
        data: &mut dyn ClientData,
        task: ClientTask,
        sum: &mut RoundSum,
    ) -> Result<(), TrainError> {
        let RoundSum { weighted, local, gradients } = sum;
        local.copy_from_slice(parameters);
        let mut sgd = Sgd::new(&self.layout, self.settings.sgd);
        let (mut losses, mut rows) = (0.0, 0);
        for epoch in 0..self.settings.epochs {
            let usage = 1 + (task.client * self.settings.epochs + epoch) as u64;
            for batch in data.epoch(task.client, self.settings.batch, self.seed(usage))? {
                let batch = batch?;
                losses +=
                    f64::from(learner.gradients(local, &batch, gradients)?) * batch.rows() as f64;
                rows += batch.rows();
                sgd.step(local, gradients, task.rate);
            }
        }
        let changes = local.iter().zip(parameters).map(|(after, before)| after - before);
        let loss = (losses / rows.max(1) as f64) as f32;
        for (sum, value) in weighted.iter_mut().zip(changes.chain([loss])) {
            *sum += task.weight * value;
        }
        Ok(())
    }

    /// Seed of one use of random numbers in this round.
    fn seed(&self, usage: u64) -> u64 {
        mixed_seed(&[self.settings.seed, self.rounds, usage])
    }

    /// The state for a checkpoint: the number of rounds.
    pub fn state(&self) -> State {
        State::new(NAME, self.collective.world()).count("rounds", self.rounds)
    }

    /// Restores a state; the number of ranks may differ.
    ///
    /// # Errors
    /// Fails when the state belongs to another strategy.
    pub fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.check_strategy(NAME)?;
        self.rounds = state.counter("rounds")?;
        Ok(())
    }
}
