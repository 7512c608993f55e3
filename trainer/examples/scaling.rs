//! Training throughput of ranks under MPI: 64 rows per rank and step, synchronous.
//!
//! Run `RAYON_NUM_THREADS=1 mpirun -n 2 target/release/examples/scaling [lenet-5|cnn] [STEPS]`,
//! built with `cargo build --release -p skysail-trainer --features mpi --example scaling`.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use skysail_graph::{Model, fed_avg_cnn, lenet_5};
use skysail_trainer::{
    Collective, Learner, Network, SgdSettings, Strategy, Synchronous, TrainError, digits, mpi,
};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Rows of a rank in a step.
const ROWS: usize = 64;
/// Warm-up steps that are not timed.
const FIRST: usize = 5;
const RATE: f32 = 0.01;
/// Default of recipes.
const BUCKET_BYTES: usize = 1 << 20;

fn main() -> Result<(), TrainError> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "lenet-5".to_owned());
    let steps = std::env::args().nth(2).and_then(|steps| steps.parse().ok()).unwrap_or(60);
    let model = if name == "cnn" { fed_avg_cnn(1)? } else { lenet_5(1)? };
    mpi::ranks(TIMEOUT, |collective| {
        let (rank, world) = (collective.rank(), collective.world());
        let seconds = seconds(&model, collective, steps)?;
        if rank == 0 {
            let (ms, rate) = (1e3 * seconds, (ROWS * world) as f64 / seconds);
            println!("| {name} | {world} | {ms:.3} | {rate:.0} |");
        }
        Ok(())
    })
}

/// Mean time of a step in seconds.
fn seconds(
    model: &Model,
    collective: Box<dyn Collective>,
    steps: usize,
) -> Result<f64, TrainError> {
    let data = digits(ROWS, 1 + collective.rank() as u64)?.fit(model)?;
    let batch = data.batch(&(0..ROWS as u32).collect::<Vec<_>>());
    let mut learner = Network::new(model)?;
    let mut parameters = learner.parameters();
    let sgd = SgdSettings { momentum: 0.9, ..SgdSettings::default() };
    let mut strategy = Synchronous::new(learner.layout(), collective, sgd, BUCKET_BYTES)?;
    let mut started = Instant::now();
    for step in 0..FIRST + steps {
        if step == FIRST {
            started = Instant::now();
        }
        strategy.step(&mut learner, &mut parameters, &batch, RATE)?;
    }
    Ok(started.elapsed().as_secs_f64() / steps as f64)
}
