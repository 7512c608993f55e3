//! Which requests are kept, for how long, and whose places they take.

use super::*;
use crate::error::ShedReason;
use crate::request_record::testing::record;

const MINUTE: Duration = Duration::from_secs(60);

/// A request that took so long, and ended so long after the memory began.
fn ended(
    tail: &SlowestRequests,
    after: Duration,
    total_us: u64,
    outcome: Outcome,
) -> RequestRecord {
    let mut record = record(total_us, outcome);
    record.accepted = tail.start + after;
    record
}

fn totals(kept: &[Arc<RequestRecord>]) -> Vec<u64> {
    kept.iter().map(|record| record.total_us()).collect()
}

#[test]
fn the_slowest_of_each_bucket_stay() {
    let tail = SlowestRequests::default();
    for total_us in (1..=1000).rev().chain(1..=1000) {
        tail.offer(&ended(&tail, Duration::from_secs(1), total_us, Outcome::Answered));
    }
    tail.offer(&ended(&tail, Duration::from_secs(7), 5, Outcome::Missed));
    let kept = totals(&tail.read(MINUTE, tail.start + Duration::from_secs(8)));
    assert_eq!(kept, [1000, 1000, 999, 999, 998, 998, 997, 997, 5]);
}

#[test]
fn what_is_older_than_the_window_is_not_told() {
    let tail = SlowestRequests::default();
    let seconds = Duration::from_secs;
    for second in [1, 100, 200] {
        tail.offer(&ended(&tail, seconds(second), second, Outcome::Answered));
    }
    let told = |window, now| totals(&tail.read(seconds(window), tail.start + seconds(now)));
    assert_eq!(told(60, 201), [200]);
    assert_eq!(told(150, 201), [200, 100]);
    assert_eq!(told(100_000, 201), [200, 100, 1]);
    assert_eq!(told(100_000, 450), [200], "never longer than the ring is");
}

#[test]
fn a_new_turn_takes_the_places_of_an_old_one() {
    let tail = SlowestRequests::default();
    let after = |turns: u64| Duration::from_secs(1 + turns * 5 * BUCKETS as u64);
    for turns in 0..3 {
        for total_us in 0..100 {
            tail.offer(&ended(
                &tail,
                after(turns),
                1000 / (turns + 1) + total_us,
                Outcome::Answered,
            ));
        }
        let kept = tail.read(MINUTE, tail.start + after(turns) + Duration::from_secs(1));
        assert_eq!(kept.len(), PLACES);
        assert_eq!(kept[0].total_us(), 1000 / (turns + 1) + 99);
    }
}

#[test]
fn what_broke_is_kept_among_thousands_that_were_turned_down() {
    let tail = SlowestRequests::default();
    let at = Duration::from_secs(2);
    let shed = Outcome::Shed(ShedReason::Overloaded);
    for request in 0..5_000 {
        tail.offer(&ended(&tail, at, request, shed));
    }
    tail.offer(&ended(&tail, at, 3, Outcome::Failed(Reason::Backend)));
    for request in 0..5_000 {
        tail.offer(&ended(&tail, at, request, shed));
    }
    let kept = tail.read(MINUTE, tail.start + at + at);
    let broken = |record: &&Arc<RequestRecord>| record.outcome == Outcome::Failed(Reason::Backend);
    assert_eq!((kept.iter().filter(broken).count(), kept.len()), (1, PLACES));
    // The others are a sample, and not the first that came.
    assert!(totals(&kept).iter().any(|&us| us > 100), "{:?}", totals(&kept));
}

#[test]
fn slow_ones_and_failures_do_not_take_each_others_places() {
    let tail = SlowestRequests::default();
    for request in 0..100 {
        tail.offer(&ended(&tail, BUCKET, 1_000_000 + request, Outcome::Answered));
        tail.offer(&ended(&tail, BUCKET, request, Outcome::Failed(Reason::Other)));
    }
    assert_eq!(tail.read(MINUTE, tail.start + 2 * BUCKET).len(), 2 * PLACES);
}

#[test]
fn threads_that_offer_together_keep_the_slowest() {
    let tail = SlowestRequests::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tail = &tail;
            scope.spawn(move || {
                for request in 0..2_000 {
                    let total_us = request * 4 + thread;
                    tail.offer(&ended(tail, Duration::from_secs(1), total_us, Outcome::Answered));
                }
            });
        }
    });
    let kept = totals(&tail.read(MINUTE, tail.start + Duration::from_secs(2)));
    assert_eq!(kept, (7_992..8_000).rev().collect::<Vec<_>>());
}
