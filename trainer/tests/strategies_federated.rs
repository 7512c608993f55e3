//! Federated averaging on several ranks, compared with a single process.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_trainer::{
    Batch, ClientData, FederatedAveraging, FederatedSettings, Learner, Sgd, SgdSettings,
    TrainError, threads,
};
use support::strategies::{LONG, RATE, WIDTH};
use support::{Regression, assert_near, batch, joined};

/// Clients with different numbers of rows.
struct Clients(Vec<Batch>);

impl ClientData for Clients {
    fn clients(&self) -> usize {
        self.0.len()
    }

    fn rows(&self, client: usize) -> usize {
        self.0[client].rows()
    }

    fn epoch(
        &mut self,
        client: usize,
        batch: Option<usize>,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch, TrainError>> + '_>, TrainError> {
        let rows = self.rows(client);
        let first = (seed % 3) as usize % rows.max(1);
        let all = &self.0[client];
        let size = batch.unwrap_or(rows).max(1);
        let cut = move |start: usize| {
            let at = |row: usize| (start + row + first) % rows;
            Ok(support::chosen(all, WIDTH, (0..size.min(rows - start)).map(at)))
        };
        Ok(Box::new((0..rows).step_by(size).map(cut)))
    }
}

fn clients() -> Clients {
    Clients((0..7).map(|client| batch(WIDTH, 3 + client * 2, 100 + client as u64)).collect())
}

fn federated(
    settings: FederatedSettings,
    world: usize,
    rounds: usize,
) -> (Vec<f32>, Vec<Vec<usize>>) {
    let all = threads(world, LONG, |_, collective| {
        let mut learner = Regression::new(WIDTH);
        let mut strategy = FederatedAveraging::new(learner.layout(), collective, settings);
        let mut parameters = vec![0.25; learner.layout().len()];
        let mut chosen = Vec::new();
        for _ in 0..rounds {
            let report = strategy.round(&mut learner, &mut parameters, &mut clients(), RATE)?;
            chosen.push(report.clients);
        }
        Ok((parameters, chosen))
    });
    let mut all = all.unwrap();
    assert!(all.iter().all(|rank| *rank == all[0]), "all ranks have the same bits");
    all.swap_remove(0)
}

const FEDERATED: FederatedSettings = FederatedSettings {
    fraction: 1.0,
    epochs: 1,
    batch: None,
    sgd: SgdSettings { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
    seed: 7,
};

#[test]
fn one_whole_batch_of_all_clients_equals_a_step_with_all_rows() {
    let mut learner = Regression::new(WIDTH);
    let len = learner.layout().len();
    let (mut expected, mut gradients) = (vec![0.25; len], vec![0.0; len]);
    let mut sgd = Sgd::new(learner.layout(), SgdSettings::default());
    let all = joined(&clients().0);
    for _ in 0..10 {
        learner.gradients(&expected, &all, &mut gradients).unwrap();
        sgd.step(&mut expected, &gradients, RATE);
    }
    for world in [1, 2, 4] {
        assert_near(&federated(FEDERATED, world, 10).0, &expected, 1e-5);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_ranks() {
    let settings = FederatedSettings { fraction: 0.4, epochs: 3, batch: Some(4), ..FEDERATED };
    let (parameters, chosen) = federated(settings, 1, 6);
    assert!(chosen.iter().all(|clients| clients.len() == 3));
    assert!(chosen.iter().any(|clients| *clients != chosen[0]), "not always the same ones");
    for world in [2, 4] {
        let (others, same) = federated(settings, world, 6);
        assert_eq!(same, chosen);
        assert_near(&others, &parameters, 1e-5);
    }
}

#[test]
fn rounds_resume_from_a_state() {
    let settings = FederatedSettings { fraction: 0.3, batch: Some(5), ..FEDERATED };
    let whole = federated(settings, 1, 6);
    let parts = threads(1, LONG, |_, collective| {
        let mut learner = Regression::new(WIDTH);
        let mut parameters = vec![0.25; learner.layout().len()];
        let mut first = FederatedAveraging::new(learner.layout(), collective, settings);
        for _ in 0..3 {
            first.round(&mut learner, &mut parameters, &mut clients(), RATE)?;
        }
        let state = first.state();
        let rest = threads(1, LONG, |_, collective| {
            let mut learner = Regression::new(WIDTH);
            let mut parameters = parameters.clone();
            let mut second = FederatedAveraging::new(learner.layout(), collective, settings);
            second.restore(&state)?;
            for _ in 0..3 {
                second.round(&mut learner, &mut parameters, &mut clients(), RATE)?;
            }
            Ok(parameters)
        });
        Ok(rest?.remove(0))
    });
    assert_eq!(parts.unwrap()[0], whole.0);
}
