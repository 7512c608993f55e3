//! Downpour SGD: workers push gradients to a parameter server, and fetch parameters from it.

mod messages;
mod server;

use crate::batch::Batch;
use crate::collective::{Collective, CollectiveError, MessageSender, part};
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

/// Bound on how far workers may drift apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// No drift: the server waits for the gradients of all, and takes one step by their mean.
    Synchronous,
    /// Largest number of steps a worker may be ahead of the slowest (Ho et al. 2013, "stale
    /// synchronous parallel"). The server takes a step by each gradient.
    Bounded(u64),
    /// No bound: workers never wait for each other.
    Asynchronous,
}

/// Settings of the parameter server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DownpourSettings {
    /// Bound on how far workers may drift apart.
    pub staleness: Staleness,
    /// Constant added to the roots that Adagrad divides by.
    pub epsilon: f32,
}

/// Downpour SGD (Dean et al. 2012, section 4.1), with a push and a fetch in every step.
///
/// Each rank is a worker, and also serves one part of the parameters to all ranks from a thread of
/// its own. The server uses Adagrad, without decay or momentum.
pub struct Downpour {
    settings: DownpourSettings,
    layout: Layout,
    /// Connection for replies and collective operations.
    collective: Box<dyn Collective>,
    to_servers: Box<dyn MessageSender>,
    server: ServerState,
    gradients: Vec<f32>,
    /// Number of pushes so far.
    clock: u64,
    failed: bool,
}

/// State of the server on this rank.
enum ServerState {
    /// Waits for the parameters of the first step; holds the squares of Adagrad, if restored.
    Idle { requests: Box<dyn Collective>, squares: Option<Vec<f32>> },
    /// Serves requests on a thread.
    Running(JoinHandle<()>),
    /// Failed or stopped.
    Stopped,
}

impl Downpour {
    /// Prepares the server, which starts with the parameters of the first step. All ranks call it.
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    pub fn new(
        layout: &Layout,
        mut collective: Box<dyn Collective>,
        settings: DownpourSettings,
    ) -> Result<Self, TrainError> {
        let requests = collective.duplicate()?;
        Ok(Self {
            settings,
            layout: layout.clone(),
            to_servers: requests.sender(),
            collective,
            server: ServerState::Idle { requests, squares: None },
            gradients: vec![0.0; layout.len()],
            clock: 0,
            failed: false,
        })
    }

    /// Starts the server on this rank, if it is not running.
    fn start(&mut self, parameters: &[f32]) -> Result<(), TrainError> {
        match std::mem::replace(&mut self.server, ServerState::Stopped) {
            ServerState::Idle { requests, squares } => {
                let rank = self.collective.rank();
                let range = part(self.layout.len(), rank, self.collective.world());
                let mut adagrad = Adagrad::new(&self.layout, range.clone(), self.settings.epsilon);
                if let Some(squares) = squares {
                    adagrad.squares_mut().copy_from_slice(&squares[range.clone()]);
                }
                let shard = parameters[range].to_vec();
                let replies = self.collective.sender();
                let server =
                    Server::new(requests, replies, shard, adagrad, self.settings.staleness);
                let thread = std::thread::Builder::new().name("parameter-server".to_owned());
                let thread = thread.spawn(move || server.serve()).map_err(TrainError::Thread)?;
                self.server = ServerState::Running(thread);
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

    /// Fetches parameters that include `clock` pushes of each worker, less the allowed staleness.
    fn fetch(&mut self, parameters: &mut [f32], clock: u64) -> Result<(), CollectiveError> {
        let world = self.collective.world();
        for rank in 0..world {
            self.to_servers.send(rank, &Request::Fetch { clock }.encode())?;
        }
        for rank in 0..world {
            let shard = &mut parameters[part(self.layout.len(), rank, world)];
            let values = self.reply(rank, clock)?;
            if values.len() != shard.len() {
                return Err(self.mismatch(rank));
            }
            shard.copy_from_slice(&values);
        }
        Ok(())
    }

    /// Receives the reply of a server. On a timeout it asks the server for the missing workers.
    fn reply(&mut self, rank: usize, clock: u64) -> Result<Vec<f32>, CollectiveError> {
        let late = match self.collective.receive(rank) {
            Ok(bytes) => return self.values(rank, &bytes),
            Err(CollectiveError::Timeout { rank, operation, number, waited_ms, missing }) => {
                move |known: Option<Vec<usize>>| CollectiveError::Timeout {
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
                // The reply arrived at the last moment; the answer to the question is still due.
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
            _ => Err(self.mismatch(from)),
        }
    }

    fn mismatch(&self, from: usize) -> CollectiveError {
        let problem = format!("the server on rank {from} has a different number of parameters");
        CollectiveError::Mismatch { rank: self.collective.rank(), problem }
    }

    /// Waits until all ranks have arrived.
    fn barrier(&mut self) -> Result<(), CollectiveError> {
        self.collective.all_gather(&[]).map(|_| ())
    }

    fn try_step(
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

    /// Gathers the squares of all servers on rank 0.
    fn gather_squares(&mut self) -> Result<Option<Vec<f32>>, CollectiveError> {
        let rank = self.collective.rank();
        self.to_servers.send(rank, &Request::Save.encode())?;
        let squares = self.reply(rank, 0)?;
        // Ranks continue only after all have their squares.
        self.barrier()?;
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
        let loss = self.try_step(learner, parameters, batch, rate);
        self.failed |= loss.is_err();
        let after = self.collective.bytes_sent() + self.to_servers.bytes_sent();
        Ok(StepReport { loss: loss?, bytes_sent: after - before })
    }

    fn abort(&mut self) {
        self.failed = true;
    }

    fn synchronize(&mut self, parameters: &mut [f32]) -> Result<(), TrainError> {
        if !matches!(self.server, ServerState::Running(_)) {
            return Ok(());
        }
        // A server that replied has this rank's pushes; after a barrier, those of all.
        let mut synchronize = || {
            self.fetch(parameters, 0)?;
            self.barrier()?;
            self.fetch(parameters, 0)?;
            self.barrier()
        };
        let result = synchronize();
        self.failed |= result.is_err();
        Ok(result?)
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let squares = match &mut self.server {
            ServerState::Idle { squares, .. } => {
                let squares = squares.clone().unwrap_or_else(|| vec![0.0; self.layout.len()]);
                (self.collective.rank() == 0).then_some(squares)
            }
            _ => {
                let saved = self.gather_squares();
                self.failed |= saved.is_err();
                saved?
            }
        };
        let world = self.collective.world();
        Ok(squares.map(|squares| State::new(NAME, world).slice("squares", squares)))
    }

    /// Restores a state; possible only before the first step.
    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.check_strategy(NAME)?;
        let ServerState::Idle { squares, .. } = &mut self.server else {
            return Err(TrainError::State("the parameter server already runs".to_owned()));
        };
        let mut all = vec![0.0; self.layout.len()];
        state.copy_to("squares", &mut all)?;
        *squares = Some(all);
        Ok(())
    }
}

impl Drop for Downpour {
    /// Waits until all workers have stopped, as this rank's server is needed until then. After a
    /// failure the server is aborted instead.
    fn drop(&mut self) {
        let ServerState::Running(thread) =
            std::mem::replace(&mut self.server, ServerState::Stopped)
        else {
            return;
        };
        if self.failed || std::thread::panicking() {
            drop(self.to_servers.send(self.collective.rank(), &Request::Abort.encode()));
        } else {
            for rank in 0..self.collective.world() {
                drop(self.to_servers.send(rank, &Request::Stop.encode()));
            }
        }
        drop(thread.join());
    }
}
