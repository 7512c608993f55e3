//! The slowest requests and the last without an answer, each with its cause.

use crate::dashboard::chart::Ink;
use crate::dashboard::look::{Look, Service, Version};
use crate::dashboard::words;
use maud::{Markup, html};
use skysail_engine::error::Refusal;
use skysail_engine::request_record::RequestRecord;
use skysail_engine::stage::Stage;
use std::cmp::Reverse;
use std::time::Instant;

/// Stages named in words beside a bar.
const STAGES_NAMED: usize = 2;

pub(super) fn slow(look: &Look) -> Markup {
    if look.slow.is_empty() {
        return html! { p class="empty" { "No request was slow in the last five minutes." } };
    }
    html! {
        ul class="legend" aria-label="Colours of the stages" {
            @for stage in Stage::ALL { li class=(Ink::Of(stage).class()) { (stage.name()) } }
        }
        table role="table" class="cards tail" {
            caption { "The slowest answers of the last five minutes" }
            (head(&["Took", "Why", "Where the time went", "Model", "Ended", "Request"]))
            tbody role="rowgroup" {
                @for record in &look.slow {
                    tr role="row" {
                        (took(record))
                        (why(record))
                        td role="cell" class="wide" data-label="Where the time went" { (stages(record)) }
                        (whose(record, look.now))
                    }
                }
            }
        }
    }
}

pub(super) fn unanswered(look: &Look) -> Markup {
    let counts: Vec<_> =
        look.serving().flat_map(|(version, service)| counts(version, service)).collect();
    if counts.is_empty() && look.unanswered.is_empty() {
        return html! {
            p class="empty" { "Every request of the last five minutes was answered." }
        };
    }
    html! {
        table role="table" class="cards" {
            caption { "Requests of the last five minutes without an answer, by reason" }
            (head(&["Reason", "Model", "Requests"]))
            tbody role="rowgroup" {
                @for (reason, version, count) in counts {
                    tr role="row" {
                        th role="rowheader" scope="row" { (reason) }
                        td role="cell" data-label="Model" { (named(&version.name, version.number)) }
                        td role="cell" class="number" data-label="Requests" { (words::count(count)) }
                    }
                }
            }
        }
        @if !look.unanswered.is_empty() { (last(look)) }
    }
}

/// The last requests without an answer.
fn last(look: &Look) -> Markup {
    html! {
        table role="table" class="cards tail" {
            caption { "The last of them" }
            (head(&["After", "Why", "Model", "Ended", "Request"]))
            tbody role="rowgroup" {
                @for record in &look.unanswered {
                    tr role="row" { (took(record)) (why(record)) (whose(record, look.now)) }
                }
            }
        }
    }
}

/// How many of a version got no answer, for each reason that there was.
fn counts<'a>(version: &'a Version, service: &Service) -> Vec<(&'static str, &'a Version, u64)> {
    let counted = &service.whole.counted;
    let refused: u64 = counted.refusals.iter().sum();
    let rest = counted.failed.saturating_sub(refused + counted.broken);
    let refusals =
        Refusal::ALL.iter().zip(counted.refusals).map(|(of, count)| (in_words(*of), count));
    let others = [
        ("the model or the server failed", counted.broken),
        ("the request was no good, or its caller left", rest),
    ];
    let all = refusals.chain(others).filter(|(_, count)| *count > 0);
    all.map(|(reason, count)| (reason, version, count)).collect()
}

fn in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Overloaded => "overloaded: no answer in time was possible",
        Refusal::QueueFull => "queue_full: the model's queue was full",
        Refusal::Expired => "expired: its time was over before it ran",
        Refusal::Busy => "busy: the server was full",
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

fn took(record: &RequestRecord) -> Markup {
    let name = record.outcome.name();
    html! {
        th role="rowheader" scope="row" class="took" {
            (words::time(record.total_us() as f64))
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
                    "batch " (words::count(run.number)) " of " (run.rows)
                    @if run.rows == 1 { " row" } @else { " rows" }
                    ", ran " (words::time(run.ran_us as f64))
                    @if let Some(us) = run.predicted_us {
                        ", predicted " (words::time(us as f64))
                    }
                }
            }
        }
    }
}

/// The cells that say which request it was.
fn whose(record: &RequestRecord, now: Instant) -> Markup {
    let ago = now.saturating_duration_since(record.ended());
    html! {
        td role="cell" data-label="Model" { (named(&record.model, record.version)) }
        td role="cell" data-label="Ended" { span class="whole" { (words::lasted(ago)) " ago" } }
        td role="cell" data-label="Request" { code { (record.request_id) } }
    }
}

fn named(name: &str, version: u64) -> Markup {
    html! { div { span class="name" { (name) } " " span class="muted whole" { "version " (version) } } }
}

/// A bar of the stages, and the longest in words.
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
        longest.map(|(stage, us)| format!("{} {}", stage.name(), words::time(*us as f64)));
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
