//! Cost of the scheduler's decisions for a request while many wait: enqueue, batch, and finish.

use crate::targets::{self, Target};
use anyhow::{Result, anyhow, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_loadtest::quantiles::median;
use skysail_policy::batch::predictive::Predictive;
use skysail_policy::batch::{BatchPolicy, Limits};
use skysail_policy::priority::{Demand, Priority};
use skysail_policy::replica_set::{ClassId, Traits};
use skysail_policy::scheduler::{RunEnd, RunSample, Scheduler, Start};
use std::io::Write;
use std::time::Instant;

/// Requests that wait all the time.
const QUEUED: usize = 10_000;

/// Requests that pass in a sample, a multiple of every batch size.
const SAMPLE: usize = 64 * 10;
const SAMPLES: usize = 250;

/// Simulated run time: short enough to admit all requests, and equal for each size, so that every
/// batch is full.
const RUN_US: f64 = 10.0;

/// Target, in nanoseconds a request.
const NS_MAX: f64 = 1_000.0;

/// Measures batches of several sizes and prints the cost of a request.
pub(super) fn run(out: &mut impl Write) -> Result<()> {
    let mut figures = Vec::new();
    for rows in [1, 8, 64] {
        let ns = ns_a_request(rows)?;
        let what = format!("{QUEUED} queued, batches of {rows}: ns a request");
        figures.push((what, ns, Target::AtMost(NS_MAX)));
    }
    writeln!(out, "\n## Cost of a decision\n")?;
    Ok(targets::print(out, &figures)?)
}

/// Passes requests through a long queue in batches. The median of the samples excludes other
/// activity of the machine.
fn ns_a_request(rows_max: usize) -> Result<f64> {
    let mut queue = LongQueue::new(rows_max)?;
    let samples = (0..SAMPLES).map(|_| queue.pass()).collect::<Result<Vec<f64>>>()?;
    Ok(median(&samples))
}

/// Queue in which as many requests arrive as leave.
struct LongQueue {
    scheduler: Scheduler<(), ()>,
    random: StdRng,
    rows_max: usize,
    now_us: u64,
}

impl LongQueue {
    fn new(rows_max: usize) -> Result<Self> {
        let limits = Limits { rows_max, objective_us: None, replicas: 1 };
        let make_policy = move || -> Box<dyn BatchPolicy> { Box::new(Predictive::new(limits)) };
        let mut scheduler = Scheduler::new(Box::new(make_policy), 2 * QUEUED);
        scheduler.join(Traits::default(), true);
        let random = StdRng::seed_from_u64(1);
        let mut queue = Self { scheduler, random, rows_max, now_us: 0 };
        (0..64).for_each(|_| queue.scheduler.observe(ClassId::default(), rows_max, RUN_US));
        for demand in queue.demand(QUEUED) {
            queue.push(demand)?;
        }
        Ok(queue)
    }

    /// Requests with deadlines of half a second to one and a half, so that each has its place among
    /// all that wait.
    fn demand(&mut self, count: usize) -> Vec<Demand> {
        let queued_us = self.now_us;
        let mut new = || Demand {
            rows: 1,
            queued_us,
            deadline_us: Some(queued_us + self.random.random_range(500_000..1_500_000)),
            start_by: None,
            priority: Priority::default(),
        };
        (0..count).map(|_| new()).collect()
    }

    fn push(&mut self, demand: Demand) -> Result<()> {
        let pushed = self.scheduler.push((), demand, (), self.now_us, |()| false);
        pushed.map_err(|rejection| anyhow!("the queue rejects: {rejection:?}"))
    }

    /// Nanoseconds a request, of one sample.
    fn pass(&mut self) -> Result<f64> {
        let new = self.demand(SAMPLE);
        let mut passed = 0;
        let started = Instant::now();
        for arrived in new.chunks(self.rows_max) {
            for &demand in arrived {
                self.push(demand)?;
            }
            let Start::Run(batch) = self.scheduler.start(self.now_us, true, |()| false) else {
                bail!("no batch starts");
            };
            let rows = batch.members.len();
            passed += rows;
            self.now_us += RUN_US as u64;
            let end = RunEnd::Succeeded(RunSample { rows, run_us: RUN_US });
            self.scheduler.finish(batch.run, end, self.now_us);
        }
        let ns = started.elapsed().as_secs_f64() * 1e9 / SAMPLE as f64;
        let dropped = self.scheduler.take_removed().len();
        ensure!(passed == SAMPLE, "{passed} of {SAMPLE} ran and {dropped} were dropped");
        Ok(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_stays_long_and_passes_full_batches() {
        assert!(ns_a_request(64).unwrap() > 0.0);
    }
}
