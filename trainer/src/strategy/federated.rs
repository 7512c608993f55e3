//! Federated averaging: clients that keep their data learn alone, and send parameters.

use crate::batch::Batch;
use crate::collective::Collective;
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings};
use crate::strategy::State;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;

const NAME: &str = "federated";

/// What clients have. Every rank can reach every client's.
pub trait ClientData {
    /// How many clients there are.
    fn clients(&self) -> usize;

    /// How many examples a client has.
    fn rows(&self, client: usize) -> usize;

    /// All examples of a client once, in batches of so many rows; in one batch where `batch` is
    /// `None`. The order follows from the seed alone.
    ///
    /// # Errors
    /// When the data can not be read.
    fn epoch(
        &mut self,
        client: usize,
        batch: Option<usize>,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch, TrainError>> + '_>, TrainError>;
}

/// How clients learn; the letters are the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FederatedSettings {
    /// Which part of the clients takes part in a round (C); at least one does.
    pub fraction: f64,
    /// How often a client goes through its data in a round (E).
    pub epochs: usize,
    /// Rows of a client's batches (B); `None` for all of them in one, the paper's infinity.
    pub batch: Option<usize>,
    /// Momentum and decay within a client's round; the paper has neither.
    pub sgd: SgdSettings,
    /// What all sampling and shuffling follows from.
    pub seed: u64,
}

/// What a round did.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundReport {
    /// The mean loss that the clients saw while they learned, by their rows.
    pub loss: f32,
    /// Who took part, in order.
    pub clients: Vec<usize>,
    /// What this rank sent to others.
    pub bytes_sent: u64,
    /// What all clients would have sent: the parameters once each.
    pub upload_bytes: u64,
}

/// Federated averaging (McMahan et al. 2017, algorithm 1). Ranks share the work of the clients of
/// a round; which clients those are, and what they do, does not depend on the number of ranks.
pub struct FederatedAveraging {
    settings: FederatedSettings,
    layout: Layout,
    collective: Box<dyn Collective>,
    rounds: u64,
}

/// One client's part of a round.
#[derive(Clone, Copy)]
struct Visit {
    client: usize,
    /// Its rows, of all rows of the round.
    weight: f32,
    rate: f32,
}

/// What a rank's clients add to the next parameters.
struct Sum {
    /// The change of each parameter, then the loss; by the weight of each client.
    weighted: Vec<f32>,
    local: Vec<f32>,
    gradients: Vec<f32>,
}

impl Sum {
    fn new(len: usize) -> Self {
        Self { weighted: vec![0.0; len + 1], local: vec![0.0; len], gradients: vec![0.0; len] }
    }
}

impl FederatedAveraging {
    /// No round has been yet.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: FederatedSettings,
    ) -> Self {
        Self { settings, layout: layout.clone(), collective, rounds: 0 }
    }

    /// One round: some clients start from the parameters, and all go on from the mean of where
    /// they come to, weighted by their rows.
    ///
    /// # Errors
    /// When there is no client with data, data can not be read or does not fit the model, the loss
    /// is not finite, or a rank is late or gone.
    pub fn round(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        data: &mut dyn ClientData,
        rate: f32,
    ) -> Result<RoundReport, TrainError> {
        let before = self.collective.bytes_sent();
        let clients = self.sampled(data.clients());
        let total: usize = clients.iter().map(|client| data.rows(*client)).sum();
        if total == 0 {
            let problem = format!("the {} clients of the round have no examples", clients.len());
            return Err(TrainError::Data(problem));
        }
        let mut sum = Sum::new(self.layout.len());
        let (rank, world) = (self.collective.rank(), self.collective.world());
        for client in clients.iter().skip(rank).step_by(world) {
            let weight = (data.rows(*client) as f64 / total as f64) as f32;
            if weight > 0.0 {
                let visit = Visit { client: *client, weight, rate };
                self.learn(learner, parameters, data, visit, &mut sum)?;
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

    /// The clients of the coming round, in order; the same on all ranks.
    fn sampled(&self, clients: usize) -> Vec<usize> {
        let count = (self.settings.fraction * clients as f64).round() as usize;
        let count = count.max(1).min(clients);
        let mut random = StdRng::seed_from_u64(self.seed(0));
        let mut sampled = sample(&mut random, clients, count).into_vec();
        sampled.sort_unstable();
        sampled
    }

    /// Lets a client learn from its data, and adds what it has become (`ClientUpdate`).
    fn learn(
        &self,
        learner: &mut dyn Learner,
        parameters: &[f32],
        data: &mut dyn ClientData,
        visit: Visit,
        sum: &mut Sum,
    ) -> Result<(), TrainError> {
        let Sum { weighted, local, gradients } = sum;
        local.copy_from_slice(parameters);
        let mut sgd = Sgd::new(&self.layout, self.settings.sgd);
        let (mut losses, mut rows) = (0.0, 0);
        for epoch in 0..self.settings.epochs {
            let usage = 1 + (visit.client * self.settings.epochs + epoch) as u64;
            for batch in data.epoch(visit.client, self.settings.batch, self.seed(usage))? {
                let batch = batch?;
                losses +=
                    f64::from(learner.gradients(local, &batch, gradients)?) * batch.rows() as f64;
                rows += batch.rows();
                sgd.step(local, gradients, visit.rate);
            }
        }
        let changes = local.iter().zip(parameters).map(|(after, before)| after - before);
        let loss = (losses / rows.max(1) as f64) as f32;
        for (sum, value) in weighted.iter_mut().zip(changes.chain([loss])) {
            *sum += visit.weight * value;
        }
        Ok(())
    }

    /// What one use of random numbers in this round starts from.
    fn seed(&self, usage: u64) -> u64 {
        mixed(mixed(mixed(self.settings.seed) ^ self.rounds) ^ usage)
    }

    /// What must be remembered to go on later: how many rounds there were.
    pub fn state(&self) -> State {
        State::new(NAME, self.collective.world()).count("rounds", self.rounds)
    }

    /// Goes on from a state, with any number of ranks.
    ///
    /// # Errors
    /// When it is another strategy's.
    pub fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.expect(NAME)?;
        self.rounds = state.counter("rounds")?;
        Ok(())
    }
}

/// Makes neighbouring numbers unlike (the finalizer of SplitMix64; Steele et al. 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
