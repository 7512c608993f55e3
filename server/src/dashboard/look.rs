//! What the page shows at one moment, put together only when somebody looks.

use super::history::{Change, History, Key};
use crate::server::Server;
use skysail_engine::endpoint::CacheUsage;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::repository::State;
use skysail_engine::request_record::RequestRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Versions in the table; the rest is counted.
pub(super) const VERSIONS_MAX: usize = 100;

/// Slow requests of a version in the table, so that one slow model does not hide the others, and of
/// all together.
const SLOW_MAX: (usize, usize) = (5, 15);

/// Requests without an answer in the table.
const UNANSWERED_MAX: usize = 6;

/// How far back the tail is looked at.
const WINDOW: Duration = Duration::from_secs(300);

/// What the process takes of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Since its start.
    pub(super) up: Duration,
    /// Memory in RAM.
    pub(super) resident_bytes: u64,
    /// Cores that it kept busy in the last second.
    pub(super) cores_busy: f64,
    /// Threads that talk to clients.
    pub(super) io_threads: usize,
    /// Cores that models may use.
    pub(super) compute_threads: usize,
}

/// All that is shown.
pub(super) struct Look {
    pub(super) is_ready: bool,
    pub(super) process: Process,
    /// Every version that is known.
    pub(super) versions: Vec<Version>,
    /// The slowest requests with an answer, slowest first.
    pub(super) slow: Vec<Arc<RequestRecord>>,
    /// The last requests without one, newest first.
    pub(super) unanswered: Vec<Arc<RequestRecord>>,
    pub(super) now: Instant,
}

/// One version of a model.
pub(super) struct Version {
    pub(super) name: Arc<str>,
    /// 0 for a model none of whose versions could be told.
    pub(super) number: u64,
    pub(super) state: State,
    /// Of its state.
    pub(super) reason: String,
    pub(super) service: Option<Service>,
}

/// A version in service.
pub(super) struct Service {
    pub(super) facts: Facts,
    /// The last seconds.
    pub(super) recent: Change,
    /// The last five minutes.
    pub(super) whole: Change,
    /// The last five minutes, step by step.
    pub(super) steps: Vec<Option<Change>>,
}

/// How a version is served.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) objective_us: Option<u64>,
    pub(super) replicas: usize,
    /// Replicas that run now.
    pub(super) busy: usize,
    /// Of each replica.
    pub(super) threads: usize,
    /// Requests in the queue.
    pub(super) waiting: usize,
    /// Whether its queue stands still.
    pub(super) is_stalled: bool,
    /// Of a batch.
    pub(super) rows_max: usize,
    pub(super) cache: Option<CacheUsage>,
    /// Memory of a package's weights as they run.
    pub(super) weights_bytes: Option<u64>,
    /// Why its requests run alone, where they do.
    pub(super) runs_alone: Option<String>,
}

impl Look {
    /// Looks at everything.
    pub(super) fn at(server: &Server, history: &History, process: Process) -> Self {
        let now = Instant::now();
        let repository = server.engine().repository();
        let serving = repository.serving();
        let records = serving.iter().flat_map(|model| model.slowest().read(WINDOW, now));
        let (slow, unanswered) =
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
            is_ready: server.is_ready(),
            process,
            versions: repository.index().into_iter().map(version).collect(),
            slow: slowest(slow),
            unanswered: newest(unanswered),
            now,
        }
    }

    /// Versions in service, with what they do.
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
    records.truncate(UNANSWERED_MAX);
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
            rows_max: model.signature().batch_rows_max,
            cache: model.cache_usage(),
            weights_bytes: model.model().layers().map(|layers| layers.weights_bytes),
            runs_alone: Some(model.model().batching_verdict())
                .filter(|sharing| sharing.runs_alone())
                .map(ToString::to_string),
        }
    }
}
