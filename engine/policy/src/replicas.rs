//! Choice of the number of replicas of a model, and of the threads of each.
//!
//! Replicas times threads are the cores, so that one model alone can use them all. Many replicas of
//! one thread lose nothing to threads that wait for each other. One replica of many threads answers
//! sooner and needs less memory.

/// Shortest run of one row that other threads can share: a shorter one ends before they are awake.
pub const LONG_RUN_US_MIN: f64 = 200.0;

/// Run time of a row in a batch up to which one replica keeps up with all cores. Reading its
/// request and writing its response cost more.
pub const CHEAP_ROW_US_MAX: f64 = 10.0;

/// Rows of the batch that measures the cost of a row.
pub const CHEAP_BATCH_ROWS: usize = 16;

/// Least share of their time that the threads of a run spend on it rather than on waiting.
pub const EFFICIENCY_MIN: f64 = 0.7;

/// Error of an efficiency from a few runs, as a share of it.
const EFFICIENCY_ERROR: f64 = 0.15;

/// Replicas and threads of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// Number of replicas.
    pub count: usize,
    /// Threads of each.
    pub threads: usize,
}

/// Settings that fix the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Number of replicas.
    pub count: Option<usize>,
    /// Threads of each.
    pub threads: Option<usize>,
}

/// Cost of a model's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Less than that of its requests: one replica is enough.
    Cheap,
    /// Too little to share a run among threads: replicas share the batches.
    Short,
    /// Enough for several threads or several replicas.
    Long,
}

/// Classifies a model by the run time of one row alone, and of each row of a batch. A model that
/// cannot be measured counts as cheap.
pub fn cost(row_us: Option<f64>, row_of_batch_us: Option<f64>) -> Cost {
    let Some(row_us) = row_us else { return Cost::Cheap };
    match row_of_batch_us.unwrap_or(row_us) {
        _ if row_us > LONG_RUN_US_MIN => Cost::Long,
        row_of_batch_us if row_of_batch_us > CHEAP_ROW_US_MAX => Cost::Short,
        _ => Cost::Cheap,
    }
}

/// Returns true if the choice depends on how well a run uses several threads.
pub fn depends_on_efficiency(pinned: Pinned, cost: Cost, cores: usize) -> bool {
    pinned == Pinned::default() && cost == Cost::Long && cores > 1
}

/// Returns the share of their time that `cores` threads spend on a run, from run times by rows on
/// one thread and on all. The worse of the smallest and the largest size counts. Without a size
/// measured on both it is unknown.
pub fn efficiency(one: &[(usize, f64)], all: &[(usize, f64)], cores: usize) -> Option<f64> {
    let of_all = |rows| all.iter().find(|(of, _)| *of == rows).map(|(_, run_us)| *run_us);
    let each = |(rows, one_us): &(usize, f64)| Some(one_us / (of_all(*rows)? * cores as f64));
    let smallest = one.iter().find_map(each)?;
    let largest = one.iter().rev().find_map(each)?;
    Some(smallest.min(largest))
}

/// Certainty of a choice while its efficiency is being measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// More runs of the same size may change the choice.
    Open,
    /// More runs of the same size hardly change it, and larger batches may.
    OfSize,
    /// Neither does.
    Final,
}

/// Returns the certainty of the choice that follows from an efficiency, which is measured to within
/// [`EFFICIENCY_ERROR`]. Larger batches can only lower it.
pub fn certainty(efficiency: Option<f64>, cores: usize) -> Certainty {
    let Some(efficiency) = efficiency else { return Certainty::Open };
    let fewest = widest(efficiency * (1.0 - EFFICIENCY_ERROR), cores);
    let most = widest(efficiency * (1.0 + EFFICIENCY_ERROR), cores);
    match (fewest, most) {
        (_, 1) => Certainty::Final,
        (fewest, most) if fewest == most => Certainty::OfSize,
        _ => Certainty::Open,
    }
}

/// Chooses replicas and threads. Each setting that is pinned is kept.
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

/// Returns the most threads, among the divisors of the cores, that a run uses well enough by
/// Amdahl's law (AFIPS 1967). The serial part of a run follows from the efficiency of all cores
/// (Karp and Flatt, CACM 33(5), 1990).
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
    fn a_choice_is_certain_where_an_error_of_the_efficiency_changes_nothing() {
        assert_eq!(certainty(None, 2), Certainty::Open);
        assert_eq!(certainty(Some(0.7), 2), Certainty::Open);
        assert_eq!(certainty(Some(0.95), 2), Certainty::OfSize);
        assert_eq!(certainty(Some(0.5), 2), Certainty::Final);
        for cores in 1..=64 {
            for percent in 0..=120 {
                let efficiency = f64::from(percent) / 100.0;
                let chosen = |factor: f64| free(efficiency * factor, cores);
                if certainty(Some(efficiency), cores) != Certainty::Open {
                    assert_eq!(chosen(0.86), chosen(1.14), "{percent} % on {cores}");
                }
                if certainty(Some(efficiency), cores) == Certainty::Final {
                    assert_eq!(chosen(0.1), chosen(1.0), "{percent} % on {cores}");
                }
            }
        }
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
    fn pinned_settings_win_and_the_rest_fills_the_cores() {
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
