//! The machine that runs batches, as a model of run times.

use super::overhead::at_share;
use super::random::Random;

/// A model on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Mean run times.
    pub cost: Cost,
    /// Variation of runs of one size.
    pub noise: Noise,
    /// Rare runs that take much longer.
    pub hiccups: Option<Hiccups>,
    /// Times at which runs take longer or shorter.
    pub paces: Vec<Pace>,
    /// Part of the runs that fail; they take as long.
    pub failing_share: f64,
}

/// Run time by the size of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Cost {
    /// A part for each run and a part for each row.
    Line {
        /// For each run.
        fixed_us: f64,
        /// For each row.
        row_us: f64,
    },
    /// Points that were measured, rows and microseconds, by rising rows; lines between them, and
    /// beyond the last in proportion.
    Curve(Vec<(usize, f64)>),
}

/// A factor for each run, 1 on average.
#[derive(Clone, Debug, PartialEq)]
pub enum Noise {
    /// Always 1.
    None,
    /// With a long tail.
    Lognormal {
        /// Deviation of the logarithm.
        sigma: f64,
    },
    /// With a shorter one.
    Gamma {
        /// Inverse of the variance, at least 1.
        shape: f64,
    },
    /// Measured noise: quantiles at even distances from the least to the most.
    Measured(Vec<f64>),
}

/// Runs now and then that take much longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hiccups {
    /// Part of the runs.
    pub share: f64,
    /// Factor of their run time.
    pub times: f64,
}

/// A time during which runs that begin in it take so many times as long: a noisy neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// From when.
    pub from_us: u64,
    /// Up to when.
    pub to_us: u64,
    /// Factor of the run times.
    pub times: f64,
}

impl Machine {
    /// Makes a machine without noise, with a cost for each run and one for each row.
    pub fn line(fixed_us: f64, row_us: f64) -> Self {
        Self {
            cost: Cost::Line { fixed_us, row_us },
            noise: Noise::None,
            hiccups: None,
            paces: Vec::new(),
            failing_share: 0.0,
        }
    }

    /// Mean run time of a batch, without hiccups and neighbours.
    pub fn mean_us(&self, rows: usize) -> f64 {
        match &self.cost {
            Cost::Line { fixed_us, row_us } => fixed_us + row_us * rows as f64,
            Cost::Curve(points) => on_curve(points, rows as f64),
        }
    }

    /// Returns the best rate of one replica, in rows a second, with batches of up to `rows_max`
    /// rows and `run_us_max` mean run time. It is 0 if no run is that short.
    pub fn rows_per_s(&self, rows_max: usize, run_us_max: f64) -> f64 {
        let sizes = (1..=rows_max).map(|rows| (rows as f64, self.mean_us(rows)));
        let short = sizes.filter(|&(_, run_us)| run_us <= run_us_max);
        short.map(|(rows, run_us)| 1e6 * rows / run_us).fold(0.0, f64::max)
    }

    /// Draws the time of a run that begins at a time.
    pub(super) fn run_us(&self, rows: usize, at_us: u64, random: &mut Random) -> f64 {
        let noise = match &self.noise {
            Noise::None => 1.0,
            Noise::Lognormal { sigma } => random.lognormal(*sigma),
            Noise::Gamma { shape } => random.gamma(*shape),
            Noise::Measured(factors) => at_share(factors, random.unit()),
        };
        let hiccup = match self.hiccups {
            Some(Hiccups { share, times }) if random.chance(share) => times,
            _ => 1.0,
        };
        let is_now = |pace: &&Pace| (pace.from_us..pace.to_us).contains(&at_us);
        let pace: f64 = self.paces.iter().filter(is_now).map(|pace| pace.times).product();
        self.mean_us(rows) * noise * hiccup * pace
    }
}

fn on_curve(points: &[(usize, f64)], rows: f64) -> f64 {
    let above = points.partition_point(|point| (point.0 as f64) < rows);
    match (above.checked_sub(1).map(|below| points[below]), points.get(above)) {
        (Some((low, low_us)), Some(&(high, high_us))) => {
            let part = (rows - low as f64) / (high - low) as f64;
            low_us + part * (high_us - low_us)
        }
        (Some((last, last_us)), None) => last_us * rows / last.max(1) as f64,
        (None, first) => first.map_or(0.0, |first| first.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_through_its_points() {
        let cost = Cost::Curve(vec![(1, 100.0), (4, 160.0), (8, 400.0)]);
        let machine = Machine { cost, ..Machine::line(0.0, 0.0) };
        let found = [1, 2, 4, 6, 8, 16].map(|rows| machine.mean_us(rows));
        assert_eq!(found, [100.0, 120.0, 160.0, 280.0, 400.0, 800.0]);
        assert_eq!(machine.rows_per_s(64, 1e9), 25_000.0);
        assert_eq!(machine.rows_per_s(64, 130.0), 2e6 / 120.0);
        assert_eq!(machine.rows_per_s(64, 50.0), 0.0);
    }

    #[test]
    fn neighbours_and_hiccups_make_runs_longer() {
        let pace = Pace { from_us: 10, to_us: 20, times: 3.0 };
        let mut machine = Machine { paces: vec![pace], ..Machine::line(100.0, 1.0) };
        let mut random = Random::new(1, 0);
        let mut run_us = |machine: &Machine, at_us| machine.run_us(50, at_us, &mut random);
        let found = [9, 10, 19, 20].map(|at_us| run_us(&machine, at_us));
        assert_eq!(found, [150.0, 450.0, 450.0, 150.0]);
        machine.hiccups = Some(Hiccups { share: 0.1, times: 20.0 });
        let long = (0..1_000).filter(|_| run_us(&machine, 0) > 1_000.0).count();
        assert!((60..140).contains(&long), "{long}");
    }

    #[test]
    fn noise_does_not_change_the_mean() {
        let measured = Noise::Measured(vec![0.5, 0.75, 1.0, 2.0]);
        for noise in [Noise::Lognormal { sigma: 0.3 }, Noise::Gamma { shape: 4.0 }, measured] {
            let machine = Machine { noise, ..Machine::line(100.0, 0.0) };
            let mut random = Random::new(1, 0);
            let sum: f64 = (0..20_000).map(|_| machine.run_us(1, 0, &mut random)).sum();
            assert!((98.0..102.0).contains(&(sum / 20_000.0)), "{machine:?} {sum}");
        }
    }
}
