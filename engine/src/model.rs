//! One version of a model in service.

use crate::admit::{Admitted, admit};
use crate::cache::{Cache, CacheUse};
use crate::config::{FILES, ModelConfig, PolicyName};
use crate::empty::Empty;
use crate::error::Error;
use crate::executor::Executor;
use crate::layers::Layers;
use crate::margin::{self, Margin};
use crate::queue::{Entry, Limit, Queue};
use crate::request::{Request, Response, Stages};
use crate::sharing::Sharing;
use crate::signature::Signature;
use crate::statistics::Statistics;
use crate::tail::Tail;
use crate::ticket::Ticket;
use skysail_graph::Independence;
use skysail_policy::batch::aimd::Aimd;
use skysail_policy::batch::delayed::Delayed;
use skysail_policy::batch::fixed::Fixed;
use skysail_policy::batch::predictive::Predictive;
use skysail_policy::batch::quantile::Quantile;
use skysail_policy::batch::{BatchPolicy, Limits};
use skysail_policy::urgency::Priority;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A version that answers requests: its signature, its queue and what it has done so far.
pub struct Model {
    name: Arc<str>,
    version: u64,
    config: ModelConfig,
    signature: Arc<Signature>,
    replicas: usize,
    threads: usize,
    layers: Option<Layers>,
    sharing: Sharing,
    empty: Empty,
    statistics: Arc<Statistics>,
    /// Whether its queue has requests and does not move.
    is_stalled: AtomicBool,
    cache: Option<Cache>,
    /// Of its objective.
    margin: Margin,
    queue: Queue,
}

/// When a request came, and what it asks of the queue.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) queued: Instant,
    pub(crate) priority: Priority,
    pub(crate) limit: Option<Limit>,
}

impl Model {
    /// A version whose executors have been tried.
    ///
    /// # Errors
    /// When its cache can not be made.
    pub fn new(
        name: &str,
        version: u64,
        config: ModelConfig,
        signature: Arc<Signature>,
        executors: Vec<Box<dyn Executor>>,
    ) -> Result<Self, Error> {
        let policy = policy(&config, signature.batch_rows_max, executors.len());
        let replicas = executors.len();
        let queue = Queue::new(name, executors, policy, config.queue.requests_max);
        let cache = config.cache.map(Cache::new).transpose()?;
        let margin = Margin::new(objective_us(&config).unwrap_or(0));
        let (rows_max, proof) = (signature.batch_rows_max, Independence::Independent);
        let sharing = Sharing::Configured { rows_max, proof };
        let name = name.into();
        Ok(Self {
            name,
            version,
            config,
            signature,
            replicas,
            threads: 1,
            layers: None,
            sharing,
            empty: Empty::default(),
            statistics: Arc::default(),
            is_stalled: AtomicBool::new(false),
            cache,
            margin,
            queue,
        })
    }

    /// The same, each of whose replicas runs on so many threads.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The same, made from a package whose layers run so.
    #[must_use]
    pub fn with_layers(self, layers: Option<Layers>) -> Self {
        Self { layers, ..self }
    }

    /// The same, whose requests share runs for this reason, or run alone.
    #[must_use]
    pub fn with_sharing(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }

    /// The same, of which this is known where inputs have no elements.
    #[must_use]
    pub(crate) fn with_empty(self, empty: Empty) -> Self {
        Self { empty, ..self }
    }

    /// Checks a request and puts it into the queue, unless it is answered without a run.
    ///
    /// # Errors
    /// When it does not fit the model, the queue is full, or it could not be answered in time.
    /// With a cache the ticket tells the last two.
    pub fn submit(self: &Arc<Self>, request: Request) -> Result<Ticket, Error> {
        let queued = Instant::now();
        let limit = self.limit(&request, queued);
        let priority = Priority::new(request.priority);
        let claim = Claim { queued, priority, limit };
        let request = admit(request, &self.signature)?;
        if let Some(outputs) = self.empty.answer(&request, &self.signature)? {
            let stages = Stages::without_run(queued, Instant::now(), None);
            let (model, version) = (Arc::clone(&self.name), self.version);
            let response = Response { model, version, outputs, stages };
            return Ok(Ticket::shared(Arc::clone(self), std::future::ready(Ok(response))));
        }
        match &self.cache {
            None => self.enqueue(request, claim),
            Some(cache) => cache.submit(self, request, claim),
        }
    }

    pub(crate) fn enqueue(
        self: &Arc<Self>,
        request: Admitted,
        claim: Claim,
    ) -> Result<Ticket, Error> {
        let Claim { queued, priority, limit } = claim;
        let (reply, receiver) = oneshot::channel();
        let entry = Entry { request, queued, priority, limit, behind: None, ahead: 0, reply };
        let behind = self.queue.push(entry)?;
        Ok(Ticket::new(Arc::clone(self), receiver, queued, behind))
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

    /// How soon its answers should be there, in microseconds.
    pub fn objective_us(&self) -> Option<u64> {
        objective_us(&self.config)
    }

    /// Learns when the response of a run was on its way, for the sake of those to come.
    pub fn responded(&self, stages: &Stages, responded: Instant) {
        if self.config.objective_ms.is_some() && stages.run.is_some() {
            self.margin.learn(responded - stages.executed);
        }
    }

    /// The limit of a request that is queued now. A timeout counts from when the request was
    /// accepted, as its caller counts; the objective from when all of it was there, as a slow
    /// upload is not our delay.
    fn limit(&self, request: &Request, queued: Instant) -> Option<Limit> {
        // A deadline beyond the end of time is none.
        let after = |start: Instant, us| start.checked_add(Duration::from_micros(us));
        if let Some(allowed_us) = self.timeout_us(request.timeout_us) {
            let deadline = after(request.accepted.unwrap_or(queued), allowed_us)?;
            return Some(Limit { deadline, allowed_us, is_timeout: true });
        }
        let allowed_us = self.objective_us()?;
        let inside_us = allowed_us.saturating_sub(self.margin.us());
        let deadline = after(request.received.unwrap_or(queued), inside_us)?;
        Some(Limit { deadline, allowed_us, is_timeout: false })
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

    /// How many threads each of them runs on.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How its layers run, when it is a package.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_ref()
    }

    /// Whether its requests share runs, and why.
    pub fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// The name of its file.
    pub fn file_name(&self) -> &str {
        let [plain, package] = FILES;
        let usual = if self.layers.is_some() { package } else { plain };
        self.config.file.as_deref().unwrap_or(usual)
    }

    /// What it has done. Who keeps this keeps nothing else of it.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Its slowest requests of the last minutes, and some of those without an answer.
    pub fn tail(&self) -> &Tail {
        self.statistics.tail()
    }

    /// Replicas that run now.
    pub fn busy(&self) -> usize {
        self.queue.busy()
    }

    /// Whether requests wait and none of its replicas gets on.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Relaxed);
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How much its cache holds, if it has one.
    pub fn cache_use(&self) -> Option<CacheUse> {
        self.cache.as_ref().map(Cache::in_use)
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }
}

fn objective_us(config: &ModelConfig) -> Option<u64> {
    config.objective_ms.map(|ms| (ms * 1e3) as u64)
}

/// The policy that the settings ask for.
fn policy(config: &ModelConfig, rows_max: usize, replicas: usize) -> Box<dyn BatchPolicy> {
    let batching = &config.batching;
    let objective_us = config.objective_ms.map(|ms| ms * 1e3 * (1.0 - margin::LEAST));
    let limits = Limits { rows_max, objective_us, replicas };
    let policy: Box<dyn BatchPolicy> = match batching.policy() {
        PolicyName::Fixed => {
            return Box::new(Fixed::new(
                rows_max,
                batching.max_delay_us,
                &batching.preferred_sizes,
            ));
        }
        PolicyName::Predictive => Box::new(Predictive::new(limits)),
        PolicyName::Aimd => Box::new(Aimd::new(limits)),
        PolicyName::Quantile => Box::new(Quantile::new(limits)),
    };
    match batching.max_delay_us {
        0 => policy,
        delay_max_us => Box::new(Delayed::new(policy, delay_max_us)),
    }
}
