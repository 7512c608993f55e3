//! Tests which requests are kept, for how long, and which they displace.

use super::*;
use crate::error::ShedReason;
use crate::request_record::testing::record;

const MINUTE: Duration = Duration::from_secs(60);

/// A request of this duration that ended this long after the start.
fn ended(
    slowest: &SlowestRequests,
    after: Duration,
    total_us: u64,
    outcome: Outcome,
) -> RequestRecord {
    let mut record = record(total_us, outcome);
    record.accepted = slowest.start + after;
    record
}

fn totals(kept: &[Arc<RequestRecord>]) -> Vec<u64> {
    kept.iter().map(|record| record.total_us()).collect()
}

#[test]
fn the_slowest_of_each_bucket_are_kept() {
    let slowest = SlowestRequests::default();
    for total_us in (1..=1000).rev().chain(1..=1000) {
        slowest.offer(&ended(&slowest, Duration::from_secs(1), total_us, Outcome::Answered));
    }
    slowest.offer(&ended(&slowest, Duration::from_secs(7), 5, Outcome::Missed));
    let kept = totals(&slowest.read(MINUTE, slowest.start + Duration::from_secs(8)));
    assert_eq!(kept, [1000, 1000, 999, 999, 998, 998, 997, 997, 5]);
}

#[test]
fn requests_older_than_the_window_are_left_out() {
    let slowest = SlowestRequests::default();
    let seconds = Duration::from_secs;
    for second in [1, 100, 200] {
        slowest.offer(&ended(&slowest, seconds(second), second, Outcome::Answered));
    }
    let read = |window, now| totals(&slowest.read(seconds(window), slowest.start + seconds(now)));
    assert_eq!(read(60, 201), [200]);
    assert_eq!(read(150, 201), [200, 100]);
    assert_eq!(read(100_000, 201), [200, 100, 1]);
    assert_eq!(read(100_000, 450), [200], "never longer than the ring is");
}

#[test]
fn a_new_turn_displaces_an_old_one() {
    let slowest = SlowestRequests::default();
    let after = |turns: u64| Duration::from_secs(1 + turns * 5 * BUCKETS as u64);
    for turns in 0..3 {
        for total_us in 0..100 {
            slowest.offer(&ended(
                &slowest,
                after(turns),
                1000 / (turns + 1) + total_us,
                Outcome::Answered,
            ));
        }
        let kept = slowest.read(MINUTE, slowest.start + after(turns) + Duration::from_secs(1));
        assert_eq!(kept.len(), KEPT_MAX);
        assert_eq!(kept[0].total_us(), 1000 / (turns + 1) + 99);
    }
}

#[test]
fn an_internal_failure_is_kept_among_thousands_of_rejected_requests() {
    let slowest = SlowestRequests::default();
    let at = Duration::from_secs(2);
    let shed = Outcome::Shed(ShedReason::Overloaded);
    for request in 0..5_000 {
        slowest.offer(&ended(&slowest, at, request, shed));
    }
    slowest.offer(&ended(&slowest, at, 3, Outcome::Failed(Reason::Backend)));
    for request in 0..5_000 {
        slowest.offer(&ended(&slowest, at, request, shed));
    }
    let kept = slowest.read(MINUTE, slowest.start + at + at);
    let is_internal =
        |record: &&Arc<RequestRecord>| record.outcome == Outcome::Failed(Reason::Backend);
    assert_eq!((kept.iter().filter(is_internal).count(), kept.len()), (1, KEPT_MAX));
    // The others are a sample, not the first to arrive.
    assert!(totals(&kept).iter().any(|&us| us > 100), "{:?}", totals(&kept));
}

#[test]
fn slow_and_failed_requests_do_not_displace_each_other() {
    let slowest = SlowestRequests::default();
    for request in 0..100 {
        slowest.offer(&ended(&slowest, BUCKET, 1_000_000 + request, Outcome::Answered));
        slowest.offer(&ended(&slowest, BUCKET, request, Outcome::Failed(Reason::Other)));
    }
    assert_eq!(slowest.read(MINUTE, slowest.start + 2 * BUCKET).len(), 2 * KEPT_MAX);
}

#[test]
fn threads_that_offer_together_keep_the_slowest() {
    let slowest = SlowestRequests::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let slowest = &slowest;
            scope.spawn(move || {
                for request in 0..2_000 {
                    let total_us = request * 4 + thread;
                    slowest.offer(&ended(
                        slowest,
                        Duration::from_secs(1),
                        total_us,
                        Outcome::Answered,
                    ));
                }
            });
        }
    });
    let kept = totals(&slowest.read(MINUTE, slowest.start + Duration::from_secs(2)));
    assert_eq!(kept, (7_992..8_000).rev().collect::<Vec<_>>());
}
