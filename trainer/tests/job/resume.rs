//! Going on from a checkpoint.

use crate::support::{Seen, bits, recipe, run};
use skysail_trainer::{Checkpoint, Found, Outcome, Recipe, Store};

const STRATEGIES: [&str; 5] = [
    "strategy={synchronous={}}",
    "strategy={deep-gradient={sparsity=0.9, warm-up=[0.5]}}",
    "strategy={local={period=3}}",
    "strategy={downpour={staleness=\"synchronous\"}}",
    "strategy={federated={clients=10, fraction=0.3, client-epochs=1}}",
];

/// A training without interruption, whose checkpoints are kept too.
fn whole(recipe: &Recipe, ranks: usize) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let prepared = recipe.prepare(ranks).unwrap();
    run(&prepared, ranks, &Seen::default(), Some(&store), None).unwrap()
}

/// The checkpoint of a training that was cut off somewhere.
fn cut_off(recipe: &Recipe, ranks: usize, store: &Store) -> Checkpoint {
    let prepared = recipe.prepare(ranks).unwrap();
    let seen = Seen { stop_at: Some(7), ..Seen::default() };
    let outcome = run(&prepared, ranks, &seen, Some(store), None).unwrap();
    assert!(outcome.stopped && outcome.steps < prepared.settings.steps);
    let Found { checkpoint, .. } = store.latest().unwrap().unwrap();
    assert_eq!(checkpoint.about.steps, outcome.steps);
    assert_eq!(checkpoint.parameters, outcome.parameters);
    checkpoint
}

fn go_on(recipe: &Recipe, ranks: usize, from: &Checkpoint) -> Outcome {
    let prepared = recipe.prepare(ranks).unwrap();
    run(&prepared, ranks, &Seen::default(), None, Some(from)).unwrap()
}

#[test]
fn what_goes_on_with_the_same_ranks_comes_to_the_same_bits() {
    for strategy in STRATEGIES {
        // Federated averaging has a step a round.
        let epochs = if strategy.contains("federated") { "epochs=12" } else { "epochs=2" };
        let momentum = ["optimizer.momentum=0.9", "schedule.rate=0.01", "prepare.shift=1"];
        let settings = [&[strategy, epochs][..], &momentum].concat();
        let recipe = recipe(&settings);
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = cut_off(&recipe, 2, &Store::new(folder.path()));
        let (wanted, found) = (whole(&recipe, 2), go_on(&recipe, 2, &checkpoint));
        assert!(bits(&wanted) == bits(&found), "{strategy}");
        let accuracy = |outcome: &Outcome| outcome.history.last().unwrap().accuracy;
        assert_eq!(accuracy(&wanted), accuracy(&found), "{strategy}");
        assert_eq!(wanted.history.len(), found.history.len(), "{strategy}");
    }
}

#[test]
fn what_goes_on_with_other_ranks_goes_on_where_it_was() {
    for strategy in STRATEGIES {
        let epochs = if strategy.contains("federated") { "epochs=12" } else { "epochs=2" };
        let recipe = recipe(&[strategy, epochs, "optimizer.momentum=0.5"]);
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = cut_off(&recipe, 2, &Store::new(folder.path()));
        let wanted = whole(&recipe, 2).history.last().unwrap().test_loss;
        for ranks in [1, 3] {
            let found = go_on(&recipe, ranks, &checkpoint);
            let last = found.history.last().unwrap();
            let off = (last.test_loss - wanted).abs() / wanted;
            assert!(off < 0.2, "{strategy} on {ranks} ranks: {} for {wanted}", last.test_loss);
        }
    }
}

#[test]
fn a_synchronous_training_on_other_ranks_differs_by_rounding_alone() {
    let recipe = recipe(&["epochs=2", "optimizer.momentum=0.9", "schedule.rate=0.01"]);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = cut_off(&recipe, 2, &Store::new(folder.path()));
    let wanted = whole(&recipe, 1);
    let found = go_on(&recipe, 4, &checkpoint);
    let pairs = wanted.parameters.iter().zip(&found.parameters);
    let most = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(most < 1e-4, "{most}");
}

#[test]
fn a_training_that_is_done_can_be_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let short = recipe(&["epochs=1"]);
    run(&short.prepare(1).unwrap(), 1, &Seen::default(), Some(&store), None).unwrap();
    let found = store.latest().unwrap().unwrap();
    let long = recipe(&["epochs=3"]);
    assert_eq!(bits(&go_on(&long, 1, &found.checkpoint)), bits(&whole(&long, 1)));
    let nothing = go_on(&short, 1, &found.checkpoint);
    assert_eq!(nothing.parameters, found.checkpoint.parameters);
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = cut_off(&recipe(&[]), 1, &Store::new(folder.path()));
    let said = |settings: &[&str]| {
        let prepared = recipe(settings).prepare(1).unwrap();
        run(&prepared, 1, &Seen::default(), None, Some(&checkpoint)).unwrap_err().to_string()
    };
    let model = said(&["model.mlp=[784, 9, 10]"]);
    assert!(
        model.contains("of another model: parameter 0 is the weight 'fc0.weight' [12, 784]"),
        "{model}"
    );
    assert!(said(&["data.digits.seed=9"]).contains("other data"));
    assert!(said(&["schedule.rate=0.5"]).contains("another recipe"));
}
