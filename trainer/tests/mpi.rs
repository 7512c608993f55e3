//! Ranks as processes: each scenario starts this program under `mpirun`.

#![cfg(feature = "mpi")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test panics and prints"
)]

mod support;

use skysail_trainer::{
    Collective, CollectiveError, DeepGradient, DeepGradientSettings, Downpour, DownpourSettings,
    Learner, SgdSettings, Sparsity, Staleness, Strategy, Synchronous, TrainError, mpi, threads,
};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::{Noise, Regression, assert_near, batch};

const LONG: Duration = Duration::from_secs(60);
const SCENARIO: &str = "SKYSAIL_TEST_SCENARIO";

/// Runs a scenario on some ranks; `None` without `mpirun`.
fn run(scenario: &str, ranks: usize) -> Option<Output> {
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "rank", "--ignored", "--nocapture"])
        .env(SCENARIO, scenario)
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: mpirun: {error}");
            None
        }
    }
}

fn assert_success(scenario: &str, ranks: usize) {
    let Some(output) = run(scenario, ranks) else { return };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario} on {ranks}: {text}");
    assert_eq!(text.matches("1 passed").count(), ranks, "{text}");
}

#[test]
fn operations_equal_those_of_threads() {
    for ranks in [1, 2, 4] {
        assert_success("operations", ranks);
    }
}

#[test]
fn strategies_give_the_same_parameters_as_on_threads() {
    for ranks in [2, 4] {
        assert_success("strategies", ranks);
    }
}

#[test]
fn different_operations_of_ranks_are_detected() {
    let Some(output) = run("mismatch", 2) else { return };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("all-reduce number 0 of 3 here, all-reduce number 0 of 4"), "{text}");
}

#[test]
fn a_late_rank_is_named_and_the_job_ends() {
    let started = Instant::now();
    let Some(output) = run("late", 3) else { return };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("all-reduce number 1 waited") && text.contains("for rank 1"), "{text}");
    assert!(started.elapsed() < LONG);
}

#[test]
fn a_killed_rank_ends_the_job() {
    let started = Instant::now();
    let Some(output) = run("killed", 3) else { return };
    assert!(!output.status.success());
    assert!(started.elapsed() < LONG);
}

/// A rank of a scenario; not a test by itself.
#[test]
#[ignore = "runs under mpirun, started by the others"]
fn rank() {
    let Ok(scenario) = std::env::var(SCENARIO) else { return };
    let timeout = if scenario == "late" { Duration::from_millis(300) } else { LONG };
    let result = mpi::ranks(timeout, |collective| match scenario.as_str() {
        "operations" => operations(collective),
        "strategies" => strategies(collective),
        "mismatch" => mismatch(collective),
        "late" => late(collective),
        "killed" => killed(collective),
        other => panic!("no scenario '{other}'"),
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn operations(mut collective: Box<dyn Collective>) -> Result<(), TrainError> {
    let (rank, world) = (collective.rank(), collective.world());
    let mut other = collective.duplicate()?;
    let mut third = other.duplicate()?;
    for collective in [collective.as_mut(), other.as_mut(), third.as_mut()] {
        let before = collective.bytes_sent();
        for len in [0, 1, 5, 700_000] {
            let mut values: Vec<f32> = (0..len).map(|at| (at % 7 + rank) as f32).collect();
            collective.all_reduce(&mut values)?;
            let ranks = world * (world - 1) / 2;
            let expected = (0..len).map(|at| (at % 7 * world + ranks) as f32);
            assert!(values.iter().copied().eq(expected));
        }
        let sent = collective.bytes_sent() - before;
        assert!(sent.abs_diff(8 * 700_006 * (world as u64 - 1) / world as u64) <= 64);
        let gathered = collective.all_gather(&vec![rank as u8; 3 * rank])?;
        assert!(gathered.iter().enumerate().all(|(r, it)| *it == vec![r as u8; 3 * r]));
        let mut bytes = vec![rank as u8; 5 + rank];
        collective.broadcast(world - 1, &mut bytes)?;
        assert_eq!(bytes, vec![world as u8 - 1; 4 + world]);
    }
    // Messages of all connections at once, larger than MPI's eager limit, before any is received.
    let large = vec![rank as u8; 3 << 20];
    for to in 0..world {
        third.send(to, &[3])?;
        other.send(to, &[2])?;
        collective.send(to, &large)?;
        collective.sender().send(to, b"")?;
    }
    for from in 0..world {
        assert_eq!(collective.receive(from)?, vec![from as u8; 3 << 20]);
        assert_eq!(collective.receive(from)?, b"");
        assert_eq!(other.receive(from)?, [2]);
    }
    let mut seen = (0..world).map(|_| third.receive_any()).collect::<Result<Vec<_>, _>>()?;
    seen.sort();
    assert!(seen.iter().enumerate().all(|(from, it)| *it == (from, vec![3])));
    Ok(())
}

type Make = fn(Box<dyn Collective>, &dyn Learner) -> Result<Box<dyn Strategy>, TrainError>;

const MAKE: [Make; 3] = [
    |collective, learner| {
        let sgd = SgdSettings { momentum: 0.9, ..SgdSettings::default() };
        Ok(Box::new(Synchronous::new(learner.layout(), collective, sgd, 4096)?))
    },
    |collective, learner| {
        let sparsity = Sparsity::constant(0.99);
        let settings = DeepGradientSettings { sparsity, ..DeepGradientSettings::default() };
        Ok(Box::new(DeepGradient::new(learner.layout(), collective, settings)?))
    },
    |collective, learner| {
        let settings = DownpourSettings { staleness: Staleness::Synchronous, epsilon: 1e-8 };
        Ok(Box::new(Downpour::new(learner.layout(), collective, settings)?))
    },
];

fn learned(make: Make, collective: Box<dyn Collective>) -> Result<Vec<f32>, TrainError> {
    let rank = collective.rank();
    let mut learner = Noise::new(&[2000, 5000]);
    let mut strategy = make(collective, &learner)?;
    let mut parameters = vec![0.5; learner.layout().len()];
    for step in 0..5 {
        let batch = Noise::batch(step * 8 + rank as u64);
        strategy.step(&mut learner, &mut parameters, &batch, 0.1)?;
    }
    strategy.synchronize(&mut parameters)?;
    let state = strategy.state()?;
    assert_eq!(state.is_some(), rank == 0);
    Ok(parameters)
}

fn strategies(mut collective: Box<dyn Collective>) -> Result<(), TrainError> {
    let world = collective.world();
    for make in MAKE {
        let ours = learned(make, collective.duplicate()?)?;
        let theirs = threads(world, LONG, |_, collective| learned(make, collective))?;
        assert_near(&ours, &theirs[0], 1e-5);
    }
    // The first connection, whose sums are MPI's.
    let ours = learned(MAKE[0], collective)?;
    let theirs = threads(world, LONG, |_, collective| learned(MAKE[0], collective))?;
    assert_near(&ours, &theirs[0], 1e-5);
    Ok(())
}

fn mismatch(mut collective: Box<dyn Collective>) -> Result<(), TrainError> {
    let len = 3 + collective.rank();
    Ok(collective.all_reduce(&mut vec![0.0; len])?)
}

/// Rank 1 never arrives at the second sum.
fn late(mut collective: Box<dyn Collective>) -> Result<(), TrainError> {
    collective.all_reduce(&mut [1.0])?;
    while collective.rank() == 1 {
        std::thread::park();
    }
    match collective.all_reduce(&mut [1.0]) {
        Err(error @ CollectiveError::Timeout { .. }) => Err(error.into()),
        other => panic!("{other:?}"),
    }
}

/// Rank 1 aborts, as if killed, while the others train.
fn killed(collective: Box<dyn Collective>) -> Result<(), TrainError> {
    let rank = collective.rank();
    let mut learner = Regression::new(3);
    let sgd = SgdSettings::default();
    let mut strategy = Synchronous::new(learner.layout(), collective, sgd, 8)?;
    let mut parameters = vec![0.0; learner.layout().len()];
    for step in 0.. {
        if rank == 1 && step == 3 {
            std::process::abort();
        }
        strategy.step(&mut learner, &mut parameters, &batch(3, 4, step), 0.1)?;
    }
    Ok(())
}
