//! The parts of the page that change. Each has an id, by which an event replaces its content.

mod model;
mod requests;
mod status;
mod totals;
mod versions;

use super::snapshot::Snapshot;
use maud::Markup;

/// Most models with charts: the busiest.
const CHARTED_MAX: usize = 8;

/// Ids of the parts that change every second.
pub(super) const QUICK: [&str; 3] = ["status", "totals", "versions"];

/// Ids of the other parts but the charts. They change with each step of the history.
pub(super) const SLOW: [&str; 2] = ["slow", "unanswered"];

/// Ids of the charts.
pub(super) fn charts() -> impl Iterator<Item = String> {
    (0..CHARTED_MAX).map(|index| format!("model-{index}"))
}

/// Content of the quick parts.
pub(super) fn quick(snapshot: &Snapshot) -> Vec<(String, Markup)> {
    let parts = [status::status(snapshot), totals::totals(snapshot), versions::versions(snapshot)];
    QUICK.map(String::from).into_iter().zip(parts).collect()
}

/// Content of all other parts.
pub(super) fn slow(snapshot: &Snapshot) -> Vec<(String, Markup)> {
    let requests = [requests::slow(snapshot), requests::without_response(snapshot)];
    let mut parts: Vec<_> = SLOW.map(String::from).into_iter().zip(requests).collect();
    let mut models = model::busiest(snapshot, CHARTED_MAX).into_iter();
    parts.extend(charts().map(|id| {
        let content = models.next().map(|(version, service)| model::model(version, service));
        (id, content.unwrap_or_default())
    }));
    parts
}
