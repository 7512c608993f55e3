//! What the scheduler's decisions cost a request while very many wait: taking it in, putting it
//! into a batch, taking the replica back.

use crate::bars::{self, Bar};
use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_policy::batch::Limits;
use skysail_policy::batch::predictive::Predictive;
use skysail_policy::scheduler::{Ran, Scheduler, Start};
use skysail_policy::urgency::{Priority, Terms};
use std::io::Write;
use std::time::Instant;

/// Requests that wait all the time.
const QUEUED: usize = 10_000;

/// Requests that pass through it.
const PASSED: usize = 200_000;

/// The bar, in nanoseconds a request.
const NS_MAX: f64 = 1_000.0;

/// Measures batches of several sizes and prints what a request costs.
pub(super) fn run(out: &mut impl Write) -> Result<()> {
    let mut bars = Vec::new();
    for rows in [1, 8, 64] {
        let ns = ns_a_request(rows)?;
        let what = format!("{QUEUED} queued, batches of {rows}: ns a request");
        bars.push((what, ns, Bar::AtMost(NS_MAX)));
    }
    writeln!(out, "\n## What a decision costs\n")?;
    Ok(bars::print(out, &bars)?)
}

/// Lets requests pass through a long queue in batches of so many rows.
fn ns_a_request(rows_max: usize) -> Result<f64> {
    let limits = Limits { rows_max, objective_us: None, replicas: 1 };
    let mut scheduler = Scheduler::new(Box::new(Predictive::new(limits)), 1, 2 * QUEUED);
    // Short enough for all to be admitted, and the same for each batch, so that all are full.
    const RUN_US: f64 = 10.0;
    (0..64).for_each(|_| scheduler.observe(rows_max, RUN_US));
    let mut random = StdRng::seed_from_u64(1);
    let mut now_us = 0;
    // Deadlines of half a second to one and a half: what comes has its place among all the others.
    let mut terms = |now_us: u64| Terms {
        rows: 1,
        queued_us: now_us,
        deadline_us: Some(now_us + random.random_range(500_000..1_500_000)),
        priority: Priority::default(),
    };
    for _ in 0..QUEUED {
        if scheduler.push((), terms(now_us), (), now_us, |()| false).is_err() {
            bail!("the queue does not take {QUEUED}");
        }
    }
    let new: Vec<Terms> = (0..PASSED).map(|_| terms(now_us)).collect();
    let mut passed = 0;
    let started = Instant::now();
    for arrived in new.chunks(rows_max) {
        for terms in arrived {
            let terms = Terms {
                queued_us: now_us,
                deadline_us: terms.deadline_us.map(|us| us + now_us),
                ..*terms
            };
            if scheduler.push((), terms, (), now_us, |()| false).is_err() {
                bail!("the queue refuses");
            }
        }
        let Start::Run(batch) = scheduler.start(now_us, true, |()| false) else {
            bail!("no batch starts");
        };
        passed += batch.members.len();
        now_us += RUN_US as u64;
        let ran = Ran { rows: batch.members.len(), run_us: RUN_US };
        scheduler.finish(batch.run, Some(ran), now_us);
    }
    let ns = started.elapsed().as_secs_f64() * 1e9 / PASSED as f64;
    let dropped = scheduler.take_dropped().len();
    if passed + dropped < PASSED * 9 / 10 || dropped > passed / 10 {
        bail!("{passed} passed and {dropped} were dropped: that is not what was to be measured");
    }
    Ok(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_stays_long_and_full_batches_pass() {
        assert!(ns_a_request(64).unwrap() > 0.0);
    }
}
