//! One version of a model in service.

use crate::batching::Batching;
use crate::batching_verdict::BatchingVerdict;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::labels::Labels;
use crate::layers::Layers;
use crate::observe::statistics::Statistics;
use crate::queue::Queue;
use crate::replica::{Replica, ReplicaId, ReplicaState};
use crate::reply::SharedOrder;
use crate::request::{Outputs, Request, Stages};
use crate::response_reserve::SharedReserve;
use crate::signature::Signature;
use crate::validate::ValidRequest;
use crate::zero_elements::{NoAnswer, ZeroElements};
use skysail_graph::Independence;
use skysail_policy::batch::Limits;
use skysail_policy::response_reserve;
use skysail_policy::scheduler::MakePolicy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

mod timing;

pub use timing::TimeLimits;
pub(crate) use timing::Timing;

/// A version that answers requests: its description, its queue and its statistics.
pub struct Model {
    description: Description,
    statistics: Arc<Statistics>,
    /// True while its queue has requests and makes no progress.
    is_stalled: AtomicBool,
    reserve: SharedReserve,
    response_order: Option<SharedOrder>,
    queue: Queue,
}

/// All that is known of a version once it is loaded.
#[derive(Debug)]
pub struct Description {
    /// Name of the model.
    pub name: Arc<str>,
    /// Number of the version.
    pub version: u64,
    /// Name of the file that it was loaded from.
    pub file_name: String,
    /// Name of the backend that opened it.
    pub backend: &'static str,
    /// Settings.
    pub config: ModelConfig,
    /// Inputs and outputs.
    pub signature: Arc<Signature>,
    /// Limits of its batches.
    pub batching: Batching,
    /// Reason for these.
    pub batching_verdict: BatchingVerdict,
    /// Threads of each replica.
    pub threads: usize,
    /// Execution of its layers, if it is a package.
    pub layers: Option<Layers>,
    /// Labels of classes, by the index of the output.
    pub labels: BTreeMap<usize, Labels>,
    /// Results of runs without elements.
    pub(crate) zero_elements: ZeroElements,
}

impl Description {
    /// Describes a version with default settings and replicas of one thread.
    pub fn new(name: &str, version: u64, signature: Arc<Signature>, batching: Batching) -> Self {
        let (rows_max, proof) = (batching.rows_max, Independence::Independent);
        Self {
            name: name.into(),
            version,
            file_name: String::new(),
            backend: "",
            config: ModelConfig::default(),
            signature,
            batching,
            batching_verdict: BatchingVerdict::Configured { rows_max, proof },
            threads: 1,
            layers: None,
            labels: BTreeMap::new(),
            zero_elements: ZeroElements::default(),
        }
    }
}

impl Model {
    /// Makes a version of replicas that have run.
    pub fn new(description: Description, replicas: Vec<Replica>) -> Self {
        let Description { name, config, batching, .. } = &description;
        let make_policy = make_policy(config, batching.rows_max, replicas.len());
        let (requests_max, policies) = (config.queue.requests_max, config.queue_policies.clone());
        let queue = Queue::new(name, make_policy, requests_max, policies);
        for replica in replicas {
            queue.join(replica);
        }
        let reserve = SharedReserve::new(objective_us(config).unwrap_or(0));
        let (statistics, is_stalled) = (Arc::default(), AtomicBool::new(false));
        let response_order = config.preserve_ordering.then(SharedOrder::default);
        Self { description, statistics, is_stalled, reserve, response_order, queue }
    }

    /// Returns the wanted outputs of a request whose inputs have no elements, if they follow
    /// without a run.
    ///
    /// # Errors
    /// When they do not follow, and a run with them is not known to be safe.
    pub(crate) fn answer_without_elements(
        &self,
        request: &ValidRequest,
    ) -> Result<Option<Outputs>, Error> {
        let Description { zero_elements, signature, .. } = &self.description;
        zero_elements.outputs_without_run(request, signature).map_err(|error| match error {
            NoAnswer::Invalid(error) => error.into(),
            NoAnswer::NotYet => {
                let reason = "inputs without elements are still tried in another process".into();
                Error::ModelNotReady { model: self.name().to_string(), reason }
            }
        })
    }

    /// Arrival, priority and time limits of a request that is queued now.
    pub(crate) fn timing(&self, request: &Request, queued: Instant) -> Timing {
        let (config, limits) = (self.config(), self.time_limits(request));
        timing::timing(config, request, limits, self.reserve.us(), queued)
    }

    /// Time limits of a request.
    pub fn time_limits(&self, request: &Request) -> TimeLimits {
        timing::limits(self.config(), request, self.objective_us())
    }

    /// The order of its responses, if its settings ask for one.
    pub(crate) fn response_order(&self) -> Option<&SharedOrder> {
        self.response_order.as_ref()
    }

    /// Latency objective in microseconds.
    pub fn objective_us(&self) -> Option<u64> {
        objective_us(&self.description.config)
    }

    /// Learns how long a response took to leave after its run.
    pub fn responded(&self, stages: &Stages, responded: Instant) {
        if self.description.config.objective_ms.is_some() && stages.run.is_some() {
            self.reserve.learn(responded - stages.executed);
        }
    }

    /// Name of the model.
    pub fn name(&self) -> &Arc<str> {
        &self.description.name
    }

    /// Number of the version.
    pub fn version(&self) -> u64 {
        self.description.version
    }

    /// Settings.
    pub fn config(&self) -> &ModelConfig {
        &self.description.config
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.description.signature
    }

    /// Limits of its batches.
    pub fn batching(&self) -> &Batching {
        &self.description.batching
    }

    /// Name of the backend that opened it.
    pub fn backend(&self) -> &'static str {
        self.description.backend
    }

    /// Number of replicas that take batches, now or later.
    pub fn replicas(&self) -> usize {
        let is_live =
            |state: ReplicaState| !matches!(state, ReplicaState::Draining | ReplicaState::Gone);
        self.queue.replicas().iter().filter(|(_, state)| is_live(*state)).count()
    }

    /// Adds a replica, which takes batches at once.
    pub fn join(&self, replica: Replica) -> ReplicaId {
        self.queue.join(replica)
    }

    /// Lets a replica leave once its batches in flight have ended.
    pub fn drain(&self, id: ReplicaId) {
        self.queue.drain(id);
    }

    /// Identities and states of all replicas.
    pub fn replica_states(&self) -> Vec<(ReplicaId, ReplicaState)> {
        self.queue.replicas()
    }

    /// Threads of each replica.
    pub fn threads(&self) -> usize {
        self.description.threads
    }

    /// Execution of its layers, if it is a package.
    pub fn layers(&self) -> Option<&Layers> {
        self.description.layers.as_ref()
    }

    /// Labels of the classes of an output, if it has some.
    pub fn labels(&self, output: &str) -> Option<&Labels> {
        self.description.labels.get(&self.signature().output_index(output)?)
    }

    /// Reason why requests share runs, or run alone.
    pub fn batching_verdict(&self) -> &BatchingVerdict {
        &self.description.batching_verdict
    }

    /// Name of the file that it was loaded from.
    pub fn file_name(&self) -> &str {
        &self.description.file_name
    }

    /// Counters and histograms. Holding them does not keep the model in memory.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Number of batches that run now.
    pub fn busy(&self) -> usize {
        self.queue.busy()
    }

    /// True while requests wait and no replica makes progress.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Relaxed);
    }

    /// Number of requests that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }
}

fn objective_us(config: &ModelConfig) -> Option<u64> {
    config.objective_ms.map(|ms| (ms * 1e3) as u64)
}

/// Makes the batching policy that the settings ask for, once for each class of replicas.
fn make_policy(config: &ModelConfig, rows_max: usize, replicas: usize) -> MakePolicy {
    let batching = config.batching.clone();
    let objective_us = config.objective_ms.map(|ms| response_reserve::inside(ms * 1e3));
    let limits = Limits { rows_max, objective_us, replicas };
    Box::new(move || batching.build(limits))
}
