//! One version of a model in service.

use crate::admit::{Admitted, admit};
use crate::config::{BatchingConfig, ModelConfig};
use crate::error::Error;
use crate::executor::Executor;
use crate::queue::{Entry, Queue};
use crate::request::Request;
use crate::signature::Signature;
use crate::statistics::Statistics;
use crate::ticket::Ticket;
use skysail_policy::batch::BatchPolicy;
use skysail_policy::batch::fixed::Fixed;
use skysail_policy::batch::gather::Gather;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A version that answers requests: its signature, its queue and what it has done so far.
pub struct Model {
    name: Arc<str>,
    version: u64,
    config: ModelConfig,
    signature: Arc<Signature>,
    replicas: usize,
    statistics: Statistics,
    queue: Queue,
}

impl Model {
    /// A version whose executors have been tried.
    ///
    /// # Errors
    /// When the metrics library refuses its name.
    pub fn new(
        name: &str,
        version: u64,
        config: ModelConfig,
        signature: Arc<Signature>,
        executors: Vec<Box<dyn Executor>>,
    ) -> Result<Self, Error> {
        let policy = policy(&config.batching, signature.batch_rows_max);
        let statistics = Statistics::new(name, version)
            .map_err(|error| Error::Internal(format!("metrics of model '{name}': {error}")))?;
        let replicas = executors.len();
        let queue = Queue::new(executors, policy, config.queue, signature.batches());
        Ok(Self { name: name.into(), version, config, signature, replicas, statistics, queue })
    }

    /// Checks a request and puts it into the queue.
    ///
    /// # Errors
    /// When it does not fit the model, or the queue is full.
    pub fn submit(self: &Arc<Self>, request: Request) -> Result<Ticket, Error> {
        let timeout_us = request.timeout_us;
        let request = admit(request, &self.signature)?;
        self.enqueue(request, timeout_us)
    }

    /// Answers the requests whose timeout has passed while no replica is free. Whoever waits with
    /// a clock calls it when a timeout is over.
    pub fn answer_late(&self) {
        self.queue.answer_late();
    }

    /// How long a request with this timeout of its own may wait, in microseconds.
    pub fn timeout_us(&self, own: Option<u64>) -> Option<u64> {
        own.or(self.config.queue.timeout_us)
    }

    fn enqueue(
        self: &Arc<Self>,
        request: Admitted,
        timeout_us: Option<u64>,
    ) -> Result<Ticket, Error> {
        let (reply, receiver) = oneshot::channel();
        let entry = Entry { request, queued: Instant::now(), timeout_us, reply };
        self.queue.push(entry, &self.name)?;
        Ok(Ticket::new(Arc::clone(self), receiver))
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its settings.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// How many replicas run it.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// What it has done.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// The policy that the settings ask for: `fixed` where they say anything, else `gather`.
fn policy(config: &BatchingConfig, rows_max: usize) -> Box<dyn BatchPolicy> {
    if *config == BatchingConfig::default() {
        return Box::new(Gather::new(rows_max));
    }
    Box::new(Fixed::new(rows_max, config.max_delay_us, &config.preferred_sizes))
}
