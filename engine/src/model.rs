//! One version of a model in service.

use crate::batching_verdict::BatchingVerdict;
use crate::config::{FILES, ModelConfig};
use crate::layers::Layers;
use crate::observe::statistics::Statistics;
use crate::queue::{Deadline, Queue};
use crate::replica::{Replica, ReplicaId, ReplicaState};
use crate::request::{Outputs, Request, Stages};
use crate::response_reserve::SharedReserve;
use crate::signature::Signature;
use crate::validate::{InvalidRequest, ValidRequest};
use crate::zero_elements::ZeroElements;
use skysail_graph::Independence;
use skysail_policy::batch::Limits;
use skysail_policy::priority::Priority;
use skysail_policy::response_reserve;
use skysail_policy::scheduler::MakePolicy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A version that answers requests: its signature, its queue and what it has done so far.
pub struct Model {
    name: Arc<str>,
    version: u64,
    config: ModelConfig,
    signature: Arc<Signature>,
    threads: usize,
    layers: Option<Layers>,
    batching_verdict: BatchingVerdict,
    zero_elements: ZeroElements,
    statistics: Arc<Statistics>,
    /// Whether its queue has requests and does not move.
    is_stalled: AtomicBool,
    /// Of its objective.
    reserve: SharedReserve,
    queue: Queue,
}

/// Arrival, deadline and priority of a request.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) queued: Instant,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
}

impl Model {
    /// Makes a version of replicas that have run.
    pub fn new(
        name: &str,
        version: u64,
        config: ModelConfig,
        signature: Arc<Signature>,
        replicas: Vec<Replica>,
    ) -> Self {
        let make_policy = make_policy(&config, signature.batch_rows_max, replicas.len());
        let queue = Queue::new(name, make_policy, config.queue.requests_max);
        for replica in replicas {
            queue.join(replica);
        }
        let reserve = SharedReserve::new(objective_us(&config).unwrap_or(0));
        let (rows_max, proof) = (signature.batch_rows_max, Independence::Independent);
        let batching_verdict = BatchingVerdict::Configured { rows_max, proof };
        let name = name.into();
        Self {
            name,
            version,
            config,
            signature,
            threads: 1,
            layers: None,
            batching_verdict,
            zero_elements: ZeroElements::default(),
            statistics: Arc::default(),
            is_stalled: AtomicBool::new(false),
            reserve,
            queue,
        }
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
    pub fn with_batching_verdict(self, batching_verdict: BatchingVerdict) -> Self {
        Self { batching_verdict, ..self }
    }

    /// The same, of which this is known where inputs have no elements.
    #[must_use]
    pub(crate) fn with_zero_elements(self, zero_elements: ZeroElements) -> Self {
        Self { zero_elements, ..self }
    }

    /// Returns the wanted outputs of a request whose inputs have no elements, if they follow
    /// without a run.
    ///
    /// # Errors
    /// When they do not follow, and a run with them is not known to be safe.
    pub(crate) fn answer_without_elements(
        &self,
        request: &ValidRequest,
    ) -> Result<Option<Outputs>, InvalidRequest> {
        self.zero_elements.outputs_without_run(request, &self.signature)
    }

    /// Arrival, deadline and priority of a request that is queued now.
    pub(crate) fn timing(&self, request: &Request, queued: Instant) -> Timing {
        let deadline = self.deadline(request, queued);
        Timing { queued, priority: Priority::new(request.priority), deadline }
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
            self.reserve.learn(responded - stages.executed);
        }
    }

    /// Deadline of a request that is queued now. A timeout counts from the acceptance of the
    /// request, as its client counts. The objective counts from its last byte, as a slow upload is
    /// not the server's delay.
    fn deadline(&self, request: &Request, queued: Instant) -> Option<Deadline> {
        // A deadline beyond the end of time is none.
        let after = |start: Instant, us| start.checked_add(Duration::from_micros(us));
        if let Some(allowed_us) = self.timeout_us(request.timeout_us) {
            let at = after(request.accepted.unwrap_or(queued), allowed_us)?;
            return Some(Deadline { at, allowed_us, is_timeout: true });
        }
        let allowed_us = self.objective_us()?;
        let inside_us = allowed_us.saturating_sub(self.reserve.us());
        let at = after(request.received.unwrap_or(queued), inside_us)?;
        Some(Deadline { at, allowed_us, is_timeout: false })
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

    /// How many threads each of them runs on.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How its layers run, when it is a package.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_ref()
    }

    /// Whether its requests share runs, and why.
    pub fn batching_verdict(&self) -> &BatchingVerdict {
        &self.batching_verdict
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
