//! The figures of the whole server.

use crate::dashboard::look::Look;
use crate::dashboard::sample::part;
use crate::dashboard::words;
use maud::{Markup, html};
use skysail_engine::repository::State;

pub(super) fn totals(look: &Look) -> Markup {
    let rate = |of: fn(&crate::dashboard::sample::Counted) -> u64| -> f64 {
        look.serving().map(|(_, s)| s.recent.rate(of(&s.recent.counted))).sum()
    };
    let sum = |of: fn(&crate::dashboard::sample::Counted) -> u64| -> u64 {
        look.serving().map(|(_, s)| of(&s.whole.counted)).sum()
    };
    let refused = |counted: &crate::dashboard::sample::Counted| counted.refusals.iter().sum();
    let waiting: usize = look.serving().map(|(_, s)| s.facts.waiting).sum();
    let [busy, replicas] = look.serving().fold([0, 0], |[busy, replicas], (_, service)| {
        [busy + service.facts.busy, replicas + service.facts.replicas]
    });
    let ready = look.versions.iter().filter(|version| version.state == State::Ready).count();
    let (objective, in_time) = in_time(look);
    let process = look.process;
    html! {
        dl class="tiles" {
            (tile("Requests answered", &words::number(rate(|c| c.answered)), "a second",
                &format!("{} in five minutes", words::count(sum(|c| c.answered)))))
            (tile("Within the objective", &in_time, "", &objective))
            (tile("Refused", &words::number(rate(refused)), "a second",
                &format!("{} in five minutes", words::count(sum(refused)))))
            (tile("Waiting", &words::count(waiting as u64), "in queues",
                &format!("{busy} of {replicas} replicas busy")))
            (tile("Versions ready", &ready.to_string(), &format!("of {}", look.versions.len()),
                not_ready(look)))
            (tile("Cores busy", &format!("{:.1}", process.cores_busy), "",
                &format!("{} of memory", words::bytes(process.resident_bytes))))
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

/// Over the last five minutes, of the models that have an objective.
fn in_time(look: &Look) -> (String, String) {
    let with = || look.serving().filter(|(_, service)| service.facts.objective_us.is_some());
    let (mut answered, mut missed) = (0, 0);
    for (_, service) in with() {
        answered += service.whole.counted.answered;
        missed += service.whole.counted.missed;
    }
    let note = match (with().count(), answered) {
        (0, _) => "no model has one".to_owned(),
        (_, 0) => "no answers in five minutes".to_owned(),
        _ => format!("{} late in five minutes", words::count(missed)),
    };
    let share = part(answered.saturating_sub(missed), answered);
    (note, share.map_or_else(|| words::NOTHING.to_owned(), words::share))
}

fn not_ready(look: &Look) -> &'static str {
    let is = |state| look.versions.iter().any(|version| version.state == state);
    let is_stalled = look.serving().any(|(_, service)| service.facts.is_stalled);
    match (is_stalled, is(State::Loading), is(State::Unavailable)) {
        (true, ..) => "a queue stands still",
        (_, true, _) => "one is being loaded",
        (_, _, true) => "see the table",
        _ => "all that are known",
    }
}
