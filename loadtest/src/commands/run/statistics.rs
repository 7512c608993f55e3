//! What the server itself counts, read before and after a run; a server that has no statistics has
//! none in the report.

use skysail_loadtest::Kind;
use skysail_loadtest::report::ServerReport;
use skysail_loadtest::server_statistics::Reading;
use skysail_loadtest::target::{Server, Target};
use std::time::Duration;

/// How long a reading may take.
const LIMIT: Duration = Duration::from_secs(1);

/// A model's counters; `None` where the server has none.
type Counted = (String, Option<Reading>);

/// Reads the counters of each model.
pub(super) async fn read(server: &Server, kinds: &[Kind]) -> Vec<Counted> {
    let mut counted: Vec<Counted> = Vec::new();
    for kind in kinds {
        if counted.iter().any(|(model, _)| *model == kind.model) {
            continue;
        }
        let target = Target {
            version: kind.version.clone(),
            ..Target::new(server.address.clone(), server.protocol, &*kind.model)
        };
        counted.push((kind.model.clone(), Reading::read(&target, LIMIT).await.ok()));
    }
    counted
}

/// What happened between two readings.
pub(super) fn between(before: Vec<Counted>, after: Vec<Counted>) -> Vec<ServerReport> {
    let both = before.into_iter().zip(after);
    both.filter_map(|((model, before), (_, after))| {
        Some(ServerReport { model, statistics: after?.since(&before?) })
    })
    .collect()
}
