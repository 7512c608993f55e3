//! Each strategy on several ranks, compared with a single process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_trainer::{
    Adagrad, Collective, DeepGradient, DeepGradientSettings, Learner, Precision, Sgd, SgdSettings,
    Sparsity, Staleness, Strategy, Synchronous, threads,
};
use support::strategies::{
    ALL, LONG, MOMENTUM, Make, RATE, WIDTH, deep, downpour, local, share, synchronous,
};
use support::{Noise, Regression, assert_near, batch, joined};

/// Parameters and mean losses of each rank after some steps.
fn run(make: &Make, world: usize, steps: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
    let work = |rank: usize, collective: Box<dyn Collective>| {
        let mut learner = Regression::new(WIDTH);
        let mut strategy = make(learner.layout(), collective)?;
        let mut parameters = vec![0.25; learner.layout().len()];
        let mut losses = Vec::new();
        for step in 0..steps {
            let batch = share(rank, world, step);
            losses.push(strategy.step(&mut learner, &mut parameters, &batch, RATE)?.loss);
        }
        strategy.synchronize(&mut parameters)?;
        Ok((parameters, losses))
    };
    threads(world, LONG, work).unwrap()
}

/// Trains in a single process on all rows.
fn single(steps: usize, mut update: impl FnMut(&mut [f32], &[f32])) -> (Vec<f32>, Vec<f32>) {
    let mut learner = Regression::new(WIDTH);
    let len = learner.layout().len();
    let (mut parameters, mut gradients) = (vec![0.25; len], vec![0.0; len]);
    let mut losses = Vec::new();
    for step in 0..steps {
        let batch = share(0, 1, step);
        losses.push(learner.gradients(&parameters, &batch, &mut gradients).unwrap());
        update(&mut parameters, &gradients);
    }
    (parameters, losses)
}

fn single_with_sgd(steps: usize, settings: SgdSettings) -> (Vec<f32>, Vec<f32>) {
    let mut sgd = Sgd::new(Regression::new(WIDTH).layout(), settings);
    single(steps, |parameters, gradients| sgd.step(parameters, gradients, RATE))
}

fn assert_all_near(
    ranks: &[(Vec<f32>, Vec<f32>)],
    (parameters, losses): &(Vec<f32>, Vec<f32>),
    tolerance: f32,
) {
    for rank in ranks {
        assert_eq!(rank.0, ranks[0].0, "all ranks have the same bits");
        assert_near(&rank.0, parameters, tolerance);
        assert_near(&rank.1, losses, tolerance);
    }
}

#[test]
fn synchronous_ranks_equal_a_single_one_with_all_rows() {
    for settings in [SgdSettings::default(), MOMENTUM, ALL] {
        let expected = single_with_sgd(20, settings);
        for (world, bucket_bytes) in [(1, 1), (2, 1), (2, 1 << 20), (4, 8)] {
            assert_all_near(&run(&synchronous(settings, bucket_bytes), world, 20), &expected, 1e-5);
        }
    }
}

#[test]
fn batches_of_different_sizes_count_by_their_rows() {
    let rows = [1, 7, 0, 4];
    let batches: Vec<_> =
        rows.iter().zip(0..).map(|(rows, seed)| batch(WIDTH, *rows, seed)).collect();
    let mut learner = Regression::plain(WIDTH);
    let mut expected = vec![0.1; WIDTH + 1];
    let mut gradients = expected.clone();
    let loss = learner.gradients(&expected, &joined(&batches), &mut gradients).unwrap();
    Sgd::new(learner.layout(), MOMENTUM).step(&mut expected, &gradients, RATE);
    let all = threads(4, LONG, |rank, collective| {
        let mut learner = Regression::plain(WIDTH);
        let mut strategy = Synchronous::new(learner.layout(), collective, MOMENTUM, 1)?;
        let mut parameters = vec![0.1; WIDTH + 1];
        let report = strategy.step(&mut learner, &mut parameters, &batches[rank], RATE)?;
        Ok((parameters, report.loss))
    });
    for (parameters, ours) in all.unwrap() {
        assert_near(&parameters, &expected, 1e-5);
        assert!((ours - loss).abs() < 1e-5);
    }
}

#[test]
fn deep_gradients_of_sparsity_0_are_synchronous_momentum() {
    for sgd in [SgdSettings::default(), MOMENTUM, ALL] {
        let expected = single_with_sgd(20, sgd);
        let settings = DeepGradientSettings {
            sgd,
            sparsity: Sparsity::constant(0.0),
            ..DeepGradientSettings::default()
        };
        for world in [1, 2, 4] {
            assert_all_near(&run(&deep(settings.clone()), world, 20), &expected, 1e-5);
        }
    }
}

/// Everything that was accumulated has either updated the parameters or is still held back.
#[test]
fn deep_gradients_lose_nothing() {
    for (precision, factor_masking) in
        [(Precision::Single, false), (Precision::Half, false), (Precision::Single, true)]
    {
        // Masking has no effect without momentum.
        let momentum = if factor_masking { 0.0 } else { 0.9 };
        let settings = DeepGradientSettings {
            sgd: SgdSettings { momentum, ..SgdSettings::default() },
            sparsity: Sparsity { stages: vec![0.75, 0.9375], stage_steps: 3, last: 0.99 },
            factor_masking,
            precision,
            ..DeepGradientSettings::default()
        };
        let steps = 12;
        for world in [1, 2, 4] {
            let all = threads(world, LONG, |rank, collective| {
                let mut learner = Noise::new(&[3000, 700]);
                let mut strategy =
                    DeepGradient::new(learner.layout(), collective, settings.clone())?;
                let mut parameters = vec![0.0; learner.layout().len()];
                for step in 0..steps {
                    let batch = Noise::batch((step * world + rank) as u64);
                    strategy.step(&mut learner, &mut parameters, &batch, 1.0)?;
                }
                Ok((parameters, strategy.residual().to_vec()))
            });
            let all = all.unwrap();
            let mut total = all[0].0.iter().map(|moved| -moved).collect::<Vec<_>>();
            for (parameters, residual) in &all {
                assert_eq!(*parameters, all[0].0);
                total.iter_mut().zip(residual).for_each(|(total, held)| *total += held);
            }
            assert_near(&total, &accumulated(world, steps, momentum), 1e-4);
            assert!(all[0].1.iter().any(|held| *held != 0.0), "something is held back");
        }
    }
}

/// Sum of all velocities of all ranks.
fn accumulated(world: usize, steps: usize, momentum: f32) -> Vec<f32> {
    let mut learner = Noise::new(&[3000, 700]);
    let len = learner.layout().len();
    let mut total = vec![0.0; len];
    for rank in 0..world {
        let (mut velocity, mut gradients) = (vec![0.0; len], vec![0.0; len]);
        for step in 0..steps {
            let batch = Noise::batch((step * world + rank) as u64);
            learner.gradients(&[], &batch, &mut gradients).unwrap();
            for ((total, velocity), gradient) in total.iter_mut().zip(&mut velocity).zip(&gradients)
            {
                *velocity = momentum * *velocity + gradient / world as f32;
                *total += *velocity;
            }
        }
    }
    total
}

#[test]
fn deep_gradients_are_clipped_by_the_share_of_their_rank() {
    let moved = |clip, world: usize| {
        let settings = DeepGradientSettings {
            sgd: SgdSettings::default(),
            clip: Some(clip),
            sparsity: Sparsity::constant(0.0),
            ..DeepGradientSettings::default()
        };
        let all = threads(world, LONG, |_, collective| {
            let mut learner = Noise::new(&[100]);
            let mut strategy = DeepGradient::new(learner.layout(), collective, settings.clone())?;
            let mut parameters = vec![0.0; learner.layout().len()];
            strategy.step(&mut learner, &mut parameters, &Noise::batch(3), 1.0)?;
            Ok(parameters)
        });
        let squares = all.unwrap()[0].iter().map(|moved| moved * moved).sum::<f32>();
        squares.sqrt()
    };
    assert!((moved(0.5, 1) - 0.5).abs() < 1e-5);
    // Each rank clips its quarter to half the limit, so four equal ones sum to twice the limit.
    assert!((moved(0.5, 4) - 4.0 * 0.25).abs() < 1e-5);
    assert_eq!(moved(1e6, 4), moved(1e9, 1));
}

#[test]
fn deep_gradients_send_at_least_270_times_fewer_bytes() {
    // The parameters of LeNet-5, in similarly unequal layers.
    let layers = [500, 25_000, 400_000, 5000];
    let bytes = |make: &Make| {
        let all = threads(4, LONG, |rank, collective| {
            let mut learner = Noise::new(&layers);
            let mut strategy = make(learner.layout(), collective)?;
            let mut parameters = vec![0.0; learner.layout().len()];
            let mut sent = Vec::new();
            for step in 0..4 {
                let batch = Noise::batch(step * 4 + rank as u64);
                sent.push(strategy.step(&mut learner, &mut parameters, &batch, 0.1)?.bytes_sent);
            }
            Ok(sent)
        });
        all.unwrap().into_iter().map(|sent| *sent.last().unwrap()).max().unwrap()
    };
    let dense = bytes(&synchronous(MOMENTUM, 1 << 20));
    let mut ratios = Vec::new();
    for precision in [Precision::Single, Precision::Half] {
        let sparsity = Sparsity { stages: vec![0.75, 0.9375, 0.996], stage_steps: 1, last: 0.999 };
        let settings =
            DeepGradientSettings { sparsity, precision, ..DeepGradientSettings::default() };
        ratios.push(dense as f64 / bytes(&deep(settings)) as f64);
    }
    assert!(ratios[0] >= 300.0 && ratios[1] >= 450.0, "{ratios:?}");
}

#[test]
fn sent_bytes_fall_during_the_warm_up_and_never_exceed_dense_ones() {
    let sparsity = Sparsity::warmed_up(1);
    let settings = DeepGradientSettings { sparsity, ..DeepGradientSettings::default() };
    for world in [2, 4, 8] {
        let all = threads(world, LONG, |rank, collective| {
            let mut learner = Noise::new(&[20_000]);
            let mut strategy = DeepGradient::new(learner.layout(), collective, settings.clone())?;
            let mut parameters = vec![0.0; learner.layout().len()];
            let mut step = |step: u64| {
                let batch = Noise::batch(step * 8 + rank as u64);
                strategy.step(&mut learner, &mut parameters, &batch, 0.1)
            };
            (0..5).map(|at| step(at).map(|report| report.bytes_sent)).collect()
        });
        let sent: Vec<u64> = all.unwrap().remove(0);
        assert!(sent.windows(2).all(|pair| pair[1] < pair[0]), "{sent:?}");
        let dense = 8 * (world as u64 - 1) * 20_200 / world as u64;
        assert!(sent[0] <= dense + dense / 20, "{} and {dense}", sent[0]);
    }
}

#[test]
fn a_synchronous_parameter_server_equals_adagrad_with_all_rows() {
    let layout = Regression::new(WIDTH).layout().clone();
    let mut adagrad = Adagrad::new(&layout, 0..layout.len(), 1e-8);
    let expected = single(20, |parameters, gradients| adagrad.step(parameters, gradients, RATE));
    for world in [1, 2, 4] {
        let ranks = run(&downpour(Staleness::Synchronous), world, 20);
        assert_near(&ranks[0].0, &expected.0, 1e-4);
        assert!(ranks.iter().all(|rank| rank.0 == ranks[0].0), "all ranks have the same bits");
    }
}

#[test]
fn every_strategy_reduces_the_loss() {
    let sparse = DeepGradientSettings {
        sgd: SgdSettings { momentum: 0.5, ..SgdSettings::default() },
        sparsity: Sparsity::constant(0.5),
        clip: Some(10.0),
        ..DeepGradientSettings::default()
    };
    let half = DeepGradientSettings { precision: Precision::Half, ..sparse.clone() };
    for (name, make) in [
        ("synchronous", synchronous(SgdSettings { momentum: 0.5, ..ALL }, 8)),
        ("deep", deep(sparse)),
        ("deep, half", deep(half)),
        ("local", local(SgdSettings { momentum: 0.5, ..MOMENTUM }, 4)),
        ("downpour", downpour(Staleness::Synchronous)),
        ("downpour, bounded", downpour(Staleness::Bounded(2))),
        ("downpour, asynchronous", downpour(Staleness::Asynchronous)),
    ] {
        for world in [1, 2, 4] {
            let ranks = run(&make, world, 120);
            for (parameters, losses) in &ranks {
                assert_eq!(*parameters, ranks[0].0, "{name}: ranks agree");
                let (first, last) = (losses[0], losses[losses.len() - 1]);
                assert!(last < 0.5 * first, "{name} on {world}: {first} {last}");
            }
        }
    }
}

#[test]
fn local_steps_of_period_1_are_synchronous() {
    let expected = single_with_sgd(20, SgdSettings::default());
    for world in [1, 2, 4] {
        let ranks = run(&local(SgdSettings::default(), 1), world, 20);
        assert_near(&ranks[0].0, &expected.0, 1e-5);
        assert!(ranks.iter().all(|rank| rank.0 == ranks[0].0));
    }
}
