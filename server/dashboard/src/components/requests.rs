//! The slowest requests and the last ones without a response, each with its cause.

use crate::chart::Ink;
use crate::format;
use crate::snapshot::{Service, Snapshot, Version};
use maud::{Markup, html};
use skysail_engine::error::ShedReason;
use skysail_engine::request_record::RequestRecord;
use skysail_engine::stage::Stage;
use std::cmp::Reverse;
use std::time::Instant;

/// Stages named beside a bar.
const STAGES_NAMED: usize = 2;

pub(super) fn slow(snapshot: &Snapshot) -> Markup {
    if snapshot.slow.is_empty() {
        return html! { p class="empty" { "No request was slow in the last five minutes." } };
    }
    html! {
        ul class="legend" aria-label="Colours of the stages" {
            @for stage in Stage::ALL { li class=(Ink::Stage(stage).class()) { (stage.name()) } }
        }
        table role="table" class="cards tail" {
            caption { "The slowest responses of the last five minutes" }
            (head(&["Took", "Why", "Where the time went", "Model", "Ended", "Request"]))
            tbody role="rowgroup" {
                @for record in &snapshot.slow {
                    tr role="row" {
                        (latency(record))
                        (why(record))
                        td role="cell" class="wide" data-label="Where the time went" { (stages(record)) }
                        (identity(record, snapshot.now))
                    }
                }
            }
        }
    }
}

pub(super) fn without_response(snapshot: &Snapshot) -> Markup {
    let counts: Vec<_> =
        snapshot.serving().flat_map(|(version, service)| counts(version, service)).collect();
    if counts.is_empty() && snapshot.without_response.is_empty() {
        return html! {
            p class="empty" { "Every request of the last five minutes has a response." }
        };
    }
    html! {
        table role="table" class="cards" {
            caption { "Requests of the last five minutes without a response, by reason" }
            (head(&["Reason", "Model", "Requests"]))
            tbody role="rowgroup" {
                @for (reason, version, count) in counts {
                    tr role="row" {
                        th role="rowheader" scope="row" { (reason) }
                        td role="cell" data-label="Model" { (named(&version.name, version.number)) }
                        td role="cell" class="number" data-label="Requests" { (format::count(count)) }
                    }
                }
            }
        }
        @if !snapshot.without_response.is_empty() { (last(snapshot)) }
    }
}

/// The last requests without a response.
fn last(snapshot: &Snapshot) -> Markup {
    html! {
        table role="table" class="cards tail" {
            caption { "The last of these requests" }
            (head(&["After", "Why", "Model", "Ended", "Request"]))
            tbody role="rowgroup" {
                @for record in &snapshot.without_response {
                    tr role="row" { (latency(record)) (why(record)) (identity(record, snapshot.now)) }
                }
            }
        }
    }
}

/// Requests of a version without a response, by reason.
fn counts<'a>(version: &'a Version, service: &Service) -> Vec<(&'static str, &'a Version, u64)> {
    let counted = &service.whole.counted;
    let shed: u64 = counted.shed.iter().sum();
    let rest = counted.failed.saturating_sub(shed + counted.broken);
    let by_reason =
        ShedReason::ALL.iter().zip(counted.shed).map(|(of, count)| (in_words(*of), count));
    let others = [
        ("the model or the server failed", counted.broken),
        ("the request was invalid or cancelled", rest),
    ];
    let all = by_reason.chain(others).filter(|(_, count)| *count > 0);
    all.map(|(reason, count)| (reason, version, count)).collect()
}

fn in_words(reason: ShedReason) -> &'static str {
    match reason {
        ShedReason::Overloaded => "overloaded: no response in time was possible",
        ShedReason::QueueFull => "queue_full: the model's queue was full",
        ShedReason::Expired => "expired: the timeout passed before the request ran",
        ShedReason::Busy => "busy: the server was at a limit",
    }
}

fn head(columns: &[&str]) -> Markup {
    let is_number = |column: &str| column == "Requests";
    html! {
        thead role="rowgroup" {
            tr role="row" {
                @for column in columns {
                    th role="columnheader" scope="col" class=[is_number(column).then_some("number")] {
                        (column)
                    }
                }
            }
        }
    }
}

fn latency(record: &RequestRecord) -> Markup {
    let name = record.outcome.name();
    html! {
        th role="rowheader" scope="row" class="took" {
            (format::time(record.total_us() as f64))
            @if name == "missed" { " " span class="pill failed" { "late" } }
        }
    }
}

fn why(record: &RequestRecord) -> Markup {
    html! {
        td role="cell" class="wide" data-label="Why" {
            (record.explanation())
            @if let Some(run) = record.run {
                div class="muted" {
                    "batch " (format::count(run.number)) " of " (run.rows)
                    @if run.rows == 1 { " row" } @else { " rows" }
                    ", ran " (format::time(run.ran_us as f64))
                    @if let Some(us) = run.predicted_us {
                        ", predicted " (format::time(us as f64))
                    }
                }
            }
        }
    }
}

/// Cells that identify the request.
fn identity(record: &RequestRecord, now: Instant) -> Markup {
    let ago = now.saturating_duration_since(record.ended());
    html! {
        td role="cell" data-label="Model" { (named(&record.model, record.version)) }
        td role="cell" data-label="Ended" { span class="whole" { (format::duration(ago)) " ago" } }
        td role="cell" data-label="Request" { code { (record.request_id) } }
    }
}

fn named(name: &str, version: u64) -> Markup {
    html! { div { span class="name" { (name) } " " span class="muted whole" { "version " (version) } } }
}

/// A bar of the stages, with the longest in words.
fn stages(record: &RequestRecord) -> Markup {
    let times = Stage::ALL.map(|stage| (stage, record.stage_us(stage).unwrap_or(0)));
    let total = record.total_us().max(1) as f64;
    let mut left = 0.0;
    let bars = times.map(|(stage, us)| {
        let (from, width) = (left, us as f64 / total * 100.0);
        left += width;
        (stage, from, width)
    });
    let mut longest = times;
    longest.sort_by_key(|(_, us)| Reverse(*us));
    let longest = longest.iter().take(STAGES_NAMED).filter(|(_, us)| *us > 0);
    let longest =
        longest.map(|(stage, us)| format!("{} {}", stage.name(), format::time(*us as f64)));
    html! {
        svg class="stages" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect class="area grid" width="100" height="8" {}
            @for (stage, from, width) in bars.into_iter().filter(|(.., width)| *width >= 0.1) {
                rect class={ "area " (stage.name()) } x=(format!("{from:.1}"))
                    width=(format!("{width:.1}")) height="8" {}
            }
        }
        div class="muted" { (longest.collect::<Vec<_>>().join(", ")) }
    }
}
