//! One version in service: how it is served, and its charts.

use crate::dashboard::chart::{Chart, Ink, Kind, Series};
use crate::dashboard::history::Change;
use crate::dashboard::look::{Look, Service, Version};
use crate::dashboard::words;
use maud::{Markup, html};
use skysail_engine::stage::Stage;
use std::cmp::Reverse;

/// The part of all stages' time that one must take to be told in words.
const TOLD_SHARE: f64 = 0.02;

/// The versions that answered or refused most, by name.
pub(super) fn busiest(look: &Look, count: usize) -> Vec<(&Version, &Service)> {
    let mut serving: Vec<_> = look.serving().collect();
    serving.sort_by_key(|(_, service)| {
        let counted = &service.whole.counted;
        Reverse(counted.answered + counted.failed)
    });
    serving.truncate(count);
    serving.sort_by_key(|(version, _)| (&version.name, version.number));
    serving
}

pub(super) fn model(version: &Version, service: &Service) -> Markup {
    html! {
        article class="model" {
            h3 { (version.name) " " span class="muted" { "version " (version.number) } }
            p class="facts" {
                @for fact in facts(service) { span { (fact) } " " }
            }
            div class="charts" {
                (requests(service).figure())
                (latency(service).figure())
                (stages(service).figure())
                (batches(service).figure())
            }
        }
    }
}

/// How it is served, in words.
fn facts(service: &Service) -> Vec<String> {
    let facts = &service.facts;
    let plural = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    let threads = plural(facts.threads, "thread", "threads");
    let replicas = plural(facts.replicas, "replica", "replicas");
    let mut words = vec![format!("{replicas} of {threads}, {} busy", facts.busy)];
    words.push(match facts.rows_max {
        0 => "no batches".to_owned(),
        rows => format!("batches of up to {rows} rows"),
    });
    words.extend(facts.weights_bytes.map(|bytes| format!("weights {}", words::bytes(bytes))));
    words.extend(facts.cache.map(|cache| {
        let hits = service.whole.counted.cache_hits();
        let hits = hits.map_or_else(String::new, |hits| format!(", {} hits", words::share(hits)));
        let answers = if cache.entries == 1 { "answer" } else { "answers" };
        let entries = words::count(cache.entries as u64);
        format!("cache of {entries} {answers}, {}{hits}", words::bytes(cache.bytes))
    }));
    words
}

/// A value for each step.
fn over_time(service: &Service, value: impl Fn(&Change) -> Option<f64>) -> Vec<Option<f64>> {
    service.steps.iter().map(|step| step.as_ref().and_then(&value)).collect()
}

fn series<'a>(
    service: &Service,
    name: &'a str,
    ink: Ink,
    value: impl Fn(&Change) -> Option<f64>,
) -> Series<'a> {
    let now = value(&service.recent);
    Series { name, ink, now, values: over_time(service, value), is_told: true }
}

fn requests(service: &Service) -> Chart<'static> {
    let answered = |change: &Change| Some(change.rate(change.counted.answered));
    let refused = |change: &Change| Some(change.rate(change.counted.failed));
    Chart {
        title: "Requests a second",
        in_words: words::number,
        kind: Kind::Stack,
        series: vec![
            series(service, "answered", Ink::Answered, answered),
            series(service, "refused or failed", Ink::Refused, refused),
        ],
        objective: None,
    }
}

fn latency(service: &Service) -> Chart<'static> {
    let quantile = |part: f64| move |change: &Change| change.counted.latency_us(part);
    Chart {
        title: "Latency",
        in_words: words::time,
        kind: Kind::Lines,
        series: vec![
            series(service, "p50", Ink::P50, quantile(0.5)),
            series(service, "p99", Ink::P99, quantile(0.99)),
        ],
        objective: service.facts.objective_us.map(|us| us as f64),
    }
}

fn stages(service: &Service) -> Chart<'static> {
    let of = |stage: Stage| {
        series(service, stage.name(), Ink::Of(stage), move |change| change.counted.stage_us(stage))
    };
    let mut series = Stage::ALL.map(of);
    let total: f64 = series.iter().filter_map(|one| one.now).sum();
    for one in &mut series {
        one.is_told = one.now.is_some_and(|us| us >= TOLD_SHARE * total);
    }
    Chart {
        title: "Time in each stage, on average",
        in_words: words::time,
        kind: Kind::Stack,
        series: series.into(),
        objective: None,
    }
}

fn batches(service: &Service) -> Chart<'static> {
    let rows = |change: &Change| change.counted.rows_a_run();
    Chart {
        title: "Batch size",
        in_words: words::number,
        kind: Kind::Lines,
        series: vec![series(service, "rows, on average", Ink::Size, rows)],
        objective: None,
    }
}
