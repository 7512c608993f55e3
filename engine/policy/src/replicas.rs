//! How many replicas run a model, and on how many threads each.
//!
//! Replicas times threads are the cores, so that one model alone can use them all. What is left
//! to decide is how they are shared out: many replicas of one thread lose nothing to threads
//! waiting for each other, and one replica of many threads answers sooner and needs less memory.

/// A run of one row that is shorter than this is over before other threads are awake to share it.
pub const LONG_RUN_US_MIN: f64 = 200.0;

/// A row of a batch that costs less than this costs less than taking its request in and answering
/// it, so that one replica keeps up with all cores.
pub const CHEAP_ROW_US_MAX: f64 = 10.0;

/// Rows of the batch in which a row's cost is measured.
pub const CHEAP_BATCH_ROWS: usize = 16;

/// The least part of their time that threads of one run must spend on it rather than on waiting.
pub const EFFICIENCY_MIN: f64 = 0.7;

/// How a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many batches may run at the same time.
    pub count: usize,
    /// Threads of each.
    pub threads: usize,
}

/// What the model's owner has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// How many replicas.
    pub count: Option<usize>,
    /// Threads of each.
    pub threads: Option<usize>,
}

/// What a model's runs cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Less than its requests: one replica will do.
    Cheap,
    /// Too little to share a run out among threads: replicas share out the batches.
    Short,
    /// A run is worth several threads, or several replicas.
    Long,
}

/// The cost of a model from the time of one row alone and that of each row of a batch. What can
/// not be tried counts as cheap.
pub fn cost(row_us: Option<f64>, row_of_batch_us: Option<f64>) -> Cost {
    let Some(row_us) = row_us else { return Cost::Cheap };
    match row_of_batch_us.unwrap_or(row_us) {
        _ if row_us > LONG_RUN_US_MIN => Cost::Long,
        row_of_batch_us if row_of_batch_us > CHEAP_ROW_US_MAX => Cost::Short,
        _ => Cost::Cheap,
    }
}

/// Whether the choice depends on how well a run uses several threads.
pub fn depends_on_efficiency(pinned: Pinned, cost: Cost, cores: usize) -> bool {
    pinned == Pinned::default() && cost == Cost::Long && cores > 1
}

/// The part of their time that `cores` threads spend on a run, from the run times by rows on one
/// thread and on all. Requests that come alone run as one row and a crowd runs as the largest
/// batch, so the worse of those two counts; nothing is known without a size in both.
pub fn efficiency(one: &[(usize, f64)], all: &[(usize, f64)], cores: usize) -> Option<f64> {
    let of_all = |rows| all.iter().find(|(of, _)| *of == rows).map(|(_, run_us)| *run_us);
    let each = |(rows, one_us): &(usize, f64)| Some(one_us / (of_all(*rows)? * cores as f64));
    let smallest = one.iter().find_map(each)?;
    let largest = one.iter().rev().find_map(each)?;
    Some(smallest.min(largest))
}

/// Shares out the cores. What the owner has decided is kept to, each by itself.
pub fn choose(pinned: Pinned, cost: Cost, efficiency: Option<f64>, cores: usize) -> Replicas {
    let fill = |each: usize| (cores / each.max(1)).max(1);
    match pinned {
        Pinned { count: Some(count), threads: Some(threads) } => Replicas { count, threads },
        Pinned { count, threads } if cost == Cost::Cheap => {
            Replicas { count: count.unwrap_or(1), threads: threads.unwrap_or(1) }
        }
        Pinned { count: Some(count), threads: None } if cost == Cost::Short => {
            Replicas { count, threads: 1 }
        }
        Pinned { count: Some(count), threads: None } => Replicas { count, threads: fill(count) },
        Pinned { count: None, threads: Some(threads) } => {
            Replicas { count: fill(threads), threads }
        }
        Pinned { count: None, threads: None } => {
            let threads = efficiency.map_or(1, |efficiency| widest(efficiency, cores));
            Replicas { count: fill(threads), threads }
        }
    }
}

/// The most threads, of those that divide the cores, that a run uses well enough, by Amdahl's law
/// (AFIPS 1967): the part of a run that can not be shared out follows from the efficiency of all
/// cores (Karp and Flatt, CACM 33(5), 1990).
fn widest(efficiency: f64, cores: usize) -> usize {
    if cores < 2 || efficiency <= 0.0 {
        return 1;
    }
    let serial = (1.0 / efficiency - 1.0) / (cores as f64 - 1.0);
    let of_threads = |threads: usize| 1.0 / (1.0 + serial * (threads as f64 - 1.0));
    let fits =
        |threads: &usize| cores.is_multiple_of(*threads) && of_threads(*threads) >= EFFICIENCY_MIN;
    (1..=cores).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Pinned = Pinned { count: None, threads: None };

    fn free(efficiency: f64, cores: usize) -> (usize, usize) {
        let Replicas { count, threads } = choose(FREE, Cost::Long, Some(efficiency), cores);
        (count, threads)
    }

    #[test]
    fn a_short_run_is_worth_one_thread_and_replicas_only_if_its_rows_cost_something() {
        assert_eq!(cost(None, None), Cost::Cheap);
        assert_eq!(cost(Some(12.0), Some(2.0)), Cost::Cheap);
        assert_eq!(cost(Some(150.0), Some(30.0)), Cost::Short);
        assert_eq!(cost(Some(150.0), None), Cost::Short);
        assert_eq!(cost(Some(250.0), Some(5.0)), Cost::Long);
        let of = |cost| choose(FREE, cost, Some(1.0), 16);
        assert_eq!(of(Cost::Cheap), Replicas { count: 1, threads: 1 });
        assert_eq!(of(Cost::Short).threads, 16, "an efficiency that was measured counts");
        assert_eq!(choose(FREE, Cost::Short, None, 16), Replicas { count: 16, threads: 1 });
    }

    #[test]
    fn on_one_core_there_is_nothing_to_share_out() {
        assert_eq!(free(1.0, 1), (1, 1));
        assert_eq!(choose(FREE, Cost::Long, None, 1), Replicas { count: 1, threads: 1 });
    }

    #[test]
    fn a_run_that_shares_well_gets_all_cores_and_one_that_does_not_gets_one() {
        assert_eq!(free(0.9, 2), (1, 2));
        assert_eq!(free(0.71, 2), (1, 2));
        assert_eq!(free(0.6, 2), (2, 1));
        assert_eq!(free(0.95, 16), (1, 16));
        assert_eq!(free(1.0 / 16.0, 16), (16, 1));
        assert_eq!(free(1.2, 6), (1, 6));
    }

    #[test]
    fn on_many_cores_there_is_something_between() {
        // A tenth of the run is serial: 4 threads spend 77 % of their time on it, 8 only 59 %.
        let serial = 0.1;
        let efficiency = 1.0 / (1.0 + serial * 15.0);
        assert_eq!(free(efficiency, 16), (4, 4));
        assert_eq!(free(1.0 / (1.0 + serial * 5.0), 6), (2, 3));
    }

    #[test]
    fn replicas_times_threads_never_pass_the_cores() {
        for cores in 1..=64 {
            for percent in 0..=120 {
                let (count, threads) = free(f64::from(percent) / 100.0, cores);
                assert_eq!(count * threads, cores, "{percent} % on {cores}");
            }
        }
    }

    #[test]
    fn what_is_pinned_wins_and_the_rest_fills_the_cores() {
        let of = |count, threads, cost| {
            let Replicas { count, threads } = choose(Pinned { count, threads }, cost, None, 8);
            (count, threads)
        };
        assert_eq!(of(Some(3), Some(5), Cost::Long), (3, 5));
        assert_eq!(of(Some(2), None, Cost::Long), (2, 4));
        assert_eq!(of(Some(20), None, Cost::Long), (20, 1));
        assert_eq!(of(None, Some(4), Cost::Long), (2, 4));
        assert_eq!(of(None, Some(20), Cost::Long), (1, 20));
        assert_eq!(of(Some(2), None, Cost::Short), (2, 1));
        assert_eq!(of(None, Some(4), Cost::Short), (2, 4));
        assert_eq!(of(Some(2), None, Cost::Cheap), (2, 1));
        assert_eq!(of(None, Some(4), Cost::Cheap), (1, 4));
    }

    #[test]
    fn efficiency_is_measured_only_where_it_decides() {
        let pinned = Pinned { count: Some(1), threads: None };
        assert!(depends_on_efficiency(FREE, Cost::Long, 2));
        assert!(!depends_on_efficiency(FREE, Cost::Long, 1));
        assert!(!depends_on_efficiency(FREE, Cost::Short, 2));
        assert!(!depends_on_efficiency(pinned, Cost::Long, 2));
    }

    #[test]
    fn the_worse_of_one_row_and_the_largest_batch_counts() {
        let one = [(1, 600.0), (4, 2_000.0), (16, 8_000.0)];
        assert_eq!(efficiency(&one, &[(1, 600.0), (4, 1_000.0), (16, 4_000.0)], 2), Some(0.5));
        assert_eq!(efficiency(&one, &[(1, 300.0), (4, 1_000.0), (16, 8_000.0)], 2), Some(0.5));
        // More threads get to larger batches in the same time.
        assert_eq!(efficiency(&one, &[(1, 300.0), (4, 1_000.0), (64, 9_000.0)], 2), Some(1.0));
        assert_eq!(efficiency(&one, &[], 2), None);
    }
}
