//! Under what ranks run: threads of this process, or processes of `mpirun`.

use super::BadUsage;
use anyhow::Result;
use skysail_trainer::{
    Collective, CollectiveError, Outcome, Prepared, Recipe, Surroundings, TrainError, on_gpus,
    threads,
};

/// Set by `mpirun` in each process that it starts: how many there are, and which one it is.
const LAUNCHED: [(&str, &str); 2] =
    [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")];
/// Which of its machine's processes each is.
#[cfg(feature = "mpi")]
const LOCAL: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"];

/// Where ranks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// So many threads.
    Threads(usize),
    /// A process each.
    Processes {
        /// Which one this is.
        rank: usize,
        /// How many there are.
        world: usize,
    },
}

impl Engine {
    /// Processes, if `mpirun` started this one; else so many threads.
    ///
    /// # Errors
    /// When there are to be processes, and this program was built without.
    pub(super) fn of(ranks: usize) -> Result<Self> {
        let launched = launched(|name| std::env::var(name).ok());
        if launched.is_some() && cfg!(not(feature = "mpi")) {
            let text =
                "mpirun started this, and it was built without MPI: build it with --features mpi";
            return Err(BadUsage(text.to_owned()).into());
        }
        Ok(launched.unwrap_or(Self::Threads(ranks)))
    }

    /// Refuses processes, for what threads alone do.
    ///
    /// # Errors
    /// When `mpirun` started this process.
    pub(super) fn only_threads(command: &str) -> Result<()> {
        match launched(|name| std::env::var(name).ok()) {
            None => Ok(()),
            Some(_) => {
                let text = format!("{command} runs on threads alone: start it without mpirun");
                Err(BadUsage(text).into())
            }
        }
    }

    /// How many ranks there are.
    pub(super) fn world(self) -> usize {
        match self {
            Self::Threads(world) | Self::Processes { world, .. } => world,
        }
    }

    /// Whether this process has rank 0, which tells and writes.
    pub(super) fn is_first(self) -> bool {
        matches!(self, Self::Threads(_) | Self::Processes { rank: 0, .. })
    }

    /// Runs the job on all ranks, which sum on GPUs if they shall.
    pub(super) fn run(
        self,
        prepared: &Prepared,
        around: &Surroundings<'_>,
        sums: Sums,
    ) -> Result<Outcome, TrainError> {
        let recipe = prepared.recipe();
        prepared.with_job(around, |job| match self {
            #[cfg(feature = "mpi")]
            Self::Processes { rank, .. } => {
                skysail_trainer::mpi::ranks(recipe.deadline(), |collective| {
                    job.check(job.trainee.layout(), collective.world())?;
                    let local =
                        LOCAL.iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
                    job.run(sums.of(collective, local.unwrap_or(rank), recipe)?)
                })
            }
            engine => {
                job.check(job.trainee.layout(), engine.world())?;
                let outcomes = threads(engine.world(), recipe.deadline(), |rank, collective| {
                    job.run(sums.of(collective, rank, recipe)?)
                })?;
                let none = || TrainError::State("there are no ranks".to_owned());
                outcomes.into_iter().next().ok_or_else(none)
            }
        })
    }
}

/// Where ranks add up what they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sums {
    /// On processors.
    Cpu,
    /// On GPUs, one a rank, by NCCL.
    Nccl,
}

impl Sums {
    /// A rank's end, which sums there; `gpu` is its GPU.
    fn of(
        self,
        collective: Box<dyn Collective>,
        gpu: usize,
        recipe: &Recipe,
    ) -> Result<Box<dyn Collective>, CollectiveError> {
        match self {
            Self::Cpu => Ok(collective),
            Self::Nccl => on_gpus(collective, gpu, recipe.deadline()),
        }
    }
}

/// The process that `mpirun` made this one.
fn launched(variable: impl Fn(&str) -> Option<String>) -> Option<Engine> {
    let number = |name| variable(name).and_then(|text| text.parse::<usize>().ok());
    LAUNCHED.iter().find_map(|(world, rank)| {
        Some(Engine::Processes { world: number(world)?, rank: number(rank)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_mpirun_knows_that_it_is_one() {
        let launched_with = |pairs: &[(&str, &str)]| {
            let found = |name: &str| pairs.iter().find(|pair| pair.0 == name);
            launched(|name| found(name).map(|pair| pair.1.to_owned()))
        };
        let pairs = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")];
        let engine = launched_with(&pairs).unwrap();
        assert_eq!((engine, engine.world()), (Engine::Processes { rank: 2, world: 4 }, 4));
        assert!(!engine.is_first() && Engine::Threads(3).is_first());
        assert_eq!(launched_with(&pairs[..1]), None);
    }
}
