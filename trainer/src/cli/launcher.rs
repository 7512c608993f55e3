//! Launchers of ranks: threads of this process, or the processes of `mpirun`.

use super::BadUsage;
use anyhow::Result;
use skysail_trainer::{
    Collective, CollectiveError, Outcome, PreparedRecipe, Recipe, RunContext, TrainError, threads,
    with_nccl,
};

/// Variables that `mpirun` sets in each process: number of processes, and rank of this one.
const RANK_VARIABLES: [(&str, &str); 2] =
    [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")];
/// Variables with the index of a process among those of its machine.
#[cfg(feature = "mpi")]
const LOCAL_RANK_VARIABLES: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"];

/// Launcher of the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launcher {
    /// Number of threads.
    Threads(usize),
    /// A process for each rank.
    Processes {
        /// Rank of this process.
        rank: usize,
        /// Number of processes.
        world: usize,
    },
}

impl Launcher {
    /// Detects processes started by `mpirun`; otherwise `ranks` threads.
    ///
    /// # Errors
    /// Fails when `mpirun` started this process and the program was built without MPI.
    pub(super) fn detect(ranks: usize) -> Result<Self> {
        let launched = launched(|name| std::env::var(name).ok());
        if launched.is_some() && cfg!(not(feature = "mpi")) {
            let text = "started by mpirun, but this program was built without MPI: build it with --features mpi";
            return Err(BadUsage(text.to_owned()).into());
        }
        Ok(launched.unwrap_or(Self::Threads(ranks)))
    }

    /// Rejects processes, for commands that support threads only.
    ///
    /// # Errors
    /// Fails when `mpirun` started this process.
    pub(super) fn require_threads(command: &str) -> Result<()> {
        match launched(|name| std::env::var(name).ok()) {
            None => Ok(()),
            Some(_) => {
                let text = format!("{command} supports threads only: start it without mpirun");
                Err(BadUsage(text).into())
            }
        }
    }

    /// Number of ranks.
    pub(super) fn world(self) -> usize {
        match self {
            Self::Threads(world) | Self::Processes { world, .. } => world,
        }
    }

    /// Returns true in the process of rank 0, which reports and writes files.
    pub(super) fn is_rank_zero(self) -> bool {
        matches!(self, Self::Threads(_) | Self::Processes { rank: 0, .. })
    }

    /// Runs the job on all ranks.
    pub(super) fn run(
        self,
        prepared: &PreparedRecipe,
        context: &RunContext<'_>,
        all_reduce: AllReduce,
    ) -> Result<Outcome, TrainError> {
        let recipe = prepared.recipe();
        prepared.with_job(context, |job| match self {
            #[cfg(feature = "mpi")]
            Self::Processes { rank, .. } => {
                skysail_trainer::mpi::ranks(recipe.timeout(), |collective| {
                    job.check(job.task.layout(), collective.world())?;
                    let local = LOCAL_RANK_VARIABLES
                        .iter()
                        .find_map(|name| std::env::var(name).ok()?.parse().ok());
                    job.run(all_reduce.wrap(collective, local.unwrap_or(rank), recipe)?)
                })
            }
            launcher => {
                job.check(job.task.layout(), launcher.world())?;
                let outcomes = threads(launcher.world(), recipe.timeout(), |rank, collective| {
                    job.run(all_reduce.wrap(collective, rank, recipe)?)
                })?;
                let none = || TrainError::State("there are no ranks".to_owned());
                outcomes.into_iter().next().ok_or_else(none)
            }
        })
    }
}

/// Device that sums gradients over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AllReduce {
    /// Sum on the CPU.
    Cpu,
    /// Sum on GPUs with NCCL, one GPU per worker.
    Nccl,
}

impl AllReduce {
    /// Wraps a rank's collective to sum on this device; `gpu` is the index of its GPU.
    fn wrap(
        self,
        collective: Box<dyn Collective>,
        gpu: usize,
        recipe: &Recipe,
    ) -> Result<Box<dyn Collective>, CollectiveError> {
        match self {
            Self::Cpu => Ok(collective),
            Self::Nccl => with_nccl(collective, gpu, recipe.timeout()),
        }
    }
}

/// Reads the rank of this process from the variables of `mpirun`.
fn launched(variable: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name| variable(name).and_then(|text| text.parse::<usize>().ok());
    RANK_VARIABLES.iter().find_map(|(world, rank)| {
        Some(Launcher::Processes { world: number(world)?, rank: number(rank)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_started_by_mpirun_is_detected() {
        let launched_with = |pairs: &[(&str, &str)]| {
            let found = |name: &str| pairs.iter().find(|pair| pair.0 == name);
            launched(|name| found(name).map(|pair| pair.1.to_owned()))
        };
        let pairs = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")];
        let launcher = launched_with(&pairs).unwrap();
        assert_eq!((launcher, launcher.world()), (Launcher::Processes { rank: 2, world: 4 }, 4));
        assert!(!launcher.is_rank_zero() && Launcher::Threads(3).is_rank_zero());
        assert_eq!(launched_with(&pairs[..1]), None);
    }
}
