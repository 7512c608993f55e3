//! The parts of the page that change while somebody looks. Each has an id, by which its new
//! content finds its place.

mod model;
mod requests;
mod status;
mod totals;
mod versions;

use super::look::Look;
use maud::Markup;

/// Models whose charts are shown: the busiest.
const CHARTED_MAX: usize = 8;

/// The ids of the parts that change every second.
pub(super) const QUICK: [&str; 3] = ["status", "totals", "versions"];

/// The ids of the other parts besides the charts. They change with each step of the history.
pub(super) const SLOW: [&str; 2] = ["slow", "unanswered"];

/// The ids of the charts' places.
pub(super) fn charts() -> impl Iterator<Item = String> {
    (0..CHARTED_MAX).map(|place| format!("model-{place}"))
}

/// The content of the quick parts.
pub(super) fn quick(look: &Look) -> Vec<(String, Markup)> {
    let parts = [status::status(look), totals::totals(look), versions::versions(look)];
    QUICK.map(String::from).into_iter().zip(parts).collect()
}

/// The content of all others.
pub(super) fn slow(look: &Look) -> Vec<(String, Markup)> {
    let requests = [requests::slow(look), requests::unanswered(look)];
    let mut parts: Vec<_> = SLOW.map(String::from).into_iter().zip(requests).collect();
    let mut models = model::busiest(look, CHARTED_MAX).into_iter();
    parts.extend(charts().map(|id| {
        let content = models.next().map(|(version, service)| model::model(version, service));
        (id, content.unwrap_or_default())
    }));
    parts
}
