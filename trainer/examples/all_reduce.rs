//! Time of a sum over ranks, on threads or under `mpirun`.
//!
//! Threads: `cargo run --release -p skysail-trainer --example all_reduce [RANKS]`. Processes:
//! `mpirun -n 2 target/release/examples/all_reduce`, built with `--features mpi`. The latter prints
//! rows of length, our milliseconds, those of MPI's own sum, and the ratio.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use skysail_trainer::{Collective, TrainError, threads};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(60);
/// A small length; a bucket of gradients; the parameters of LeNet-300-100, of LeNet-5 and of the
/// CNN of federated averaging; 16 MB.
const LENS: [usize; 6] = [1000, 65_536, 266_610, 431_080, 1_663_370, 4_000_000];
const ROUNDS: usize = 60;
/// Number of alternations, so that both sides see the same state of the machine.
#[cfg(feature = "mpi")]
const TURNS: usize = 5;

fn main() -> Result<(), TrainError> {
    #[cfg(feature = "mpi")]
    if std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some() {
        return skysail_trainer::mpi::ranks(TIMEOUT, beside_mpi);
    }
    let ranks = std::env::args().nth(1).and_then(|ranks| ranks.parse().ok()).unwrap_or(2);
    for len in LENS {
        let times = threads(ranks, TIMEOUT, |_, mut collective| ours(collective.as_mut(), len))?;
        println!("{ranks} threads, {len} numbers: {:.3} ms", 1e3 * times[0]);
    }
    Ok(())
}

/// Median time of a sum in seconds.
fn ours(collective: &mut dyn Collective, len: usize) -> Result<f64, TrainError> {
    let mut values = vec![0.0; len];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        values.fill(1.0);
        let started = Instant::now();
        collective.all_reduce(&mut values)?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(feature = "mpi")]
fn beside_mpi(mut collective: Box<dyn Collective>) -> Result<(), TrainError> {
    for len in LENS {
        let (mut ours_all, mut theirs_all) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours_all.push(ours(collective.as_mut(), len)?);
            theirs_all.push(theirs(len));
        }
        let (ours, theirs) = (median(ours_all), median(theirs_all));
        if collective.rank() == 0 {
            let ratio = ours / theirs;
            println!("| {len} | {:.3} | {:.3} | {ratio:.2} |", 1e3 * ours, 1e3 * theirs);
        }
    }
    Ok(())
}

/// Median time of MPI's own sum in seconds.
#[cfg(feature = "mpi")]
fn theirs(len: usize) -> f64 {
    use mpi::collective::SystemOperation;
    use mpi::traits::CommunicatorCollectives;

    let all = mpi::topology::SimpleCommunicator::world();
    let (mut values, mut sums) = (vec![0.0_f32; len], vec![0.0_f32; len]);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        values.fill(1.0);
        let started = Instant::now();
        all.all_reduce_into(&values[..], &mut sums[..], SystemOperation::sum());
        times.push(started.elapsed().as_secs_f64());
    }
    median(times)
}
