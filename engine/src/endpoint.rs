//! An endpoint: what a client names, and the way in for its requests. Today it is one version of
//! a model with its cache; whatever else answers under a name gets its place here.

use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::model::{Model, TimeLimits};
use crate::observe::slowest::SlowestRequests;
use crate::observe::statistics::Statistics;
use crate::request::{Request, Response, Stages};
use crate::signature::Signature;
use crate::ticket::Ticket;
use crate::validate::validate;
use coalesce::CoalescingCache;
use skysail_policy::select::Selection;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

mod cache;
mod coalesce;
mod route;

pub use cache::CacheUsage;
pub(crate) use route::Route;
pub use skysail_policy::select::Outcome as ServedOutcome;

/// Answers the requests that name it.
pub struct Endpoint {
    model: Arc<Model>,
    cache: Option<Arc<CoalescingCache>>,
    /// Rule that chose it, once it serves under a name.
    selection: OnceLock<Arc<Selection>>,
}

impl Endpoint {
    /// The endpoint of one version, with the cache that its settings ask for.
    ///
    /// # Errors
    /// When the cache cannot be made.
    pub fn new(model: Arc<Model>) -> Result<Self, Error> {
        let cache = model.config().cache.map(CoalescingCache::new).transpose()?.map(Arc::new);
        Ok(Self { model, cache, selection: OnceLock::new() })
    }

    /// Validates a request and answers it: without a run, from the cache, or by the queue.
    ///
    /// # Errors
    /// When the request does not fit the signature, the queue is full, or no response in time is
    /// possible. With a cache the ticket returns the last two.
    pub fn submit(&self, request: Request) -> Result<Ticket, Error> {
        let model = &self.model;
        let timing = model.timing(&request, Instant::now());
        let request = validate(request, model.signature(), model.batching())?;
        if let Some(outputs) = model.answer_without_elements(&request)? {
            let stages = Stages::without_run(timing.queued, Instant::now(), None);
            let (name, version) = (Arc::clone(model.name()), model.version());
            let response = Response { model: name, version, outputs, stages };
            return Ok(Ticket::ready(model, response));
        }
        match &self.cache {
            None => Ticket::enqueue(model, request, timing),
            Some(cache) => coalesce::submit(cache, model, request, timing),
        }
    }

    /// Name that clients use.
    pub fn name(&self) -> &Arc<str> {
        self.model.name()
    }

    /// Version that answers.
    pub fn version(&self) -> u64 {
        self.model.version()
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        self.model.signature()
    }

    /// Limits of the batches.
    pub fn batching(&self) -> &Batching {
        self.model.batching()
    }

    /// Settings of the version.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// Latency objective in microseconds.
    pub fn objective_us(&self) -> Option<u64> {
        self.model.objective_us()
    }

    /// Time limits of a request.
    pub fn time_limits(&self, request: &Request) -> TimeLimits {
        self.model.time_limits(request)
    }

    /// Counters and histograms. Holding them does not keep the endpoint in memory.
    pub fn statistics(&self) -> &Arc<Statistics> {
        self.model.statistics()
    }

    /// The slowest requests of the last minutes, and some that got no response.
    pub fn slowest(&self) -> &SlowestRequests {
        self.model.statistics().slowest()
    }

    /// Entries and bytes in the cache, if there is one.
    pub fn cache_usage(&self) -> Option<CacheUsage> {
        self.cache.as_deref().map(CoalescingCache::usage)
    }

    /// True while requests wait and no replica makes progress.
    pub fn is_stalled(&self) -> bool {
        self.model.is_stalled()
    }

    /// Answers requests whose timeout passed while no replica was free. A caller that waits with
    /// a timer calls it when the timer fires.
    pub fn expire(&self) {
        self.model.queue().expire();
    }

    /// Reports how a request ended to the rule that chose this version.
    pub fn observe(&self, outcome: ServedOutcome) {
        if let Some(selection) = self.selection.get() {
            selection.observe(self.version(), outcome);
        }
    }

    fn report_to(&self, selection: &Arc<Selection>) {
        // A version that serves again keeps its rule.
        drop(self.selection.set(Arc::clone(selection)));
    }

    /// Learns how long a response took to leave after its run.
    pub fn responded(&self, stages: &Stages, responded: Instant) {
        self.model.responded(stages, responded);
    }

    /// The version of a model that answers.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }
}
