//! Tests of stage times and causes of request records.

use super::testing::record;
use super::*;

#[test]
fn only_ended_stages_have_a_duration() {
    let mut ends = Ends::NONE;
    assert_eq!((ends.last_stage(), ends.stage_ns(Stage::Accept)), (None, None));
    for ns in [1_000, 1_000, 4_500] {
        ends.push(Duration::from_nanos(ns));
    }
    assert_eq!(ends.last_stage(), Some(Stage::Admit));
    let each = [Stage::Accept, Stage::Decode, Stage::Admit, Stage::Queue];
    let durations = each.map(|stage| ends.stage_ns(stage));
    assert_eq!(durations, [Some(1_000), Some(0), Some(3_500), None]);
    (0..10).for_each(|_| ends.push(Duration::from_secs(9)));
    assert_eq!(ends.last_stage(), Some(Stage::Respond));
}

#[test]
fn the_total_includes_a_slow_read_of_the_response() {
    let mut record = record(1_000, Outcome::Answered);
    assert_eq!(record.total_us(), 1_000);
    record.written_us = Some(90_000);
    record.find_cause();
    assert_eq!((record.total_us(), record.cause), (90_000, Cause::ClientSlowToRead));
}

#[test]
fn a_wait_is_attributed_to_the_queue_or_to_the_cache() {
    let mut record = record(10_000, Outcome::Answered);
    for us in [1, 2, 3, 9_000] {
        record.ends.push(Duration::from_micros(us));
    }
    record.find_cause();
    assert_eq!(record.cause, Cause::WaitedToStart);
    record.cache = Some(CacheLookup::Coalesced);
    record.find_cause();
    assert_eq!(record.cause, Cause::CacheStampede);
}

#[test]
fn a_shed_request_names_its_reason_and_the_batch_ahead() {
    let mut record = record(10_000, Outcome::Shed(ShedReason::Expired));
    record.behind = Some(BlockingBatch { number: 9, rows: 64, expected_us: 5, waited_us: 5 });
    record.find_cause();
    assert_eq!(record.cause, Cause::Shed);
    assert_eq!(
        record.explanation(),
        "the timeout passed before the request ran (expired), queued behind batch 9 of 64"
    );
}
