//! Loads and machines that change, and run times that were learned wrong.

use super::super::*;
use super::machines::{Bench, all};
use crate::batch::Policy;

const SECOND: u64 = 1_000_000;

fn good_and_late(bench: &Bench, policy: Policy) -> (Outcome, u64) {
    let arrivals = Arrivals::Bursts {
        per_s: 0.15 * bench.capacity_per_s(),
        times: 10.0,
        on_us: SECOND / 5,
        period_us: 2 * SECOND,
    };
    let scenario = Scenario {
        traffic: Traffic::Open(arrivals),
        duration_us: 10 * SECOND,
        ..bench.scenario(1.0, policy)
    };
    let outcome = simulate(&scenario, 1);
    let late = outcome.total.answered - outcome.total.good;
    (outcome, late)
}

#[test]
fn a_burst_costs_only_requests_of_the_burst() {
    for bench in all() {
        let (outcome, late) = good_and_late(&bench, Policy::default());
        let fixed = Policy::fixed(0);
        let (outcome_of_fixed, late_of_fixed) = good_and_late(&bench, fixed);
        println!(
            "{:12} good {:.3} against {:.3}, late {late} against {late_of_fixed}",
            bench.name,
            outcome.total.good_share(),
            outcome_of_fixed.total.good_share(),
        );
        // Bursts end with every second second; a tenth of a second is enough to be rid of them.
        let is_calm = |&(index, _): &(usize, &Interval)| (1..18).contains(&(index % 20));
        let calm = outcome.intervals.iter().enumerate().filter(is_calm);
        let (arrived, kept) =
            calm.fold((0, 0), |sum, (_, i)| (sum.0 + i.arrived, sum.1 + i.good_arrived));
        let allowed = if bench.machine.hiccups.is_some() { arrived / 100 } else { 0 };
        assert!(arrived - kept <= allowed, "{}: {kept} of {arrived}", bench.name);
        // Both refuse what they can not answer in time; predictive makes more of the burst.
        let good = outcome.total.good as f64 / outcome_of_fixed.total.good as f64;
        assert!(good >= 0.97, "{}: {good}", bench.name);
        assert!(late <= late_of_fixed + outcome.total.answered / 200, "{}: {late}", bench.name);
    }
}

/// Goodput as a part of what comes: while the machine is slow, from half a second after to a
/// whole one, and from then on.
fn slow_for_five_seconds(bench: &Bench) -> [f64; 3] {
    const LOAD: f64 = 0.6;
    let mut scenario = bench.scenario(LOAD, Policy::default());
    scenario.machine.paces = vec![Pace { from_us: 5 * SECOND, to_us: 10 * SECOND, times: SLOWER }];
    scenario.duration_us = 15 * SECOND;
    let outcome = simulate(&scenario, 1);
    let times =
        [(55, 100), (105, 110), (110, 149)].map(|(from, to)| (from * 100_000, to * 100_000));
    let parts = times.map(|(from_us, to_us)| {
        outcome.goodput_between_per_s(from_us, to_us) / (LOAD * bench.capacity_per_s())
    });
    println!("{:12} slow {:.2}, then {:.2}, then {:.2}", bench.name, parts[0], parts[1], parts[2]);
    parts
}

const SLOWER: f64 = 3.0;

#[test]
fn a_machine_that_becomes_slow_costs_no_more_than_that_and_recovers_within_a_second() {
    for bench in all() {
        let [slow, soon, later] = slow_for_five_seconds(&bench);
        assert!(soon >= 0.75 && later >= 0.9, "{}: {soon} {later}", bench.name);
        // Where its runs still leave time for the objective.
        if ["per row", "exact", "curve"].contains(&bench.name) {
            let run_us_max = bench.limits.run_us_max().unwrap() / SLOWER;
            let per_s = bench.machine.rows_per_s(bench.limits.rows_max, run_us_max) / SLOWER;
            let possible = per_s / (0.6 * bench.capacity_per_s());
            assert!(slow >= 0.8 * possible, "{}: {slow} of {possible}", bench.name);
        }
    }
}

fn known_wrong(bench: &Bench, times: f64, load: f64) -> Outcome {
    let known = Known::Calibrated { factor: times };
    simulate(&Scenario { known, ..bench.scenario(load, Policy::default()) }, 1)
}

#[test]
fn run_times_that_were_learned_too_short_mend_themselves() {
    for bench in all() {
        for times in [0.01, 0.1] {
            let outcome = known_wrong(&bench, times, 0.5);
            let per_s = outcome.goodput_between_per_s(3 * SECOND, 59 * SECOND / 10);
            let part = per_s / (0.5 * bench.capacity_per_s());
            println!("{:12} known as {times}: {part:.2}", bench.name);
            assert!(part >= 0.9, "{} {times}: {part}", bench.name);
        }
    }
}

#[test]
fn no_wrong_run_times_stop_the_queue() {
    for bench in all() {
        for (times, load) in [(10.0, 0.5), (100.0, 0.5), (100.0, 2.0)] {
            let outcome = known_wrong(&bench, times, load);
            let goodput = outcome.goodput_per_s() / (load.min(1.0) * bench.capacity_per_s());
            println!("{:12} known as {times} at {load}: {goodput:.2}", bench.name);
            assert!(goodput >= 0.7, "{} {times}: {goodput}", bench.name);
            // A run with a hiccup takes nearly two tenths of a second.
            let mut while_open = outcome.intervals[..59].windows(3);
            let answers = |window: &[Interval]| window.iter().any(|i| i.answered > 0);
            assert!(while_open.all(answers), "{} {times}", bench.name);
        }
    }
}
