//! The table of all known versions, in service or not.

use crate::format;
use crate::snapshot::{Facts, Service, Snapshot, VERSIONS_MAX, Version};
use maud::{Markup, html};
use skysail_engine::repository::State;

const COLUMNS: [&str; 10] = [
    "Model",
    "State",
    "Requests/s",
    "p50",
    "p99",
    "Objective",
    "Rows per batch",
    "Waiting",
    "Replicas",
    "Cache hits",
];

pub(super) fn versions(snapshot: &Snapshot) -> Markup {
    if snapshot.versions.is_empty() {
        return html! { p class="empty" { "The repository holds no model." } };
    }
    html! {
        table role="table" class="cards" {
            caption { "All versions in the repository, with figures of the last ten seconds" }
            thead role="rowgroup" {
                tr role="row" {
                    @for (index, column) in COLUMNS.iter().enumerate() {
                        th role="columnheader" scope="col" class=[(index > 1).then_some("number")] {
                            (column)
                        }
                    }
                }
            }
            tbody role="rowgroup" {
                @for version in snapshot.versions.iter().take(VERSIONS_MAX) { (row(version)) }
            }
        }
        @if let Some(more @ 1..) = snapshot.versions.len().checked_sub(VERSIONS_MAX) {
            p class="empty" { "And " (format::count(more as u64)) " more." }
        }
    }
}

fn row(version: &Version) -> Markup {
    let (class, state) = state(version);
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                span class="name" { (version.name) }
                @if version.number > 0 { " " span class="muted whole" { "version " (version.number) } }
            }
            td role="cell" data-label="State" {
                div {
                    span class={ "pill " (class) } { (state) }
                    @if !version.reason.is_empty() { div class="reason" { (version.reason) } }
                    @if let Some(why) = runs_alone(version) {
                        div class="muted" { "Runs requests alone: " (why) }
                    }
                }
            }
            @match &version.service {
                Some(service) => (figures(service)),
                None => td role="cell" class="nothing" colspan="8" {},
            }
        }
    }
}

/// Reason why requests of a version run alone.
fn runs_alone(version: &Version) -> Option<&str> {
    version.service.as_ref()?.facts.runs_alone.as_deref()
}

/// The class and the word for a state.
fn state(version: &Version) -> (&'static str, &'static str) {
    let is_stalled = version.service.as_ref().is_some_and(|service| service.facts.is_stalled);
    match (version.state, version.reason.as_str()) {
        (State::Ready, _) if is_stalled => ("failed", "Stalled"),
        (State::Ready, _) => ("ready", "Ready"),
        (State::Loading, _) => ("loading", "Loading"),
        (State::Unloading, _) => ("loading", "Unloading"),
        (State::Unavailable, "" | "unloaded" | "not loaded") => ("off", "Not loaded"),
        (State::Unavailable, _) => ("failed", "Failed"),
    }
}

fn figures(service: &Service) -> Markup {
    let Service { facts, recent, .. } = service;
    let counted = &recent.counted;
    let rows = counted.rows_per_run().map_or_else(|| format::NOTHING.to_owned(), format::number);
    let hits = counted.cache_hits().map_or_else(|| format::NOTHING.to_owned(), format::share);
    let objective = facts.objective_us.map(|us| us as f64);
    let p99 = counted.latency_us(0.99);
    html! {
        (cell("Requests/s", &format::number(recent.rate(counted.answered))))
        (cell("p50", &format::maybe_time(counted.latency_us(0.5))))
        td role="cell" class="number" data-label="p99" {
            div { (format::maybe_time(p99)) (against(p99, objective)) }
        }
        (cell("Objective", &format::maybe_time(objective)))
        (cell("Rows per batch", &rows))
        (cell("Waiting", &format::count(facts.waiting as u64)))
        (cell("Replicas", &replicas(facts)))
        (cell("Cache hits", &hits))
    }
}

fn cell(label: &str, value: &str) -> Markup {
    html! { td role="cell" class="number" data-label=(label) { (value) } }
}

/// Replicas and threads, such as `2 × 1 thread`.
fn replicas(facts: &Facts) -> String {
    let threads = if facts.threads == 1 { "thread" } else { "threads" };
    format!("{} × {} {threads}", facts.replicas, facts.threads)
}

/// A bar of the share of the objective that a time takes.
fn against(us: Option<f64>, objective_us: Option<f64>) -> Markup {
    let (Some(us), Some(objective_us)) = (us, objective_us) else { return Markup::default() };
    let part = us / objective_us;
    let width = (part * 100.0).clamp(1.0, 100.0).round();
    let class = match part {
        ..=0.8 => "within",
        ..=1.0 => "near",
        _ => "beyond",
    };
    html! {
        svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" role="img"
            aria-label={ (format::share(part.min(1.0))) " of the objective" } {
            rect class="area grid" width="100" height="4" {}
            rect class={ "area " (class) } width=(width) height="4" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Process;
    use std::time::Instant;

    #[test]
    fn names_and_reasons_are_escaped() {
        let version = Version {
            name: "<script>alert(1)</script>".into(),
            number: 1,
            state: State::Unavailable,
            reason: "\"<img src=x>\"".into(),
            service: None,
        };
        let snapshot = Snapshot {
            is_ready: true,
            process: Process::default(),
            versions: vec![version],
            slow: Vec::new(),
            without_response: Vec::new(),
            now: Instant::now(),
        };
        let html = versions(&snapshot).into_string();
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert!(html.contains(">Failed<"), "{html}");
    }

    #[test]
    fn a_bar_shows_the_share_of_the_objective() {
        let bar = |us| against(Some(us), Some(1000.0)).into_string();
        assert!(bar(500.0).contains("within") && bar(500.0).contains("width=\"50\""));
        assert!(bar(900.0).contains("near"));
        assert!(bar(5000.0).contains("beyond") && bar(5000.0).contains("width=\"100\""));
        assert_eq!(against(Some(1.0), None).into_string(), "");
    }
}
