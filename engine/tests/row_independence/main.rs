//! Tests proofs of row independence on random graphs, run with ONNX Runtime. A row in a batch must
//! give the same outputs as alone, and proven sizes must be those of the run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "a test says what it found")]

mod arrays;
mod check;
mod describe;
mod generator;
mod proto;
mod templates;

use check::{Verdict, check};
use generator::{Counts, Generator};
use ort::environment::Environment;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Default seeds of the graphs; `SKYSAIL_ROW_SEEDS`, such as `5000..9000`, sets others.
const SEEDS: std::ops::Range<u64> = 0..8_000;

/// Operators that are rare in graphs with independent rows.
const RARE: [&str; 7] = [
    "DynamicQuantizeLinear",
    "com.microsoft.DynamicQuantizeMatMul",
    "NonZero",
    "EyeLike",
    "StringSplit",
    "Size",
    // The runtime has no kernel for this one.
    "com.microsoft.QLinearReduceMean",
];

/// ONNX Runtime, loaded once.
fn environment() -> Environment {
    let environment = skysail_engine::runtime::load(1).unwrap_or_else(|error| panic!("{error}"));
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    environment
}

/// Totals over all graphs.
#[derive(Default)]
struct Tally {
    rejected: usize,
    independent: usize,
    other: usize,
    ran: usize,
    sizes: usize,
    /// Operators in independent graphs that ran, with counts.
    seen: Counts,
    /// Operators in all graphs, with counts.
    all: Counts,
    /// Seeds by reason: of rejected graphs, and of unproven graphs whose rows agree.
    notes: BTreeMap<String, Vec<u64>>,
    violations: Vec<String>,
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(said) = std::env::var("SKYSAIL_ROW_SEEDS") else { return SEEDS };
    let (from, to) = said.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

/// Generates and checks the graph of a seed.
fn check_seed(seed: u64, tally: &Mutex<Tally>) {
    let mut generator = Generator::new(seed);
    let steps = 1 + generator.below(9);
    generator.extend(steps);
    let outputs = generator.outputs();
    if outputs.is_empty() {
        return;
    }
    let operators = generator.operators(&outputs);
    if std::env::var_os("SKYSAIL_ROW_GRAPHS").is_some() {
        println!("seed {seed}: {}", generator.describe(&outputs));
    }
    let found = check(&mut generator, &outputs);
    let violation = match &found {
        Verdict::Violation(problem) => Some(shrink(&mut generator, &outputs, problem)),
        _ => None,
    };
    let mut tally = tally.lock().unwrap();
    let seen = matches!(found, Verdict::Holds { independent: true, ran: true, .. });
    for operator in operators {
        *tally.all.entry(operator.clone()).or_default() += 1;
        if seen {
            *tally.seen.entry(operator).or_default() += 1;
        }
    }
    match found {
        Verdict::Rejected(problem) => {
            tally.rejected += 1;
            let problem: String = problem.chars().take(300).collect();
            tally.notes.entry(format!("rejected: {problem}")).or_default().push(seed);
        }
        Verdict::Holds { independent, cause, ran, rows_agree, sizes } => {
            *(if independent { &mut tally.independent } else { &mut tally.other }) += 1;
            tally.ran += usize::from(ran);
            tally.sizes += sizes;
            if !independent && ran && rows_agree {
                tally.notes.entry(format!("agrees: {cause}")).or_default().push(seed);
            }
        }
        Verdict::Violation(_) => {
            tally.violations.extend(violation.map(|text| format!("seed {seed}: {text}")));
        }
    }
}

/// Finds the first value with a violation, which needs the fewest nodes.
fn shrink(generator: &mut Generator, outputs: &[String], problem: &str) -> String {
    for value in generator.values.clone() {
        if generator.inputs.iter().any(|input| input.name == value.name) {
            continue;
        }
        let outputs = [value.name];
        if let Verdict::Violation(problem) = check(generator, &outputs) {
            return format!("{problem}\n{}", generator.describe(&outputs));
        }
    }
    format!("{problem}\n{}", generator.describe(outputs))
}

#[test]
fn proofs_hold_on_random_graphs() {
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
                    check_seed(seed, &tally);
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
    assert!(tally.rejected * 10 <= loaded, "too few graphs are good models");
    // With the default seeds, every frequent operator must be in an independent graph.
    if std::env::var_os("SKYSAIL_ROW_SEEDS").is_none() {
        let missing = tally.all.iter().filter(|(name, count)| {
            **count >= 10 && !tally.seen.contains_key(*name) && !RARE.contains(&name.as_str())
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
        "{loaded} graphs loaded, {} rejected; independent {:.1} %, not {:.1} %, run {:.1} %; {} sizes",
        tally.rejected,
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
