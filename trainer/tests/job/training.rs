//! Results of training runs, and their failures.

use crate::support::{Recorder, bits, recipe, run};
use skysail_trainer::{
    Batch, Input, Layout, Learner, NetworkTask, RunContext, Store, TrainError, TrainTask, threads,
};

#[test]
fn training_reduces_the_loss_and_reports_it() {
    let prepared = recipe(&["epochs=6", "optimizer.momentum=0.9"]).prepare(1).unwrap();
    let recorder = Recorder::default();
    let outcome = run(&prepared, 1, &recorder, None, None).unwrap();
    assert_eq!((outcome.steps, outcome.stopped), (120, false));
    let history = &outcome.history;
    assert_eq!(*history, *recorder.measured.lock().unwrap());
    let epochs: Vec<_> = history.iter().map(|measured| (measured.epoch, measured.steps)).collect();
    assert_eq!(epochs, [(1, 20), (2, 40), (3, 60), (4, 80), (5, 100), (6, 120)]);
    let (first, last) = (history.first().unwrap(), history.last().unwrap());
    assert!(last.train_loss < first.train_loss * 0.5, "{first:?} {last:?}");
    assert!(last.accuracy.unwrap() > 0.6, "{last:?}");
    let steps = recorder.steps.lock().unwrap();
    assert_eq!(steps.len(), 120);
    assert_eq!((steps[25].steps, steps[25].epoch, steps[25].rows), (26, 1, 16));
    let model = prepared.task.trained(&outcome.parameters).unwrap();
    let again = NetworkTask::new(model).unwrap();
    assert_eq!(again.initial_parameters(), outcome.parameters);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_ranks_nearly_the_same_numbers() {
    let of = |ranks: usize, settings: &[&str]| {
        let prepared = recipe(settings).prepare(ranks).unwrap();
        run(&prepared, ranks, &Recorder::default(), None, None).unwrap()
    };
    let single = of(1, &["epochs=1"]);
    assert_eq!(bits(&single), bits(&of(1, &["epochs=1"])));
    assert_ne!(bits(&single), bits(&of(1, &["epochs=1", "seed=2"])));
    let together = of(3, &["epochs=1"]);
    let pairs = single.parameters.iter().zip(&together.parameters);
    let most = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(most < 1e-4, "16 rows a step on 3 ranks differ by {most} from one rank alone");
    assert!(together.history[0].bytes_sent > 0 && single.history[0].bytes_sent == 0);
}

#[test]
fn training_ends_when_the_target_is_reached() {
    let settings = ["epochs=50", "target.accuracy=0.3", "target.stop=true"];
    let prepared = recipe(&settings).prepare(2).unwrap();
    let outcome = run(&prepared, 2, &Recorder::default(), None, None).unwrap();
    let last = outcome.history.last().unwrap();
    assert!(last.accuracy.unwrap() >= 0.3 && last.epoch < 50 && !outcome.stopped, "{last:?}");
    let before = &outcome.history[..outcome.history.len() - 1];
    assert!(before.iter().all(|measured| measured.accuracy.unwrap() < 0.3));
}

#[test]
fn a_non_finite_loss_is_reported_with_rank_and_step() {
    let prepared = recipe(&["schedule.rate=1e30"]).prepare(2).unwrap();
    let message = run(&prepared, 2, &Recorder::default(), None, None).unwrap_err().to_string();
    assert!(message.starts_with("rank ") && message.contains("step "), "{message}");
    assert!(message.contains("epoch 0") && message.contains("lower the rate"), "{message}");
}

#[test]
fn impossible_runs_are_rejected_before_training() {
    let message = |settings: &[&str], ranks: usize| match recipe(settings).prepare(ranks) {
        Ok(_) => panic!("{settings:?} is prepared"),
        Err(error) => error.to_string(),
    };
    assert!(message(&[], 17).contains("a batch of 16 leaves some of 17 ranks without data"));
    assert!(message(&["batch=400"], 1).contains("320 rows are too few"));
    let shape = message(&["model.mlp=[100, 10]"], 1);
    assert!(
        shape.contains("[28, 28]") && shape.contains("input: float32 tensor [batch, 100]"),
        "{shape}"
    );
    let label = message(&["model.mlp=[784, 7]"], 1);
    assert!(label.contains("row 7 has the label 7, but the model has 7 classes"), "{label}");
    assert!(message(&["model={file=\"none.onnx\"}"], 1).contains("none.onnx"));
    let clients = ["strategy={federated={clients=500, fraction=0.1, client-epochs=1}}"];
    assert!(message(&clients, 1).contains("500 parts would leave some without data"));
}

/// Fails on one rank, at its fifth step.
struct Fragile {
    inner: NetworkTask,
    fails: fn() -> TrainError,
}

struct FragileLearner {
    inner: Box<dyn Learner>,
    fails: fn() -> TrainError,
    steps: u32,
}

impl TrainTask for Fragile {
    fn layout(&self) -> &Layout {
        self.inner.layout()
    }
    fn initial_parameters(&self) -> Vec<f32> {
        self.inner.initial_parameters()
    }
    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        let inner = self.inner.learner()?;
        let fails = std::thread::current().name() == Some("fragile");
        match fails {
            true => Ok(Box::new(FragileLearner { inner, fails: self.fails, steps: 0 })),
            false => Ok(inner),
        }
    }
}

impl Learner for FragileLearner {
    fn layout(&self) -> &Layout {
        self.inner.layout()
    }
    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        self.steps += 1;
        if self.steps == 5 {
            return Err((self.fails)());
        }
        self.inner.gradients_as_ready(parameters, batch, ready)
    }
    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        self.inner.predict(parameters, input)
    }
}

/// The error when rank 1 of 3 fails.
fn failed(fails: fn() -> TrainError) -> String {
    let prepared = recipe(&[]).prepare(3).unwrap();
    let inner = NetworkTask::new(prepared.task.model().clone()).unwrap();
    let (task, recorder) = (Fragile { inner, fails }, Recorder::default());
    let context =
        RunContext { observer: &recorder, store: None, resume: None, stop: &recorder.stop };
    let run = prepared.with_job_of(&task, &context, |job| {
        threads(3, prepared.recipe().timeout(), |rank, collective| {
            // The failing rank runs on a thread of that name.
            let name = if rank == 1 { "fragile" } else { "sound" };
            std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name(name.to_owned());
                let thread = thread.spawn_scoped(scope, || job.run(collective)).unwrap();
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    });
    run.unwrap_err().to_string()
}

#[test]
fn a_failing_rank_ends_the_run_and_is_named() {
    let message = failed(|| TrainError::Data("a row is odd".to_owned()));
    assert_eq!(message, "rank 1: the data does not fit the model: a row is odd");
    let message = failed(|| panic!("out of luck"));
    assert!(message.contains("rank 1 panicked: out of luck"), "{message}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_run_and_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in-the-way");
    std::fs::write(&file, "").unwrap();
    let prepared = recipe(&[]).prepare(1).unwrap();
    let store = Store::new(file.join("checkpoints"));
    let message =
        run(&prepared, 1, &Recorder::default(), Some(&store), None).unwrap_err().to_string();
    assert!(message.contains("in-the-way"), "{message}");
}
