//! Reads the server's own counters before and after a run. A server without statistics has none in
//! the report.

use skysail_loadtest::RequestKind;
use skysail_loadtest::report::ServerReport;
use skysail_loadtest::server_statistics::Reading;
use skysail_loadtest::target::{Server, Target};
use std::time::Duration;

/// Time limit of one reading.
const LIMIT: Duration = Duration::from_secs(1);

/// Model with its counters; `None` where the server has none.
type Counted = (String, Option<Reading>);

/// Reads the counters of each model.
pub(super) async fn read(server: &Server, kinds: &[RequestKind]) -> Vec<Counted> {
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

/// Differences of two readings.
pub(super) fn between(before: Vec<Counted>, after: Vec<Counted>) -> Vec<ServerReport> {
    let both = before.into_iter().zip(after);
    both.filter_map(|((model, before), (_, after))| {
        Some(ServerReport { model, statistics: after?.since(&before?) })
    })
    .collect()
}
