//! Each part of a request's time, and the cause that it gives.

use super::*;
use proptest::prelude::*;

/// An answered request of a millisecond, of which nothing stands out.
fn ordinary() -> Facts {
    Facts {
        end: End::Completed,
        total_us: 1_000,
        sending_us: 0,
        unseen_us: 0,
        queued_us: 0,
        ahead: 0,
        behind: None,
        run: Some(run(900, Some(1_000), false)),
        shared_us: 0,
        reading_us: 0,
        loading_us: 0,
    }
}

fn run(ran_us: u64, predicted_us: Option<u64>, cold: bool) -> Run {
    Run { number: 7, rows: 4, members: 2, predicted_us, ran_us, cold }
}

fn behind(expected_us: u64, waited_us: u64) -> BlockingBatch {
    BlockingBatch { number: 6, rows: 32, expected_us, waited_us }
}

#[test]
fn a_run_as_predicted_is_ordinary() {
    assert_eq!(cause(&ordinary()), Cause::Ordinary);
    let unknown = Facts { run: Some(run(900, None, false)), ..ordinary() };
    assert_eq!(cause(&unknown), Cause::Ordinary);
}

#[test]
fn each_part_of_the_time_has_its_own_cause() {
    let total_us = 10_000;
    let slow = Facts { total_us, ..ordinary() };
    let waited = Facts { queued_us: 9_000, ..slow };
    let contention = Cause::CpuContention { predicted_us: 1_000, ran_us: 9_900 };
    let cases = [
        (Facts { sending_us: 9_000, ..slow }, Cause::ClientSlowToSend),
        (Facts { unseen_us: 9_000, ..slow }, Cause::ThreadBusy),
        (Facts { reading_us: 9_000, ..slow }, Cause::ClientSlowToRead),
        (Facts { shared_us: 9_000, run: None, ..slow }, Cause::CacheStampede),
        (waited, Cause::WaitedToStart),
        (Facts { ahead: 40, ..waited }, Cause::QueueLong { requests: 40 }),
        (
            Facts { ahead: 40, behind: Some(behind(8_000, 8_500)), ..waited },
            Cause::WaitedBehindBatch { batch: 6, rows: 32 },
        ),
        (Facts { run: Some(run(9_900, Some(1_000), false)), ..slow }, contention),
        (
            Facts { run: Some(run(9_900, Some(1_000), true)), ..slow },
            Cause::ColdBatchSize { rows: 4 },
        ),
        (Facts { run: Some(run(9_900, None, true)), ..slow }, Cause::ColdBatchSize { rows: 4 }),
    ];
    for (facts, expected) in cases {
        assert_eq!(cause(&facts), expected, "{facts:?}");
    }
}

#[test]
fn of_several_excesses_the_largest_is_the_cause() {
    let facts = Facts {
        total_us: 30_000,
        sending_us: 9_000,
        queued_us: 11_000,
        behind: Some(behind(10_000, 10_000)),
        reading_us: 8_000,
        ..ordinary()
    };
    assert_eq!(cause(&facts), Cause::WaitedBehindBatch { batch: 6, rows: 32 });
}

#[test]
fn a_wait_mostly_for_other_requests_is_a_long_queue() {
    let facts = Facts {
        total_us: 30_000,
        queued_us: 29_000,
        ahead: 300,
        behind: Some(behind(5_000, 5_000)),
        ..ordinary()
    };
    assert_eq!(cause(&facts), Cause::QueueLong { requests: 300 });
}

#[test]
fn a_load_is_blamed_for_what_it_can_bring_about_and_no_more() {
    let slow = Facts { total_us: 10_000, loading_us: 9_000, ..ordinary() };
    let contention = Facts { run: Some(run(9_900, Some(1_000), false)), ..slow };
    assert_eq!(cause(&contention), Cause::LoadInProgress);
    let brief = Facts { loading_us: 100, ..contention };
    assert!(matches!(cause(&brief), Cause::CpuContention { .. }));
    let sent = Facts { sending_us: 9_000, ..slow };
    assert_eq!(cause(&sent), Cause::ClientSlowToSend);
    let waited =
        |expected_us| Facts { queued_us: 9_000, behind: Some(behind(expected_us, 9_000)), ..slow };
    assert_eq!(cause(&waited(3_000)), Cause::LoadInProgress);
    assert!(matches!(cause(&waited(8_000)), Cause::WaitedBehindBatch { .. }));
}

#[test]
fn a_request_without_a_response_has_the_cause_of_its_end() {
    let end = |end, sending_us| cause(&Facts { end, sending_us, ..ordinary() });
    assert_eq!(end(End::Shed, 900), Cause::Shed);
    assert_eq!(end(End::Failed, 900), Cause::Failed);
    assert_eq!(end(End::Cancelled, 900), Cause::ClientSlowToSend);
    assert_eq!(end(End::Cancelled, 0), Cause::Failed);
}

#[test]
fn the_words_name_the_batch_and_its_items() {
    let words = Cause::WaitedBehindBatch { batch: 12, rows: 64 }.to_string();
    assert_eq!(words, "waited behind batch 12 of 64 rows");
}

fn facts() -> impl Strategy<Value = Facts> {
    let us = || 0_u64..50_000;
    let run = (us(), proptest::option::of(us()), any::<bool>());
    let run = run.prop_map(|(ran_us, predicted_us, cold)| self::run(ran_us, predicted_us, cold));
    let behind = (us(), us()).prop_map(|(expected_us, waited_us)| behind(expected_us, waited_us));
    let times = (us(), us(), us(), us(), us(), us());
    let run = proptest::option::of(run);
    (times, 0_usize..100, proptest::option::of(behind), run, 0_u64..200_000).prop_map(
        |(times, ahead, behind, run, loading_us)| {
            let (sending_us, unseen_us, queued_us, shared_us, reading_us, rest_us) = times;
            let ran_us = run.map_or(0, |run| run.ran_us);
            let waited_us = sending_us + unseen_us + queued_us + shared_us + reading_us;
            let total_us = waited_us + ran_us + rest_us;
            let end = End::Completed;
            Facts {
                end,
                total_us,
                sending_us,
                unseen_us,
                queued_us,
                ahead,
                behind,
                run,
                shared_us,
                reading_us,
                loading_us,
            }
        },
    )
}

/// The time that a cause stands for, of which it must be a fair part.
fn excess_us(cause: Cause, facts: &Facts) -> u64 {
    match cause {
        Cause::ClientSlowToSend => facts.sending_us,
        Cause::ThreadBusy => facts.unseen_us,
        Cause::ClientSlowToRead => facts.reading_us,
        Cause::CacheStampede => facts.shared_us,
        Cause::WaitedBehindBatch { .. } | Cause::QueueLong { .. } | Cause::WaitedToStart => {
            facts.queued_us
        }
        Cause::ColdBatchSize { .. } | Cause::CpuContention { .. } => {
            facts.run.map_or(0, |run| run.ran_us)
        }
        Cause::LoadInProgress => facts.loading_us,
        Cause::Shed | Cause::Failed => 0,
        Cause::Ordinary => u64::MAX,
    }
}

proptest! {
    /// A named cause exists and took a quarter of the latency. A part that took more than half of
    /// it is always named.
    #[test]
    fn the_named_cause_took_its_share(facts in facts()) {
        let cause = cause(&facts);
        let part = SHARE_MIN * facts.total_us as f64;
        if cause != Cause::LoadInProgress {
            prop_assert!(excess_us(cause, &facts) as f64 >= part);
        }
        prop_assert!(!matches!(cause, Cause::Shed | Cause::Failed));
        match cause {
            Cause::WaitedBehindBatch { .. } => prop_assert!(facts.behind.is_some()),
            Cause::QueueLong { requests } => prop_assert_eq!(requests, facts.ahead),
            Cause::ColdBatchSize { .. } => prop_assert!(facts.run.is_some_and(|run| run.cold)),
            Cause::LoadInProgress => prop_assert!(facts.loading_us > 0),
            _ => {}
        }
        let plain = [facts.sending_us, facts.queued_us, facts.shared_us, facts.reading_us];
        if plain.iter().any(|&us| us > 0 && us as f64 > 0.5 * facts.total_us as f64) {
            prop_assert!(cause != Cause::Ordinary);
        }
    }

    /// More of the same excess never turns the blame away from it.
    #[test]
    fn a_longer_excess_keeps_its_name(facts in facts(), more_us in 0_u64..50_000) {
        let sending_us = facts.sending_us + more_us;
        let more = Facts { sending_us, total_us: facts.total_us + more_us, ..facts };
        if cause(&facts) == Cause::ClientSlowToSend {
            prop_assert_eq!(cause(&more), Cause::ClientSlowToSend);
        }
    }
}
