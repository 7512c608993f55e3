//! Requests of two priorities on one queue.

use super::super::invariants::checked;
use super::super::*;
use crate::batch::{Limits, Policy, PolicyName};
use crate::queue_policy::TimeoutAction;

/// A fifth of them is of the highest priority, the others of the lowest.
fn mixed(policy: Policy, load: f64, deadline_of_low: Deadline) -> Scenario {
    let machine = Machine { noise: Noise::Gamma { shape: 100.0 }, ..Machine::line(5_000.0, 500.0) };
    let low = Kind { weight: 4.0, priority: 9, deadline: deadline_of_low, ..Kind::default() };
    Scenario {
        policy,
        limits: Limits { rows_max: 64, objective_us: Some(80_000.0), replicas: 1 },
        traffic: Traffic::Open(Arrivals::Poisson { per_s: load * machine.rows_per_s(64, 1e9) }),
        machine,
        kinds: vec![Kind { priority: 1, ..Kind::default() }, low],
        ..Scenario::default()
    }
}

#[test]
fn high_priorities_meet_their_deadlines_under_overload() {
    for policy in PolicyName::ALL.map(Policy::from) {
        let outcome = simulate(&mixed(policy.clone(), 2.0, Deadline::Objective), 1);
        let [high, low] = [&outcome.kinds[0], &outcome.kinds[1]];
        println!("{policy:?}: {:.3} and {:.3} good", high.good_share(), low.good_share());
        assert!(high.good_share() >= 0.97, "{policy:?}: {}", high.good_share());
    }
}

#[test]
fn low_priorities_wait_but_do_not_starve() {
    let mut scenario = mixed(Policy::default(), 1.2, Deadline::None);
    scenario.kinds[0] = Kind { weight: 8.0, deadline: Deadline::None, ..scenario.kinds[0].clone() };
    scenario.kinds[1].weight = 2.0;
    scenario.requests_max = 1_000_000;
    scenario.duration_us = 30_000_000;
    let outcome = simulate(&scenario, 1);
    let [high, low] = [&outcome.kinds[0], &outcome.kinds[1]];
    assert_eq!((high.answered, low.answered), (high.arrived, low.arrived));
    let waits_s = [high, low].map(|kind| kind.latency_us(1.0) as f64 / 1e6);
    println!("the longest waits: {waits_s:.1?} s");
    // Eight steps of a second lie between them; no more than that and a run, beside what all wait
    // for.
    assert!(waits_s[1] > 7.0 && waits_s[1] <= waits_s[0] + 8.1, "{waits_s:?}");
    let answered_before_the_end: u64 = outcome.intervals[..300].iter().map(|i| i.answered).sum();
    assert!(answered_before_the_end > high.arrived, "some of the low ones are among them");
}

/// Twice as many requests as the machine can answer, whose time in the queue is 20 ms.
fn limited(action: TimeoutAction) -> Scenario {
    let machine = Machine::line(5_000.0, 500.0);
    let wait = Some(WaitLimit { least_us: 20_000, most_us: 20_000, action });
    Scenario {
        limits: Limits { rows_max: 8, objective_us: None, replicas: 1 },
        requests_max: 1_000_000,
        traffic: Traffic::Open(Arrivals::Poisson { per_s: 2.0 * machine.rows_per_s(8, 1e9) }),
        machine,
        kinds: vec![Kind { deadline: Deadline::None, wait, ..Kind::default() }],
        duration_us: 2_000_000,
        ..Scenario::default()
    }
}

#[test]
fn a_rejected_request_has_waited_its_time_and_an_answered_one_has_not() {
    let outcome = checked(&limited(TimeoutAction::Reject), 1);
    let all = &outcome.kinds[0];
    assert!(all.expired > all.arrived / 3 && all.answered > all.arrived / 3, "{all:?}");
    // A run is 9 ms, and no part of the time in the queue.
    let longest_us = all.latency_us(1.0);
    assert!((20_000..=29_100).contains(&longest_us), "{longest_us}");
}

#[test]
fn delayed_requests_are_all_answered_in_the_end_and_the_others_in_time() {
    let outcome = checked(&limited(TimeoutAction::Delay), 1);
    let all = &outcome.kinds[0];
    assert_eq!((all.answered, all.expired), (all.arrived, 0));
    let (median_us, longest_us) = (all.latency_us(0.4), all.latency_us(1.0));
    assert!(median_us < 30_000 && longest_us > 1_000_000, "{median_us} and {longest_us}");
}

#[test]
fn delayed_requests_leave_at_their_deadlines_though_they_never_are_the_most_urgent() {
    let mut scenario = limited(TimeoutAction::Delay);
    scenario.kinds[0].deadline = Deadline::Between { least_us: 200_000, most_us: 200_000 };
    let outcome = checked(&scenario, 1);
    let all = &outcome.kinds[0];
    assert!(all.expired > all.arrived / 4 && all.answered > all.arrived / 3, "{all:?}");
    // No more wait than come in the time to the deadline.
    let most = outcome.total.arrived / 8;
    assert!((outcome.waiting_max as u64) < most, "{} of {most}", outcome.waiting_max);
}
