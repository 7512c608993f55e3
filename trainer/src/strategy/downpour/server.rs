//! The server of one part of the parameters.

use super::Staleness;
use super::messages::{Reply, Request};
use crate::collective::{Collective, CollectiveError, MessageSender};
use crate::optimizer::Adagrad;
use std::collections::VecDeque;

/// Serves one part of the parameters to all workers.
pub(super) struct Server {
    rank: usize,
    requests: Box<dyn Collective>,
    replies: Box<dyn MessageSender>,
    parameters: Vec<f32>,
    adagrad: Adagrad,
    staleness: Staleness,
    workers: Vec<Worker>,
}

/// State of a worker at the server.
#[derive(Debug, Default)]
struct Worker {
    /// Number of applied pushes.
    clock: u64,
    /// Pushes that wait for those of other workers.
    pushes: VecDeque<Push>,
    /// Clock of the waiting fetch.
    fetch: Option<u64>,
    stopped: bool,
}

#[derive(Debug)]
struct Push {
    rate: f32,
    rows: f32,
    gradients: Vec<f32>,
}

/// Result of handling a request.
enum Next {
    Continue,
    Stop,
}

impl Server {
    pub(super) fn new(
        requests: Box<dyn Collective>,
        replies: Box<dyn MessageSender>,
        parameters: Vec<f32>,
        adagrad: Adagrad,
        staleness: Staleness,
    ) -> Self {
        let workers = (0..requests.world()).map(|_| Worker::default()).collect();
        let rank = requests.rank();
        Self { rank, requests, replies, parameters, adagrad, staleness, workers }
    }

    /// Serves until all workers have stopped, or the group is broken, which workers notice
    /// themselves.
    pub(super) fn serve(mut self) {
        loop {
            let next = match self.requests.receive_any() {
                Ok((from, message)) => self.handle(from, Request::decode(&message)),
                // Workers may compute or evaluate for any length of time.
                Err(CollectiveError::Timeout { .. }) if !self.workers[self.rank].stopped => {
                    Ok(Next::Continue)
                }
                Err(error) => Err(error),
            };
            if !matches!(next, Ok(Next::Continue)) {
                return;
            }
        }
    }

    fn handle(&mut self, from: usize, request: Option<Request>) -> Result<Next, CollectiveError> {
        match request {
            Some(Request::Push { rate, rows, gradients })
                if gradients.len() == self.parameters.len() =>
            {
                self.workers[from].pushes.push_back(Push { rate, rows, gradients });
                self.apply_pushes();
            }
            Some(Request::Fetch { clock }) => self.workers[from].fetch = Some(clock),
            Some(Request::Missing { clock }) => {
                let missing = self.behind(clock).map(|(rank, _)| rank).collect();
                self.reply(from, &Reply::Missing(missing))?;
            }
            Some(Request::Save) => {
                self.reply(from, &Reply::Values(self.adagrad.squares().to_vec()))?;
            }
            Some(Request::Stop) => self.workers[from].stopped = true,
            Some(Request::Abort) => return Ok(Next::Stop),
            Some(Request::Push { .. }) | None => self.reply(from, &Reply::Invalid)?,
        }
        self.reply_to_fetches()?;
        let all = self.workers.iter().all(|worker| worker.stopped);
        Ok(if all { Next::Stop } else { Next::Continue })
    }

    /// Applies the pushed gradients: the mean of all workers, or each by itself.
    fn apply_pushes(&mut self) {
        if self.staleness == Staleness::Synchronous {
            while self.workers.iter().all(|worker| !worker.pushes.is_empty()) {
                self.apply_mean();
            }
            return;
        }
        for worker in &mut self.workers {
            while let Some(push) = worker.pushes.pop_front() {
                self.adagrad.step(&mut self.parameters, &push.gradients, push.rate);
                worker.clock += 1;
            }
        }
    }

    /// Takes one step by the mean of each worker's oldest push, weighted by rows.
    fn apply_mean(&mut self) {
        let pushes: Vec<_> =
            self.workers.iter_mut().filter_map(|worker| worker.pushes.pop_front()).collect();
        let rows: f32 = pushes.iter().map(|push| push.rows).sum();
        let mut mean = vec![0.0; self.parameters.len()];
        for push in &pushes {
            let share = push.rows / rows.max(1.0);
            mean.iter_mut().zip(&push.gradients).for_each(|(mean, g)| *mean += share * g);
        }
        let rate = pushes.first().map_or(0.0, |push| push.rate);
        self.adagrad.step(&mut self.parameters, &mean, rate);
        self.workers.iter_mut().for_each(|worker| worker.clock += 1);
    }

    /// Replies to the fetches that need not wait any longer.
    fn reply_to_fetches(&mut self) -> Result<(), CollectiveError> {
        for rank in 0..self.workers.len() {
            let Some(clock) = self.workers[rank].fetch else { continue };
            let ended: Vec<_> = self
                .behind(clock)
                .filter(|(_, worker)| worker.stopped)
                .map(|(rank, _)| rank)
                .collect();
            if !ended.is_empty() {
                self.reply(rank, &Reply::Ended(ended))?;
            } else if self.behind(clock).next().is_none() {
                self.reply(rank, &Reply::Values(self.parameters.clone()))?;
            } else {
                continue;
            }
            self.workers[rank].fetch = None;
        }
        Ok(())
    }

    /// Workers that are too far behind for a fetch with that clock.
    fn behind(&self, clock: u64) -> impl Iterator<Item = (usize, &Worker)> {
        let needed = match self.staleness {
            Staleness::Synchronous => clock,
            Staleness::Bounded(steps) => clock.saturating_sub(steps),
            Staleness::Asynchronous => 0,
        };
        let synchronous = self.staleness == Staleness::Synchronous;
        self.workers.iter().enumerate().filter(move |(_, worker)| {
            // A push that waits for other workers counts as received.
            let waiting = if synchronous { worker.pushes.len() as u64 } else { 0 };
            worker.clock + waiting < needed
        })
    }

    fn reply(&mut self, to: usize, reply: &Reply) -> Result<(), CollectiveError> {
        self.replies.send(to, &reply.encode())
    }
}
