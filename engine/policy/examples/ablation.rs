//! Ablation of the batching policy in the simulator, printed as `bench/results/ablation.md`.
//!
//! It measures what each part is worth, and compares the whole with sizes and delays set by hand.
//! `cargo run -p skysail-policy --release --features ablation --example ablation`
#![expect(clippy::print_stdout, reason = "the tables go to standard output")]

use skysail_policy::ablation::{Part, without};
use skysail_policy::batch::Policy;
use skysail_policy::simulate::{
    Arrivals, Outcome, Pace, REFERENCE_MODELS, ReferenceModel, Scenario, Traffic, simulate,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Seeds of each scenario, unless the first argument says another number.
const SEEDS: u64 = 4;
/// Requests of a scenario, and under overload, about.
const REQUESTS: f64 = 20_000.0;
const REQUESTS_OVERLOAD: f64 = 80_000.0;
/// Shortest and longest scenario, in microseconds.
const DURATIONS_US: (f64, f64) = (0.5e6, 60e6);
/// Requests a second that one queue takes in at most; faster models are asked no more.
const INTAKE_PER_S: f64 = 200_000.0;
/// Latencies below this share of the objective are not compared.
const P99_SHARE_MIN: f64 = 0.1;
/// Settings by hand: rows of the largest batch, and longest delay in microseconds.
const FIXED_ROWS: [usize; 5] = [1, 4, 16, 64, 256];
const FIXED_DELAYS_US: [u64; 4] = [0, 500, 2_000, 8_000];

const SITUATIONS: [&str; 7] = [
    "half load",
    "0.9 of capacity",
    "2 times capacity",
    "5 times capacity",
    "bursts",
    "pace changes",
    "64 clients in a loop",
];

/// Goodput a second and 99th percentile of the latency in microseconds: means over seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    good_per_s: f64,
    p99_us: f64,
}

fn scenario(model: &ReferenceModel, situation: usize, policy: &Policy) -> Scenario {
    let capacity_per_s = model.capacity_per_s().min(INTAKE_PER_S);
    let load = [0.5, 0.9, 2.0, 5.0, 0.4, 0.7, 1.0][situation];
    let per_s = load * capacity_per_s;
    let requests = if load >= 2.0 { REQUESTS_OVERLOAD } else { REQUESTS };
    let duration_us = (requests / per_s * 1e6).clamp(DURATIONS_US.0, DURATIONS_US.1) as u64;
    let mut machine = model.machine();
    let traffic = match situation {
        4 => {
            let (per_s, period_us) = (0.2 * capacity_per_s, duration_us / 5);
            let on_us = period_us / 10;
            Traffic::Open(Arrivals::Bursts { per_s, times: 10.0, on_us, period_us })
        }
        5 => {
            let pace = |from: u64, to: u64, times| {
                let [from_us, to_us] = [from, to].map(|eighths| duration_us / 8 * eighths);
                Pace { from_us, to_us, times }
            };
            machine.paces = vec![pace(2, 4, 2.0), pace(6, 7, 3.0)];
            Traffic::Open(Arrivals::Poisson { per_s })
        }
        6 => Traffic::Closed { callers: 64, think_us: 100.0 },
        _ => Traffic::Open(Arrivals::Poisson { per_s }),
    };
    let (policy, limits) = (policy.clone(), model.limits());
    Scenario { policy, limits, machine, traffic, duration_us, ..Scenario::default() }
}

/// Simulates a situation with several seeds.
fn measure(
    model: &ReferenceModel,
    situation: usize,
    (policy, rows_max): (&Policy, usize),
    seeds: std::ops::Range<u64>,
    part: Option<Part>,
) -> Measured {
    let mut scenario = scenario(model, situation, policy);
    scenario.limits.rows_max = rows_max;
    let count = seeds.clone().count() as f64;
    let outcomes = seeds.map(|seed| without(part, || simulate(&scenario, seed)));
    outcomes.fold(Measured::default(), |sum, outcome: Outcome| Measured {
        good_per_s: sum.good_per_s + outcome.goodput_per_s() / count,
        p99_us: sum.p99_us + outcome.total.latency_us(0.99) as f64 / count,
    })
}

/// Results of one model in one situation.
#[derive(Clone, Debug, Default)]
struct Row {
    full: Measured,
    /// The full policy with other seeds, and then without each part.
    others: Vec<Measured>,
    /// Best setting by hand, and the best whose 99th percentile is within the objective.
    fixed: [(Measured, String); 2],
}

fn row(model: &ReferenceModel, situation: usize, seeds: u64) -> Row {
    let rows_max = model.limits().rows_max;
    let policy = (&Policy::default(), rows_max);
    let full = measure(model, situation, policy, 0..seeds, None);
    let mut others = vec![measure(model, situation, policy, seeds..2 * seeds, None)];
    let ablated = |part| measure(model, situation, policy, 0..seeds, Some(part));
    others.extend(Part::ALL.map(ablated));
    let mut fixed: [(Measured, String); 2] = Default::default();
    for rows in FIXED_ROWS {
        for delay_us in FIXED_DELAYS_US {
            if rows == 1 && delay_us > 0 {
                continue;
            }
            let found = measure(model, situation, (&Policy::fixed(delay_us), rows), 0..seeds, None);
            let is_within = found.p99_us <= model.objective_us;
            for (best, counts) in fixed.iter_mut().zip([true, is_within]) {
                if counts && found.good_per_s > best.0.good_per_s {
                    *best = (found, format!("{rows} rows, {} ms", delay_us as f64 / 1e3));
                }
            }
        }
    }
    Row { full, others, fixed }
}

/// Measures all models in all situations, on all cores.
fn measure_all(seeds: u64) -> Vec<Row> {
    let jobs = REFERENCE_MODELS.len() * SITUATIONS.len();
    let rows = Mutex::new(vec![Row::default(); jobs]);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let job = next.fetch_add(1, Relaxed);
            if job >= jobs {
                return;
            }
            let model = &REFERENCE_MODELS[job / SITUATIONS.len()];
            let row = row(model, job % SITUATIONS.len(), seeds);
            if let Ok(mut rows) = rows.lock() {
                rows[job] = row;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    rows.into_inner().unwrap_or_default()
}

/// Change in percent.
fn change(to: f64, from: f64) -> f64 {
    100.0 * (to / from - 1.0)
}

fn print_parts(rows: &[Row]) {
    println!("| without | {} |", SITUATIONS.join(" | "));
    println!("|---|{}", "---:|".repeat(SITUATIONS.len()));
    let names = Part::ALL.map(|part| format!("{part:?}"));
    let names = std::iter::once("nothing (other seeds)".to_owned()).chain(names);
    for (index, name) in names.enumerate() {
        let cells = (0..SITUATIONS.len()).map(|situation| {
            let of_models = rows.iter().zip(REFERENCE_MODELS.iter().flat_map(|m| [m; 7]));
            let of_situation = of_models.skip(situation).step_by(SITUATIONS.len());
            let (mut good, mut p99) = (0.0_f64, 0.0_f64);
            for (Row { full, others, .. }, model) in of_situation {
                let other = others[index];
                let good_change = change(other.good_per_s, full.good_per_s);
                if good_change.abs() > good.abs() {
                    good = good_change;
                }
                let p99_change = change(other.p99_us, full.p99_us);
                let is_long = full.p99_us.max(other.p99_us) >= P99_SHARE_MIN * model.objective_us;
                if is_long && p99_change.abs() > p99.abs() {
                    p99 = p99_change;
                }
            }
            format!("{good:+.1} / {p99:+.1}")
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn print_fixed(rows: &[Row]) {
    println!(
        "| model | situation | goodput/s | p99 of the objective | of the best within it | that | \
         of the best of all | that | its p99 |"
    );
    println!("|---|---|---:|---:|---:|---|---:|---|---:|");
    for (index, Row { full, fixed: [any, within], .. }) in rows.iter().enumerate() {
        let model = &REFERENCE_MODELS[index / SITUATIONS.len()];
        let ratio = |best: &Measured| match best.good_per_s {
            0.0 => "-".to_owned(),
            per_s => format!("{:.3}", full.good_per_s / per_s),
        };
        println!(
            "| {} | {} | {:.0} | {:.2} | {} | {} | {} | {} | {:.2} |",
            model.name,
            SITUATIONS[index % SITUATIONS.len()],
            full.good_per_s,
            full.p99_us / model.objective_us,
            ratio(&within.0),
            within.1,
            ratio(&any.0),
            any.1,
            any.0.p99_us / model.objective_us,
        );
    }
}

fn main() {
    let seeds = std::env::args().nth(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let rows = measure_all(seeds);
    println!("## Without each part\n");
    print_parts(&rows);
    println!("\n## Against settings by hand\n");
    print_fixed(&rows);
}
