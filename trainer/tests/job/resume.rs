//! Resuming from a checkpoint.

use crate::support::{Recorder, bits, recipe, run};
use skysail_trainer::{Checkpoint, LatestCheckpoint, Outcome, Recipe, Store};

const STRATEGIES: [&str; 5] = [
    "strategy={synchronous={}}",
    "strategy={deep-gradient={sparsity=0.9, warm-up=[0.5]}}",
    "strategy={local={period=3}}",
    "strategy={downpour={staleness=\"synchronous\"}}",
    "strategy={federated={clients=10, fraction=0.3, client-epochs=1}}",
];

/// An uninterrupted run, which also writes checkpoints.
fn whole(recipe: &Recipe, ranks: usize) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let prepared = recipe.prepare(ranks).unwrap();
    run(&prepared, ranks, &Recorder::default(), Some(&store), None).unwrap()
}

/// The checkpoint of an interrupted run.
fn interrupted(recipe: &Recipe, ranks: usize, store: &Store) -> Checkpoint {
    let prepared = recipe.prepare(ranks).unwrap();
    let recorder = Recorder { stop_at: Some(7), ..Recorder::default() };
    let outcome = run(&prepared, ranks, &recorder, Some(store), None).unwrap();
    assert!(outcome.stopped && outcome.steps < prepared.settings.steps);
    let LatestCheckpoint { checkpoint, .. } = store.latest().unwrap().unwrap();
    assert_eq!(checkpoint.info.steps, outcome.steps);
    assert_eq!(checkpoint.parameters, outcome.parameters);
    checkpoint
}

fn resume(recipe: &Recipe, ranks: usize, from: &Checkpoint) -> Outcome {
    let prepared = recipe.prepare(ranks).unwrap();
    run(&prepared, ranks, &Recorder::default(), None, Some(from)).unwrap()
}

#[test]
fn resuming_with_the_same_ranks_gives_identical_bits() {
    for strategy in STRATEGIES {
        // Federated averaging counts rounds as steps.
        let epochs = if strategy.contains("federated") { "epochs=12" } else { "epochs=2" };
        let momentum = ["optimizer.momentum=0.9", "schedule.rate=0.01", "prepare.shift=1"];
        let settings = [&[strategy, epochs][..], &momentum].concat();
        let recipe = recipe(&settings);
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = interrupted(&recipe, 2, &Store::new(folder.path()));
        let (wanted, found) = (whole(&recipe, 2), resume(&recipe, 2, &checkpoint));
        assert!(bits(&wanted) == bits(&found), "{strategy}");
        let accuracy = |outcome: &Outcome| outcome.history.last().unwrap().accuracy;
        assert_eq!(accuracy(&wanted), accuracy(&found), "{strategy}");
        assert_eq!(wanted.history.len(), found.history.len(), "{strategy}");
    }
}

#[test]
fn resuming_with_other_ranks_gives_a_similar_loss() {
    for strategy in STRATEGIES {
        let epochs = if strategy.contains("federated") { "epochs=12" } else { "epochs=2" };
        let recipe = recipe(&[strategy, epochs, "optimizer.momentum=0.5"]);
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = interrupted(&recipe, 2, &Store::new(folder.path()));
        let wanted = whole(&recipe, 2).history.last().unwrap().test_loss;
        for ranks in [1, 3] {
            let found = resume(&recipe, ranks, &checkpoint);
            let last = found.history.last().unwrap();
            let off = (last.test_loss - wanted).abs() / wanted;
            assert!(off < 0.2, "{strategy} on {ranks} ranks: {} for {wanted}", last.test_loss);
        }
    }
}

#[test]
fn resuming_synchronous_training_with_other_ranks_differs_by_rounding_only() {
    let recipe = recipe(&["epochs=2", "optimizer.momentum=0.9", "schedule.rate=0.01"]);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = interrupted(&recipe, 2, &Store::new(folder.path()));
    let wanted = whole(&recipe, 1);
    let found = resume(&recipe, 4, &checkpoint);
    let pairs = wanted.parameters.iter().zip(&found.parameters);
    let most = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(most < 1e-4, "{most}");
}

#[test]
fn a_finished_run_can_be_extended() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let short = recipe(&["epochs=1"]);
    run(&short.prepare(1).unwrap(), 1, &Recorder::default(), Some(&store), None).unwrap();
    let found = store.latest().unwrap().unwrap();
    let long = recipe(&["epochs=3"]);
    assert_eq!(bits(&resume(&long, 1, &found.checkpoint)), bits(&whole(&long, 1)));
    let nothing = resume(&short, 1, &found.checkpoint);
    assert_eq!(nothing.parameters, found.checkpoint.parameters);
}

#[test]
fn a_checkpoint_of_another_run_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = interrupted(&recipe(&[]), 1, &Store::new(folder.path()));
    let message = |settings: &[&str]| {
        let prepared = recipe(settings).prepare(1).unwrap();
        run(&prepared, 1, &Recorder::default(), None, Some(&checkpoint)).unwrap_err().to_string()
    };
    let model = message(&["model.mlp=[784, 9, 10]"]);
    assert!(
        model.contains("to another model: its parameter 0 is the weight 'fc0.weight' [12, 784]"),
        "{model}"
    );
    assert!(message(&["data.digits.seed=9"]).contains("other data"));
    assert!(message(&["schedule.rate=0.5"]).contains("another recipe"));
}
