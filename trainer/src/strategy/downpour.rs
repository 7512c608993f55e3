//! Downpour SGD: workers give gradients to a parameter server, and fetch parameters from it.

mod messages;
mod server;

use crate::batch::Batch;
use crate::collective::{Collective, CollectiveError, Outbox, part};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::Adagrad;
use crate::strategy::state::gather;
use crate::strategy::{State, StepReport, Strategy};
use messages::{Reply, Request};
use server::Server;
use std::thread::JoinHandle;

const NAME: &str = "downpour";

/// How far workers may be apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Not at all: the server waits for the gradients of all, and takes one step by their mean.
    Synchronous,
    /// No worker is more than so many steps ahead of the slowest (Ho et al. 2013, "stale
    /// synchronous parallel"). The server takes a step by each gradient.
    Bounded(u64),
    /// Workers never wait for each other.
    Asynchronous,
}

/// How the server learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DownpourSettings {
    /// How far workers may be apart.
    pub staleness: Staleness,
    /// Added to the roots that Adagrad divides by.
    pub epsilon: f32,
}

/// Downpour SGD (Dean et al. 2012, section 4.1), with a push and a fetch in every step.
///
/// Each rank is a worker, and serves one part of the parameters to all ranks from a thread of its
/// own, with Adagrad there. Decay and momentum there are none.
pub struct Downpour {
    settings: DownpourSettings,
    layout: Layout,
    /// For replies, and for what all ranks do together.
    collective: Box<dyn Collective>,
    to_servers: Box<dyn Outbox>,
    server: Part,
    gradients: Vec<f32>,
    /// Pushes so far.
    clock: u64,
    failed: bool,
}

/// The part of the server that is on this rank.
enum Part {
    /// Parameters are still to come; the squares of its Adagrad may be there.
    Idle { requests: Box<dyn Collective>, squares: Option<Vec<f32>> },
    /// It serves.
    Running(JoinHandle<()>),
    /// It can not.
    Stopped,
}

impl Downpour {
    /// The server starts with the parameters of the first step. All ranks call it.
    ///
    /// # Errors
    /// When a rank is late or gone.
    pub fn new(
        layout: &Layout,
        mut collective: Box<dyn Collective>,
        settings: DownpourSettings,
    ) -> Result<Self, TrainError> {
        let requests = collective.duplicate()?;
        Ok(Self {
            settings,
            layout: layout.clone(),
            to_servers: requests.outbox(),
            collective,
            server: Part::Idle { requests, squares: None },
            gradients: vec![0.0; layout.len()],
            clock: 0,
            failed: false,
        })
    }

    /// Starts this rank's part of the server, if it does not run.
    fn start(&mut self, parameters: &[f32]) -> Result<(), TrainError> {
        match std::mem::replace(&mut self.server, Part::Stopped) {
            Part::Idle { requests, squares } => {
                let rank = self.collective.rank();
                let range = part(self.layout.len(), rank, self.collective.world());
                let mut adagrad = Adagrad::new(&self.layout, range.clone(), self.settings.epsilon);
                if let Some(squares) = squares {
                    adagrad.squares_mut().copy_from_slice(&squares[range.clone()]);
                }
                let shard = parameters[range].to_vec();
                let replies = self.collective.outbox();
                let server =
                    Server::new(requests, replies, shard, adagrad, self.settings.staleness);
                let thread = std::thread::Builder::new().name("parameter-server".to_owned());
                let thread = thread.spawn(move || server.serve()).map_err(TrainError::Thread)?;
                self.server = Part::Running(thread);
            }
            other => self.server = other,
        }
        Ok(())
    }

    fn push(&mut self, rate: f32, rows: usize) -> Result<(), CollectiveError> {
        self.clock += 1;
        let world = self.collective.world();
        for rank in 0..world {
            let gradients = &self.gradients[part(self.gradients.len(), rank, world)];
            let request = Request::Push { rate, rows: rows as f32, gradients: gradients.to_vec() };
            self.to_servers.send(rank, &request.encode())?;
        }
        Ok(())
    }

    /// Takes parameters that lack no more than is allowed of `clock` pushes of each worker.
    fn fetch(&mut self, parameters: &mut [f32], clock: u64) -> Result<(), CollectiveError> {
        let world = self.collective.world();
        for rank in 0..world {
            self.to_servers.send(rank, &Request::Fetch { clock }.encode())?;
        }
        for rank in 0..world {
            let shard = &mut parameters[part(self.layout.len(), rank, world)];
            let values = self.reply(rank, clock)?;
            if values.len() != shard.len() {
                return Err(self.refused(rank));
            }
            shard.copy_from_slice(&values);
        }
        Ok(())
    }

    /// The reply of a server. When it does not come in time, the server is asked for whom it
    /// waits.
    fn reply(&mut self, rank: usize, clock: u64) -> Result<Vec<f32>, CollectiveError> {
        let late = match self.collective.receive(rank) {
            Ok(bytes) => return self.values(rank, &bytes),
            Err(CollectiveError::Late { rank, operation, number, waited_ms, missing }) => {
                move |known: Option<Vec<usize>>| CollectiveError::Late {
                    rank,
                    operation,
                    number,
                    waited_ms,
                    missing: known.unwrap_or(missing),
                }
            }
            Err(error) => return Err(error),
        };
        self.to_servers.send(rank, &Request::Missing { clock }.encode())?;
        let Ok(bytes) = self.collective.receive(rank) else { return Err(late(None)) };
        match Reply::decode(&bytes) {
            Some(Reply::Missing(missing)) if !missing.is_empty() => Err(late(Some(missing))),
            Some(Reply::Missing(_)) => Err(late(None)),
            _ => {
                // It came at the last moment; what was asked is still to be answered.
                self.collective.receive(rank)?;
                self.values(rank, &bytes)
            }
        }
    }

    fn values(&self, from: usize, bytes: &[u8]) -> Result<Vec<f32>, CollectiveError> {
        match Reply::decode(bytes) {
            Some(Reply::Values(values)) => Ok(values),
            Some(Reply::Ended(missing)) => Err(CollectiveError::Gone {
                rank: self.collective.rank(),
                operation: "fetch",
                number: self.clock,
                missing,
            }),
            _ => Err(self.refused(from)),
        }
    }

    fn refused(&self, from: usize) -> CollectiveError {
        let problem = format!("the server on rank {from} has other parameters than this one");
        CollectiveError::Mismatch { rank: self.collective.rank(), problem }
    }

    /// Waits until all ranks are here.
    fn meet(&mut self) -> Result<(), CollectiveError> {
        self.collective.all_gather(&[]).map(|_| ())
    }

    fn stepped(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<f32, TrainError> {
        self.start(parameters)?;
        let loss = learner.gradients(parameters, batch, &mut self.gradients)?;
        self.push(rate, batch.rows())?;
        self.fetch(parameters, self.clock)?;
        Ok(loss)
    }

    /// The squares of all of the server's parts, on rank 0.
    fn saved(&mut self) -> Result<Option<Vec<f32>>, CollectiveError> {
        let rank = self.collective.rank();
        self.to_servers.send(rank, &Request::Save.encode())?;
        let squares = self.reply(rank, 0)?;
        // Nobody goes on before all have theirs.
        self.meet()?;
        Ok(gather(self.collective.as_mut(), &squares)?.map(|parts| parts.concat()))
    }
}

impl Strategy for Downpour {
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let before = self.collective.bytes_sent() + self.to_servers.bytes_sent();
        let loss = self.stepped(learner, parameters, batch, rate);
        self.failed |= loss.is_err();
        let after = self.collective.bytes_sent() + self.to_servers.bytes_sent();
        Ok(StepReport { loss: loss?, bytes_sent: after - before })
    }

    fn abandon(&mut self) {
        self.failed = true;
    }

    fn agree(&mut self, parameters: &mut [f32]) -> Result<(), TrainError> {
        if !matches!(self.server, Part::Running(_)) {
            return Ok(());
        }
        // A server that has answered has this rank's pushes; after a meeting, those of all.
        let mut agree = || {
            self.fetch(parameters, 0)?;
            self.meet()?;
            self.fetch(parameters, 0)?;
            self.meet()
        };
        let agreed = agree();
        self.failed |= agreed.is_err();
        Ok(agreed?)
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let squares = match &mut self.server {
            Part::Idle { squares, .. } => {
                let squares = squares.clone().unwrap_or_else(|| vec![0.0; self.layout.len()]);
                (self.collective.rank() == 0).then_some(squares)
            }
            _ => {
                let saved = self.saved();
                self.failed |= saved.is_err();
                saved?
            }
        };
        let world = self.collective.world();
        Ok(squares.map(|squares| State::new(NAME, world).slice("squares", squares)))
    }

    /// Before the first step only.
    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.expect(NAME)?;
        let Part::Idle { squares, .. } = &mut self.server else {
            return Err(TrainError::State("the parameter server already runs".to_owned()));
        };
        let mut all = vec![0.0; self.layout.len()];
        state.copy_to("squares", &mut all)?;
        *squares = Some(all);
        Ok(())
    }
}

impl Drop for Downpour {
    /// This rank's part of the server serves on until all workers have stopped. Where this one
    /// has failed there is no sense in that.
    fn drop(&mut self) {
        let Part::Running(thread) = std::mem::replace(&mut self.server, Part::Stopped) else {
            return;
        };
        if self.failed || std::thread::panicking() {
            drop(self.to_servers.send(self.collective.rank(), &Request::Abandon.encode()));
        } else {
            for rank in 0..self.collective.world() {
                drop(self.to_servers.send(rank, &Request::Stop.encode()));
            }
        }
        drop(thread.join());
    }
}
