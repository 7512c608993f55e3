//! Tests of the order, by hand and in simulated time.

use super::*;
use proptest::prelude::*;

const LIMITS: LoadLimits =
    LoadLimits { slots: 2, running_max: 4, turn_us: 100, patience_us: 10_000 };

fn order(bytes: &[u64]) -> LoadOrder<usize> {
    let mut order = LoadOrder::new(LIMITS);
    bytes.iter().enumerate().for_each(|(key, bytes)| order.push(key, *bytes, 0));
    order
}

#[test]
fn the_cheapest_go_first_and_as_many_as_there_are_slots() {
    let mut order = order(&[30, 10, 20, 40]);
    assert_eq!([order.start(0), order.start(0), order.start(0)], [Some(1), Some(2), None]);
    order.finish(&2);
    assert_eq!([order.start(1), order.start(1)], [Some(0), None]);
}

#[test]
fn what_is_asked_for_goes_first_in_the_order_of_asking() {
    let mut order = order(&[10, 20, 30, 40]);
    order.ask(|key| *key == 3);
    order.ask(|key| *key == 2);
    order.ask(|key| *key == 3);
    assert_eq!([order.start(0), order.start(0)], [Some(3), Some(2)]);
    order.finish(&3);
    order.finish(&2);
    assert_eq!(order.start(0), Some(0));
}

#[test]
fn a_long_load_gives_its_slot_up_and_still_counts_against_the_limit() {
    let mut order = order(&[1, 2, 3, 4, 5]);
    assert_eq!([order.start(0), order.start(10)], [Some(0), Some(1)]);
    assert_eq!((order.start(99), order.next_turn_us(99)), (None, Some(100)));
    assert_eq!([order.start(100), order.start(110)], [Some(2), Some(3)]);
    // Four run: the fifth waits for one of them to end.
    assert_eq!((order.start(9_000), order.next_turn_us(9_000)), (None, None));
    order.finish(&0);
    assert_eq!(order.start(9_000), Some(4));
}

#[test]
fn a_load_that_waits_too_long_goes_before_cheaper_ones() {
    let mut order = order(&[1_000]);
    order.push(7, 1, 9_999);
    assert_eq!(order.start(10_001), Some(0));
}

#[test]
fn a_load_is_taken_back_only_while_it_waits() {
    let mut order = order(&[1, 2]);
    assert!(order.withdraw(&1) && !order.withdraw(&1));
    assert_eq!(order.start(0), Some(0));
    assert!(!order.withdraw(&0));
    // The same load again waits for the end of the one that runs.
    order.push(0, 1, 5);
    assert_eq!(order.start(500), None);
    order.finish(&0);
    assert_eq!(order.start(500), Some(0));
}

/// A load of the simulation.
#[derive(Clone, Debug)]
struct Load {
    arrives_us: u64,
    bytes: u64,
    takes_us: u64,
    asked_us: Option<u64>,
}

fn load() -> impl Strategy<Value = Load> {
    let asked = prop::option::of(0..3_000_u64);
    (0..2_000_u64, 1..1_000_u64, 1..2_000_u64, asked).prop_map(
        |(arrives_us, bytes, takes_us, asked_us)| Load { arrives_us, bytes, takes_us, asked_us },
    )
}

/// Runs loads to their end in steps of simulated time. Returns the time of each start.
fn simulate(limits: LoadLimits, loads: &[Load]) -> Vec<u64> {
    const STEP_US: u64 = 10;
    let mut order = LoadOrder::new(limits);
    let mut starts = vec![None; loads.len()];
    for now_us in (0..1_000_000).step_by(STEP_US as usize) {
        let since = |time: u64| time <= now_us && now_us < time + STEP_US;
        for (key, load) in loads.iter().enumerate() {
            if starts[key].is_some_and(|start| since(start + load.takes_us)) {
                order.finish(&key);
            }
            if since(load.arrives_us) {
                order.push(key, load.bytes, now_us);
            }
            if load.asked_us.is_some_and(since) {
                order.ask(|other| *other == key);
            }
        }
        check_step(&mut order, limits, now_us, &mut starts, loads);
        if starts.iter().all(Option::is_some) {
            return starts.into_iter().flatten().collect();
        }
    }
    panic!("some loads never start")
}

/// Starts all loads that may start now, and checks each choice.
fn check_step(
    order: &mut LoadOrder<usize>,
    limits: LoadLimits,
    now_us: u64,
    starts: &mut [Option<u64>],
    loads: &[Load],
) {
    loop {
        let before = order.waiting.clone();
        let in_turn = order.running.values().filter(|s| *s + limits.turn_us > now_us).count();
        let room = in_turn < limits.slots && order.running.len() < limits.running_max;
        let Some(key) = order.start(now_us) else {
            assert!(!room || before.is_empty(), "a core is idle while a load waits");
            return;
        };
        assert!(room, "more run than the limits allow");
        assert!(starts[key].replace(now_us).is_none(), "a load starts once");
        let chosen = before[&key];
        let is_overdue = now_us - chosen.since_us > limits.patience_us;
        for waiting in before.values() {
            let goes_before = waiting.asked.is_some() && chosen.asked.is_none();
            assert!(!goes_before, "one that is asked for waits for another");
            if chosen.asked.is_none() && !is_overdue {
                assert!(loads[key].bytes <= waiting.bytes, "a cheaper one waits");
            }
        }
    }
}

proptest! {
    #[test]
    fn every_load_starts_in_order_and_within_the_limits(
        loads in prop::collection::vec(load(), 1..30),
        slots in 1..4_usize,
        more in 0..4_usize,
        turn_us in 1..500_u64,
        patience_us in 100..5_000_u64,
    ) {
        let limits = LoadLimits { slots, running_max: slots + more, turn_us, patience_us };
        simulate(limits, &loads);
    }

    #[test]
    fn nobody_waits_for_the_end_of_another(
        loads in prop::collection::vec(load(), 1..30),
        slots in 1..4_usize,
    ) {
        let limits = LoadLimits { slots, running_max: 64, turn_us: 50, patience_us: 5_000 };
        let starts = simulate(limits, &loads);
        for (load, start_us) in loads.iter().zip(starts) {
            // All others have at most one turn each before it, whatever they take.
            let turns_us = 60 * (loads.len() / slots + 1) as u64;
            prop_assert!(start_us <= load.arrives_us + turns_us + 10, "{load:?} at {start_us}");
        }
    }
}
