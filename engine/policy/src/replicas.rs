//! How many replicas run a model, and on how many threads each.
//!
//! Replicas times threads are the cores, so that one model alone can use them all. What is left
//! to decide is how they are shared out: many replicas of one thread lose nothing to threads
//! waiting for each other, and one replica of many threads answers sooner and needs less memory.

/// A run of one row that is shorter than this is over before other threads are awake to share it.
pub const LONG_RUN_US_MIN: f64 = 200.0;

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

/// Whether so long a run of one row is worth several threads or replicas at all. What can not be
/// tried counts as short.
pub fn is_long(row_us: Option<f64>) -> bool {
    row_us.is_some_and(|row_us| row_us > LONG_RUN_US_MIN)
}

/// Whether the choice depends on how well a run uses several threads.
pub fn depends_on_efficiency(pinned: Pinned, is_long: bool, cores: usize) -> bool {
    pinned == Pinned::default() && is_long && cores > 1
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
pub fn choose(pinned: Pinned, is_long: bool, efficiency: Option<f64>, cores: usize) -> Replicas {
    let fill = |each: usize| (cores / each.max(1)).max(1);
    match pinned {
        Pinned { count: Some(count), threads: Some(threads) } => Replicas { count, threads },
        Pinned { count, threads } if !is_long => {
            Replicas { count: count.unwrap_or(1), threads: threads.unwrap_or(1) }
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
        let Replicas { count, threads } = choose(FREE, true, Some(efficiency), cores);
        (count, threads)
    }

    #[test]
    fn a_short_run_is_worth_one_thread() {
        assert!(!is_long(Some(150.0)) && !is_long(None) && is_long(Some(250.0)));
        let one = Replicas { count: 1, threads: 1 };
        assert_eq!(choose(FREE, false, Some(1.0), 16), one);
        assert_eq!(choose(FREE, false, None, 16), one);
    }

    #[test]
    fn on_one_core_there_is_nothing_to_share_out() {
        assert_eq!(free(1.0, 1), (1, 1));
        assert_eq!(choose(FREE, true, None, 1), Replicas { count: 1, threads: 1 });
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
        let of = |count, threads, is_long| {
            let Replicas { count, threads } = choose(Pinned { count, threads }, is_long, None, 8);
            (count, threads)
        };
        assert_eq!(of(Some(3), Some(5), true), (3, 5));
        assert_eq!(of(Some(2), None, true), (2, 4));
        assert_eq!(of(Some(20), None, true), (20, 1));
        assert_eq!(of(None, Some(4), true), (2, 4));
        assert_eq!(of(None, Some(20), true), (1, 20));
        assert_eq!(of(Some(2), None, false), (2, 1));
        assert_eq!(of(None, Some(4), false), (1, 4));
    }

    #[test]
    fn efficiency_is_measured_only_where_it_decides() {
        let pinned = Pinned { count: Some(1), threads: None };
        assert!(depends_on_efficiency(FREE, true, 2));
        assert!(!depends_on_efficiency(FREE, true, 1));
        assert!(!depends_on_efficiency(FREE, false, 2));
        assert!(!depends_on_efficiency(pinned, true, 2));
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
