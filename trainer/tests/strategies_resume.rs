//! Restored states of strategies, and failures of ranks.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_trainer::{
    CollectiveError, DeepGradient, DeepGradientSettings, Learner, Sparsity, Staleness, State,
    Strategy, Synchronous, TrainError, threads,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::strategies::{
    ALL, LONG, MOMENTUM, Make, RATE, WIDTH, deep, downpour, local, share, synchronous,
};
use support::{Noise, Regression, assert_near, batch};

/// Takes steps, saves the state, and takes more steps from it with another number of ranks.
fn resumed(make: &Make, worlds: [usize; 2], steps: [usize; 2]) -> (Vec<f32>, State) {
    let len = Regression::new(WIDTH).layout().len();
    let part = |world: usize, range: std::ops::Range<usize>, from: &(Vec<f32>, Option<State>)| {
        let all = threads(world, LONG, |rank, collective| {
            let mut learner = Regression::new(WIDTH);
            let mut strategy = make(learner.layout(), collective)?;
            if let Some(state) = &from.1 {
                strategy.restore(state)?;
            }
            let mut parameters = from.0.clone();
            for step in range.clone() {
                let batch = share(rank, world, step);
                strategy.step(&mut learner, &mut parameters, &batch, RATE)?;
            }
            strategy.synchronize(&mut parameters)?;
            Ok((parameters, strategy.state()?))
        });
        let mut all = all.unwrap();
        assert!(all[1..].iter().all(|rank| rank.1.is_none()), "rank 0 has the state");
        all.swap_remove(0)
    };
    let middle = part(worlds[0], 0..steps[0], &(vec![0.25; len], None));
    let end = part(worlds[1], steps[0]..steps[0] + steps[1], &middle);
    (end.0, end.1.unwrap())
}

fn resumable() -> Vec<(&'static str, Box<Make>)> {
    let sparse = DeepGradientSettings {
        sgd: ALL,
        sparsity: Sparsity { stages: vec![0.2, 0.4], stage_steps: 6, last: 0.6 },
        ..DeepGradientSettings::default()
    };
    vec![
        ("synchronous", synchronous(ALL, 8)),
        ("deep", deep(sparse)),
        ("local", local(ALL, 5)),
        ("downpour", downpour(Staleness::Synchronous)),
    ]
}

#[test]
fn a_run_resumes_from_a_state_bitwise() {
    for (name, make) in resumable() {
        for world in [1, 2, 4] {
            let whole = resumed(&make, [world; 2], [20, 0]);
            let parts = resumed(&make, [world; 2], [10, 10]);
            assert_eq!(whole, parts, "{name} on {world}");
        }
    }
}

#[test]
fn a_run_resumes_with_another_number_of_ranks() {
    for (name, make) in resumable() {
        let whole = resumed(&make, [1; 2], [10, 30]);
        for worlds in [[4, 2], [2, 4], [4, 1], [1, 4]] {
            let parts = resumed(&make, worlds, [10, 30]);
            let exact = matches!(name, "synchronous" | "downpour");
            let tolerance = if exact { 1e-4 } else { 0.35 };
            assert_near(&parts.0, &whole.0, tolerance);
        }
    }
}

/// The sum of held-back values over all ranks does not depend on the number of ranks.
#[test]
fn residuals_survive_a_change_of_ranks() {
    let settings = DeepGradientSettings { sparsity: Sparsity::constant(0.9), ..Default::default() };
    let state = threads(4, LONG, |rank, collective| {
        let mut learner = Noise::new(&[300]);
        let mut strategy = DeepGradient::new(learner.layout(), collective, settings.clone())?;
        let mut parameters = vec![0.0; learner.layout().len()];
        for step in 0..5 {
            let batch = Noise::batch(step * 4 + rank as u64);
            strategy.step(&mut learner, &mut parameters, &batch, 0.1)?;
        }
        strategy.state()
    });
    let state = state.unwrap().remove(0).unwrap();
    let held = |state: &State| {
        let mut sum = vec![0.0; 303];
        for rank in 0..state.world {
            let residual = &state.slices[&format!("residual/{rank}")];
            sum.iter_mut().zip(residual).for_each(|(sum, held)| *sum += held);
        }
        sum
    };
    for world in [1, 2, 3, 4] {
        let after = threads(world, LONG, |_, collective| {
            let layout = Noise::new(&[300]).layout().clone();
            let mut strategy = DeepGradient::new(&layout, collective, settings.clone())?;
            strategy.restore(&state)?;
            strategy.state()
        });
        assert_near(&held(&after.unwrap().remove(0).unwrap()), &held(&state), 1e-6);
    }
}

#[test]
fn a_state_of_another_strategy_or_model_is_rejected() {
    let result = threads(1, LONG, |_, collective| {
        let learner = Regression::new(WIDTH);
        let mut strategy = Synchronous::new(learner.layout(), collective, MOMENTUM, 8)?;
        let mut state = State { strategy: "local".to_owned(), world: 1, ..State::default() };
        let other = strategy.restore(&state).unwrap_err().to_string();
        state.strategy = "synchronous".to_owned();
        let missing = strategy.restore(&state).unwrap_err().to_string();
        state.slices.insert("velocity".to_owned(), vec![0.0; 3]);
        let short = strategy.restore(&state).unwrap_err().to_string();
        Ok([other, missing, short])
    });
    let [other, missing, short] = result.unwrap().remove(0);
    assert!(other.contains("strategy 'local'"), "{other}");
    assert!(missing.contains("no slice 'velocity'"), "{missing}");
    assert!(short.contains("has 3 numbers, but the model has 7"), "{short}");
}

#[test]
fn a_non_finite_loss_on_one_rank_stops_all_with_its_error() {
    for (name, make) in resumable() {
        let result: Result<Vec<()>, _> = threads(4, LONG, |rank, collective| {
            let mut learner = Regression::new(WIDTH);
            learner.fails_in = (rank == 2).then_some(3);
            let mut strategy = make(learner.layout(), collective)?;
            let mut parameters = vec![0.25; learner.layout().len()];
            for step in 0.. {
                let batch = share(rank, 4, step);
                strategy.step(&mut learner, &mut parameters, &batch, RATE)?;
            }
            Ok(())
        });
        assert!(matches!(result, Err(TrainError::NotFinite { .. })), "{name}: {result:?}");
    }
}

#[test]
fn a_missing_rank_is_named_by_every_strategy() {
    for (name, make) in resumable() {
        let (release, released) = crossbeam_channel::unbounded::<()>();
        let release = std::sync::Mutex::new(Some(release));
        let failed = AtomicUsize::new(0);
        let short = Duration::from_secs(1);
        let result = threads(3, short, |rank, collective| {
            let mut learner = Regression::new(WIDTH);
            let mut strategy = make(learner.layout(), collective)?;
            let mut parameters = vec![0.25; learner.layout().len()];
            for step in 0..8 {
                if rank == 1 && step == 2 {
                    let _closed = released.recv();
                    return Ok(());
                }
                let batch = batch(WIDTH, 4, 1);
                let stepped = strategy.step(&mut learner, &mut parameters, &batch, RATE);
                if let Err(error) = stepped {
                    // No rank leaves before both have failed: the other would report that instead.
                    if failed.fetch_add(1, Ordering::SeqCst) == 1 {
                        release.lock().unwrap().take();
                    }
                    let _closed = released.recv_timeout(LONG);
                    return Err(error);
                }
            }
            Ok(())
        });
        match result {
            Err(TrainError::Collective(CollectiveError::Timeout { missing, .. })) => {
                assert_eq!(missing, [1], "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn no_worker_runs_ahead_of_the_slowest_by_more_than_the_bound() {
    for (bound, steps) in [(0, 0), (1, 1), (3, 3)] {
        let short = Duration::from_secs(1);
        let (release, released) = crossbeam_channel::unbounded::<()>();
        let release = std::sync::Mutex::new(Some(release));
        let done = std::sync::Mutex::new(0);
        let result = threads(2, short, |rank, collective| {
            let mut learner = Regression::new(WIDTH);
            let make = downpour(Staleness::Bounded(bound));
            let mut strategy = make(learner.layout(), collective)?;
            let mut parameters = vec![0.25; learner.layout().len()];
            // Rank 1 takes a single step, so that its server runs.
            let takes = if rank == 0 { 10 } else { 1 };
            for _ in 0..takes {
                let batch = batch(WIDTH, 4, 1);
                let stepped = strategy.step(&mut learner, &mut parameters, &batch, RATE);
                if let Err(error) = stepped {
                    release.lock().unwrap().take();
                    return Err(error);
                }
                *done.lock().unwrap() += rank ^ 1;
            }
            let _closed = released.recv();
            Ok(())
        });
        match result {
            Err(TrainError::Collective(CollectiveError::Timeout { missing, .. })) => {
                assert_eq!(missing, [1]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*done.lock().unwrap(), steps + 1);
    }
}
