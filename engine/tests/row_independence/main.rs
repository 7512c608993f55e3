//! Random graphs whose rows are proven independent, run with ONNX Runtime: a row among others is
//! what it is alone, and proven sizes are those of the run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "a test says what it found")]

mod arrays;
mod check;
mod described;
mod maker;
mod proto;
mod templates;

use check::{Found, check};
use maker::{Counts, Maker};
use ort::environment::Environment;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Graphs that are tried, unless `SKYSAIL_ROW_SEEDS` (such as `5000..9000`) says which.
const SEEDS: std::ops::Range<u64> = 0..8_000;

/// Operators that graphs whose rows are independent have hardly ever, or never.
const NEVER: [&str; 7] = [
    "DynamicQuantizeLinear",
    "com.microsoft.DynamicQuantizeMatMul",
    "NonZero",
    "EyeLike",
    "StringSplit",
    "Size",
    // The runtime has no kernel for it.
    "com.microsoft.QLinearReduceMean",
];

/// ONNX Runtime, loaded once.
fn environment() -> Environment {
    let environment = skysail_engine::runtime::load(1).unwrap_or_else(|error| panic!("{error}"));
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    environment
}

/// What all graphs together came to.
#[derive(Default)]
struct Tally {
    refused: usize,
    independent: usize,
    other: usize,
    ran: usize,
    sizes: usize,
    /// Operators of independent graphs that ran.
    seen: Counts,
    /// Operators of all graphs.
    all: Counts,
    /// Why graphs are refused, and what stands against those whose rows agree all the same.
    notes: BTreeMap<String, Vec<u64>>,
    violations: Vec<String>,
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(said) = std::env::var("SKYSAIL_ROW_SEEDS") else { return SEEDS };
    let (from, to) = said.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

/// Makes and tries the graph of a seed.
fn try_seed(seed: u64, tally: &Mutex<Tally>) {
    let mut maker = Maker::new(seed);
    let steps = 1 + maker.below(9);
    maker.grow(steps);
    let outputs = maker.outputs();
    if outputs.is_empty() {
        return;
    }
    let operators = maker.operators(&outputs);
    if std::env::var_os("SKYSAIL_ROW_GRAPHS").is_some() {
        println!("seed {seed}: {}", maker.described(&outputs));
    }
    let found = check(&mut maker, &outputs);
    let violation = match &found {
        Found::Violation(problem) => Some(shrunk(&mut maker, &outputs, problem)),
        _ => None,
    };
    let mut tally = tally.lock().unwrap();
    let seen = matches!(found, Found::Fine { independent: true, ran: true, .. });
    for operator in operators {
        *tally.all.entry(operator.clone()).or_default() += 1;
        if seen {
            *tally.seen.entry(operator).or_default() += 1;
        }
    }
    match found {
        Found::Refused(problem) => {
            tally.refused += 1;
            let problem: String = problem.chars().take(300).collect();
            tally.notes.entry(format!("refused: {problem}")).or_default().push(seed);
        }
        Found::Fine { independent, cause, ran, rows_agree, sizes } => {
            *(if independent { &mut tally.independent } else { &mut tally.other }) += 1;
            tally.ran += usize::from(ran);
            tally.sizes += sizes;
            if !independent && ran && rows_agree {
                tally.notes.entry(format!("agrees: {cause}")).or_default().push(seed);
            }
        }
        Found::Violation(_) => {
            tally.violations.extend(violation.map(|text| format!("seed {seed}: {text}")));
        }
    }
}

/// The violation of the first value that has one, which needs the fewest nodes.
fn shrunk(maker: &mut Maker, outputs: &[String], problem: &str) -> String {
    for value in maker.values.clone() {
        if maker.inputs.iter().any(|input| input.name == value.name) {
            continue;
        }
        let outputs = [value.name];
        if let Found::Violation(problem) = check(maker, &outputs) {
            return format!("{problem}\n{}", maker.described(&outputs));
        }
    }
    format!("{problem}\n{}", maker.described(outputs))
}

#[test]
fn what_is_proven_of_random_graphs_holds() {
    let tally = Mutex::new(Tally::default());
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    try_seed(seed, &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    report(&tally);
    assert!(tally.violations.is_empty(), "{}", tally.violations.join("\n\n"));
    let loaded = tally.independent + tally.other;
    assert!(tally.independent * 4 >= loaded, "too few graphs are proven");
    assert!(tally.other * 10 >= loaded, "too few graphs are not proven");
    assert!(tally.refused * 10 <= loaded, "too few graphs are good models");
    // All that come often enough, in the seeds of every run.
    if std::env::var_os("SKYSAIL_ROW_SEEDS").is_none() {
        let missing = tally.all.iter().filter(|(name, count)| {
            **count >= 10 && !tally.seen.contains_key(*name) && !NEVER.contains(&name.as_str())
        });
        let missing: Vec<&String> = missing.map(|(name, _)| name).collect();
        assert!(missing.is_empty(), "in no independent graph: {missing:?}");
        assert!(
            tally.seen.len() >= 150,
            "{} operators are in independent graphs",
            tally.seen.len()
        );
    }
}

fn report(tally: &Tally) {
    let loaded = tally.independent + tally.other;
    let percent = |count: usize| count as f64 * 100.0 / loaded.max(1) as f64;
    println!(
        "{loaded} graphs loaded, {} refused; independent {:.1} %, not {:.1} %, run {:.1} %; {} sizes",
        tally.refused,
        percent(tally.independent),
        percent(tally.other),
        percent(tally.ran),
        tally.sizes
    );
    let mut all: Vec<(&String, &usize)> = tally.all.iter().collect();
    all.sort();
    let counted = all
        .iter()
        .map(|(name, count)| format!("{name} {}/{count}", tally.seen.get(*name).unwrap_or(&0)));
    println!("in independent graphs / in all: {}", counted.collect::<Vec<_>>().join(", "));
    println!("{} operators are in independent graphs", tally.seen.len());
    if std::env::var_os("SKYSAIL_ROW_NOTES").is_some() {
        for (note, seeds) in &tally.notes {
            println!("{} {note} {:?}", seeds.len(), &seeds[..seeds.len().min(3)]);
        }
    }
}
