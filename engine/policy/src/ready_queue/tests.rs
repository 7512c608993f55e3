//! The order, and that nothing is lost or counted twice.

use super::*;
use crate::priority::Priority;
use proptest::prelude::*;

fn demand(rows: usize, deadline_us: u64) -> Demand {
    Demand {
        rows,
        queued_us: 0,
        deadline_us: Some(deadline_us),
        start_by: None,
        priority: Priority::default(),
    }
}

fn waiting(items: &[(char, u8, usize, u64)]) -> ReadyQueue<char, u8> {
    let mut waiting = ReadyQueue::default();
    for &(item, batch_key, rows, deadline_us) in items {
        waiting.push(item, demand(rows, deadline_us), batch_key);
    }
    waiting
}

fn batch(waiting: &mut ReadyQueue<char, u8>, rows_max: usize) -> String {
    let batch = waiting.take_batch(rows_max, |_| false, |_| false, &mut Vec::new());
    batch.iter().map(|waiter| waiter.item).collect()
}

#[test]
fn a_batch_is_of_the_most_urgent_lane_in_the_order_of_deadlines() {
    let mut waiting =
        waiting(&[('a', 0, 1, 50), ('b', 1, 1, 30), ('c', 0, 1, 20), ('d', 1, 1, 40)]);
    assert_eq!(waiting.head().unwrap().rows, 2);
    assert_eq!(batch(&mut waiting, 8), "ca");
    assert_eq!(batch(&mut waiting, 8), "bd");
    assert_eq!(batch(&mut waiting, 8), "");
}

#[test]
fn equal_deadlines_keep_the_order_of_arrival() {
    let mut waiting = waiting(&[('a', 0, 1, 9), ('b', 0, 1, 9), ('c', 0, 1, 9)]);
    assert_eq!(batch(&mut waiting, 2), "ab");
    assert_eq!(batch(&mut waiting, 2), "c");
}

#[test]
fn a_request_that_does_not_fit_is_passed_over_and_keeps_its_place() {
    let mut waiting = waiting(&[('a', 0, 3, 1), ('b', 0, 2, 2), ('c', 0, 1, 3), ('d', 0, 9, 4)]);
    assert_eq!(batch(&mut waiting, 4), "ac");
    assert_eq!(batch(&mut waiting, 4), "b");
    assert_eq!(batch(&mut waiting, 4), "d");
}

#[test]
fn rows_before_are_exact_at_both_ends() {
    let waiting = waiting(&[('a', 0, 3, 100), ('b', 1, 2, 200), ('c', 0, 5, 300)]);
    let before = |deadline_us| waiting.rows_before(&demand(1, deadline_us));
    assert_eq!((before(99), before(300), before(301)), (0, 10, 10));
    assert_eq!(before(200), 5);
}

#[test]
fn delayed_requests_fill_a_batch_behind_all_others() {
    let mut waiting =
        waiting(&[('a', 0, 1, 10), ('b', 0, 1, 20), ('c', 0, 1, 30), ('d', 1, 2, 99)]);
    let is_early = |demand: &Demand| demand.deadline_us < Some(30);
    assert!(waiting.delay_head_if(is_early) && waiting.delay_head_if(is_early));
    assert!(!waiting.delay_head_if(is_early));
    assert_eq!((waiting.rows_before(&demand(1, 40)), waiting.rows_before(&demand(1, 99))), (0, 3));
    assert_eq!(batch(&mut waiting, 2), "ca");
    assert_eq!(batch(&mut waiting, 2), "d");
    assert_eq!(waiting.rows_before(&demand(1, 40)), 0);
    assert!(!waiting.delay_head_if(|_| true), "it is delayed once");
    assert_eq!((batch(&mut waiting, 2), waiting.len(), waiting.rows()), ("b".into(), 0, 0));
}

#[test]
fn delayed_requests_leave_at_their_deadlines_in_the_order_of_those() {
    let mut waiting =
        waiting(&[('a', 0, 1, 20), ('b', 0, 1, 10), ('c', 1, 1, 30), ('d', 0, 1, 40)]);
    assert!(waiting.pop_delayed_before(u64::MAX).is_none(), "none is delayed");
    for _ in 0..3 {
        assert!(waiting.delay_head_if(|demand| demand.deadline_us < Some(40)));
    }
    let mut pop = |time_us| waiting.pop_delayed_before(time_us).map(|one| one.item);
    assert_eq!([pop(10), pop(11), pop(11), pop(21)], [None, Some('b'), None, Some('a')]);
    assert_eq!((waiting.len(), batch(&mut waiting, 2)), (2, "d".into()));
    assert_eq!(batch(&mut waiting, 2), "c");
    assert!(waiting.pop_delayed_before(u64::MAX).is_none(), "one that has left is forgotten");
    assert!(waiting.is_empty() && waiting.heads.is_empty());
}

#[test]
fn members_behind_the_head_are_delayed_too() {
    let mut waiting = waiting(&[('a', 0, 1, 10), ('b', 0, 1, 20), ('c', 0, 1, 30)]);
    let is_second = |demand: &Demand| demand.deadline_us == Some(20);
    let taken = waiting.take_batch(2, |_| false, is_second, &mut Vec::new());
    assert_eq!(taken.iter().map(|one| one.item).collect::<String>(), "ac");
    assert_eq!(batch(&mut waiting, 2), "b");
}

/// An operation of the property below.
#[derive(Clone, Debug)]
enum Step {
    Push { batch_key: u8, rows: usize, deadline_us: u64 },
    Take { rows_max: usize },
    PopHead,
    RemoveOdd,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..5_usize, 0..100_u64)
            .prop_map(|(batch_key, rows, deadline_us)| Step::Push { batch_key, rows, deadline_us }),
        2 => (1..8_usize).prop_map(|rows_max| Step::Take { rows_max }),
        1 => Just(Step::PopHead),
        1 => Just(Step::RemoveOdd),
    ]
}

proptest! {
    #[test]
    fn any_history_agrees_with_a_sorted_list(steps in prop::collection::vec(step(), 0..60)) {
        let mut waiting: ReadyQueue<u64, u8> = ReadyQueue::default();
        // Deadline, number, batch key, rows: sorted as the order wants it.
        let mut list: Vec<(u64, u64, u8, usize)> = Vec::new();
        for (number, step) in (0_u64..).zip(steps) {
            match step {
                Step::Push { batch_key, rows, deadline_us } => {
                    waiting.push(number, demand(rows, deadline_us), batch_key);
                    list.push((deadline_us, number, batch_key, rows));
                    list.sort_unstable();
                }
                Step::Take { rows_max } => {
                    let batch_key = list.first().map(|first| first.2);
                    let taken = waiting.take_batch(rows_max, |_| false, |_| false, &mut Vec::new());
                    let mut rows = 0;
                    for (place, waiter) in taken.iter().enumerate() {
                        let at = list.iter().position(|entry| entry.1 == waiter.item).unwrap();
                        let entry = list.remove(at);
                        prop_assert_eq!(Some(entry.2), batch_key);
                        prop_assert!(place > 0 || at == 0, "the most urgent goes first");
                        rows += entry.3;
                    }
                    prop_assert!(rows <= rows_max || taken.len() == 1);
                }
                Step::PopHead => {
                    let popped = waiting.pop_head_if(|_| true).map(|waiter| waiter.item);
                    let first = (!list.is_empty()).then(|| list.remove(0).1);
                    prop_assert_eq!(popped, first);
                }
                Step::RemoveOdd => {
                    let removed = waiting.remove_all(|waiter| waiter.item % 2 == 1).len();
                    let before = list.len();
                    list.retain(|entry| entry.1 % 2 == 0);
                    prop_assert_eq!(removed, before - list.len());
                }
            }
            prop_assert_eq!(waiting.len(), list.len());
            prop_assert_eq!(waiting.rows(), list.iter().map(|entry| entry.3).sum::<usize>());
            let head = waiting.head().map(|head| head.demand.deadline_us);
            prop_assert_eq!(head, list.first().map(|first| Some(first.0)));
            prop_assert_eq!(waiting.heads.len(), waiting.buckets.len());
        }
    }
}
