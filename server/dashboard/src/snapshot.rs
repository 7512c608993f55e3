//! The content of the page at one moment.

use super::history::{Change, History, Key};
use crate::Source;
use skysail_engine::endpoint::CacheUsage;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::repository::State;
use skysail_engine::request_record::RequestRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Versions in the table. Others are counted.
pub(super) const VERSIONS_MAX: usize = 100;

/// Slow requests in the table: of one version, so that it does not hide the others, and of all.
const SLOW_MAX: (usize, usize) = (5, 15);

/// Requests without a response in the table.
const WITHOUT_RESPONSE_MAX: usize = 6;

/// Period of the slowest requests.
const WINDOW: Duration = Duration::from_secs(300);

/// Resources of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Time since the start.
    pub(super) up: Duration,
    /// Memory in RAM.
    pub(super) resident_bytes: u64,
    /// Cores that the process used in the last second.
    pub(super) cores_busy: f64,
    /// Threads that serve connections.
    pub(super) io_threads: usize,
    /// Cores that models may use.
    pub(super) compute_threads: usize,
}

/// The content of the page.
pub(super) struct Snapshot {
    pub(super) is_ready: bool,
    pub(super) process: Process,
    /// All known versions.
    pub(super) versions: Vec<Version>,
    /// The slowest requests with a response, slowest first.
    pub(super) slow: Vec<Arc<RequestRecord>>,
    /// The last requests without a response, newest first.
    pub(super) without_response: Vec<Arc<RequestRecord>>,
    pub(super) now: Instant,
}

/// A version of a model.
pub(super) struct Version {
    pub(super) name: Arc<str>,
    /// Version number; 0 for a model without a readable version.
    pub(super) number: u64,
    pub(super) state: State,
    /// Reason of the state.
    pub(super) reason: String,
    pub(super) service: Option<Service>,
}

/// A version in service.
pub(super) struct Service {
    pub(super) facts: Facts,
    /// Changes in the last ten seconds.
    pub(super) recent: Change,
    /// Changes in the last five minutes.
    pub(super) whole: Change,
    /// Changes in the last five minutes, step by step.
    pub(super) steps: Vec<Option<Change>>,
}

/// Settings and state of a version in service.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) objective_us: Option<u64>,
    pub(super) replicas: usize,
    /// Replicas that run a batch now.
    pub(super) busy: usize,
    /// Threads of each replica.
    pub(super) threads: usize,
    /// Requests in the queue.
    pub(super) waiting: usize,
    /// The queue makes no progress.
    pub(super) is_stalled: bool,
    /// Most rows of a batch.
    pub(super) rows_max: usize,
    pub(super) cache: Option<CacheUsage>,
    /// Memory of a compressed package's weights, in bytes.
    pub(super) weights_bytes: Option<u64>,
    /// Reason why requests run alone, if they do.
    pub(super) runs_alone: Option<String>,
}

impl Snapshot {
    /// Takes a snapshot.
    pub(super) fn at(source: &dyn Source, history: &History, process: Process) -> Self {
        let now = Instant::now();
        let repository = source.engine().repository();
        let serving = repository.serving();
        let records = serving.iter().flat_map(|model| model.slowest().read(WINDOW, now));
        let (slow, without_response) =
            records.partition(|one: &Arc<RequestRecord>| one.outcome.is_answered());
        let mut serving: BTreeMap<Key, Arc<Endpoint>> = serving
            .into_iter()
            .map(|model| ((Arc::clone(model.name()), model.version()), model))
            .collect();
        let version = |((name, number), status): ((String, u64), _)| {
            let skysail_engine::repository::Status { state, reason } = status;
            let key: Key = (name.into(), number);
            let service = serving.remove(&key).and_then(|model| {
                let track = history.of(&key)?;
                let (recent, whole, steps) = (track.recent(), track.whole(), track.steps());
                Some(Service { facts: Facts::of(&model), recent, whole, steps })
            });
            Version { name: key.0, number, state, reason, service }
        };
        Self {
            is_ready: source.is_ready(),
            process,
            versions: repository.index().into_iter().map(version).collect(),
            slow: slowest(slow),
            without_response: newest(without_response),
            now,
        }
    }

    /// Versions in service, with their state.
    pub(super) fn serving(&self) -> impl Iterator<Item = (&Version, &Service)> {
        self.versions.iter().filter_map(|version| Some((version, version.service.as_ref()?)))
    }
}

fn slowest(mut records: Vec<Arc<RequestRecord>>) -> Vec<Arc<RequestRecord>> {
    let (of_version, of_all) = SLOW_MAX;
    let mut kept: BTreeMap<Key, usize> = BTreeMap::new();
    records.sort_by_key(|one| std::cmp::Reverse(one.total_us()));
    records.retain(|one| {
        let count = kept.entry((Arc::clone(&one.model), one.version)).or_default();
        *count += 1;
        *count <= of_version
    });
    records.truncate(of_all);
    records
}

fn newest(mut records: Vec<Arc<RequestRecord>>) -> Vec<Arc<RequestRecord>> {
    records.sort_by_key(|one| std::cmp::Reverse(one.ended()));
    records.truncate(WITHOUT_RESPONSE_MAX);
    records
}

impl Facts {
    fn of(model: &Endpoint) -> Self {
        Self {
            objective_us: model.objective_us(),
            replicas: model.model().replicas(),
            busy: model.model().busy(),
            threads: model.model().threads(),
            waiting: model.model().waiting(),
            is_stalled: model.is_stalled(),
            rows_max: model.batching().rows_max,
            cache: model.cache_usage(),
            weights_bytes: model.model().layers().map(|layers| layers.weights_bytes),
            runs_alone: Some(model.model().batching_verdict())
                .filter(|sharing| sharing.runs_alone())
                .map(ToString::to_string),
        }
    }
}
