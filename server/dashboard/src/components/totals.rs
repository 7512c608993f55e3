//! Figures of the whole server.

use crate::format;
use crate::sample::{Counted, ratio};
use crate::snapshot::Snapshot;
use maud::{Markup, html};
use skysail_engine::repository::State;

pub(super) fn totals(snapshot: &Snapshot) -> Markup {
    let rate = |of: fn(&Counted) -> u64| -> f64 {
        snapshot.serving().map(|(_, s)| s.recent.rate(of(&s.recent.counted))).sum()
    };
    let sum = |of: fn(&Counted) -> u64| -> u64 {
        snapshot.serving().map(|(_, s)| of(&s.whole.counted)).sum()
    };
    let shed = |counted: &Counted| counted.shed.iter().sum();
    let waiting: usize = snapshot.serving().map(|(_, s)| s.facts.waiting).sum();
    let [busy, replicas] = snapshot.serving().fold([0, 0], |[busy, replicas], (_, service)| {
        [busy + service.facts.busy, replicas + service.facts.replicas]
    });
    let ready = snapshot.versions.iter().filter(|version| version.state == State::Ready).count();
    let (objective, in_time) = in_time(snapshot);
    let process = snapshot.process;
    html! {
        dl class="tiles" {
            (tile("Requests answered", &format::number(rate(|c| c.answered)), "per second",
                &format!("{} in five minutes", format::count(sum(|c| c.answered)))))
            (tile("Within the objective", &in_time, "", &objective))
            (tile("Shed", &format::number(rate(shed)), "per second",
                &format!("{} in five minutes", format::count(sum(shed)))))
            (tile("Waiting", &format::count(waiting as u64), "in queues",
                &format!("{busy} of {replicas} replicas busy")))
            (tile("Versions ready", &ready.to_string(), &format!("of {}", snapshot.versions.len()),
                not_ready(snapshot)))
            (tile("Cores busy", &format!("{:.1}", process.cores_busy), "",
                &format!("{} of memory", format::bytes(process.resident_bytes))))
        }
    }
}

fn tile(name: &str, value: &str, unit: &str, note: &str) -> Markup {
    html! {
        div class="tile" {
            dt { (name) }
            dd class="value" { (value) @if !unit.is_empty() { " " span class="unit" { (unit) } } }
            dd class="note" { (note) }
        }
    }
}

/// Share of responses within the objective in the last five minutes, with a note.
fn in_time(snapshot: &Snapshot) -> (String, String) {
    let with = || snapshot.serving().filter(|(_, service)| service.facts.objective_us.is_some());
    let (mut answered, mut missed) = (0, 0);
    for (_, service) in with() {
        answered += service.whole.counted.answered;
        missed += service.whole.counted.missed;
    }
    let note = match (with().count(), answered) {
        (0, _) => "no model has one".to_owned(),
        (_, 0) => "no responses in five minutes".to_owned(),
        _ => format!("{} late in five minutes", format::count(missed)),
    };
    let share = ratio(answered.saturating_sub(missed), answered);
    (note, share.map_or_else(|| format::NOTHING.to_owned(), format::share))
}

fn not_ready(snapshot: &Snapshot) -> &'static str {
    let is = |state| snapshot.versions.iter().any(|version| version.state == state);
    let is_stalled = snapshot.serving().any(|(_, service)| service.facts.is_stalled);
    match (is_stalled, is(State::Loading), is(State::Unavailable)) {
        (true, ..) => "a queue is stalled",
        (_, true, _) => "one is being loaded",
        (_, _, true) => "see the table",
        _ => "all known versions",
    }
}
