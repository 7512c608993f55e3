//! A version in service: settings and charts.

use crate::chart::{Chart, Ink, Kind, Series};
use crate::format;
use crate::history::Change;
use crate::snapshot::{Service, Snapshot, Version};
use maud::{Markup, html};
use skysail_engine::stage::Stage;
use std::cmp::Reverse;

/// Smallest share of the total time for a stage to stand in the legend.
const LEGEND_SHARE: f64 = 0.02;

/// The versions with the most requests, by name.
pub(super) fn busiest(snapshot: &Snapshot, count: usize) -> Vec<(&Version, &Service)> {
    let mut serving: Vec<_> = snapshot.serving().collect();
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

/// Settings and state, in words.
fn facts(service: &Service) -> Vec<String> {
    let facts = &service.facts;
    let plural = |count: usize, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    let threads = plural(facts.threads, "thread", "threads");
    let replicas = plural(facts.replicas, "replica", "replicas");
    let mut texts = vec![format!("{replicas} of {threads}, {} busy", facts.busy)];
    texts.push(match facts.rows_max {
        0 => "no batches".to_owned(),
        rows => format!("batches of up to {rows} rows"),
    });
    texts.extend(facts.weights_bytes.map(|bytes| format!("weights {}", format::bytes(bytes))));
    texts.extend(facts.cache.map(|cache| {
        let hits = service.whole.counted.cache_hits();
        let hits = hits.map_or_else(String::new, |hits| format!(", {} hits", format::share(hits)));
        let responses = if cache.entries == 1 { "response" } else { "responses" };
        let entries = format::count(cache.entries as u64);
        format!("cache of {entries} {responses}, {}{hits}", format::bytes(cache.bytes))
    }));
    texts
}

/// Values of the steps.
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
    Series { name, ink, now, values: over_time(service, value), in_legend: true }
}

fn requests(service: &Service) -> Chart<'static> {
    let answered = |change: &Change| Some(change.rate(change.counted.answered));
    let failed = |change: &Change| Some(change.rate(change.counted.failed));
    Chart {
        title: "Requests per second",
        format: format::number,
        kind: Kind::Stack,
        series: vec![
            series(service, "answered", Ink::Answered, answered),
            series(service, "shed or failed", Ink::Failed, failed),
        ],
        objective: None,
    }
}

fn latency(service: &Service) -> Chart<'static> {
    let quantile = |part: f64| move |change: &Change| change.counted.latency_us(part);
    Chart {
        title: "Latency",
        format: format::time,
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
        series(service, stage.name(), Ink::Stage(stage), move |change| {
            change.counted.stage_us(stage)
        })
    };
    let mut series = Stage::ALL.map(of);
    let total: f64 = series.iter().filter_map(|one| one.now).sum();
    for one in &mut series {
        one.in_legend = one.now.is_some_and(|us| us >= LEGEND_SHARE * total);
    }
    Chart {
        title: "Mean time in each stage",
        format: format::time,
        kind: Kind::Stack,
        series: series.into(),
        objective: None,
    }
}

fn batches(service: &Service) -> Chart<'static> {
    let rows = |change: &Change| change.counted.rows_per_run();
    Chart {
        title: "Batch size",
        format: format::number,
        kind: Kind::Lines,
        series: vec![series(service, "mean rows", Ink::Size, rows)],
        objective: None,
    }
}
