//! What a journey tells of its stages, and why it took its time.

use super::testing::journey;
use super::*;

#[test]
fn stages_are_told_as_far_as_they_were_ended() {
    let mut ends = Ends::NONE;
    assert_eq!((ends.last_stage(), ends.stage_ns(Stage::Accept)), (None, None));
    for ns in [1_000, 1_000, 4_500] {
        ends.push(Duration::from_nanos(ns));
    }
    assert_eq!(ends.last_stage(), Some(Stage::Admit));
    let each = [Stage::Accept, Stage::Decode, Stage::Admit, Stage::Queue];
    let told = each.map(|stage| ends.stage_ns(stage));
    assert_eq!(told, [Some(1_000), Some(0), Some(3_500), None]);
    (0..10).for_each(|_| ends.push(Duration::from_secs(9)));
    assert_eq!(ends.last_stage(), Some(Stage::Respond));
}

#[test]
fn a_response_that_was_read_slowly_counts_to_the_end() {
    let mut journey = journey(1_000, Outcome::Answered);
    assert_eq!(journey.total_us(), 1_000);
    journey.written_us = Some(90_000);
    journey.find_cause();
    assert_eq!((journey.total_us(), journey.cause), (90_000, Cause::ClientSlowToRead));
}

#[test]
fn a_wait_is_the_queues_or_the_cache_s() {
    let mut journey = journey(10_000, Outcome::Answered);
    for us in [1, 2, 3, 9_000] {
        journey.ends.push(Duration::from_micros(us));
    }
    journey.find_cause();
    assert_eq!(journey.cause, Cause::WaitedToStart);
    journey.cache = Some(Lookup::Shared);
    journey.find_cause();
    assert_eq!(journey.cause, Cause::CacheStampede);
}

#[test]
fn a_refusal_says_how_and_behind_what() {
    let mut journey = journey(10_000, Outcome::Refused(Refusal::Expired));
    journey.behind = Some(Behind { number: 9, rows: 64, expected_us: 5, waited_us: 5 });
    journey.find_cause();
    assert_eq!(journey.cause, Cause::Shed);
    assert_eq!(
        journey.explanation(),
        "its time was over before it ran (expired), queued behind batch 9 of 64"
    );
}
