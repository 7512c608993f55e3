//! Goodput of each policy on each model, against every point of a grid of fixed settings. It runs
//! without sockets, so that the policy is measured.

use super::bench_model::BenchModel;
use super::budget::Budget;
use super::loaded_model::LoadedModel;
use super::measurement::Measurement;
use super::search::{self, BestRate, Staircase};
use super::setting::{FixedSettings, Setting};
use crate::engine_under_test::TestEngine;
use crate::progress::progress;
use anyhow::{Context, Result};
use skysail_loadtest::arrival::Window;
use skysail_loadtest::quantiles::median;
use std::time::Duration;

/// Run time of a row above which the objective is a multiple of it.
const ROW_MAX: Duration = Duration::from_millis(4);
const OBJECTIVE_ROWS: f64 = 8.0;

/// First rate of a search, relative to the capacity. A good policy sustains nearly that.
const START_SHARE: f64 = 1.2;

/// Least requests of a measurement, so that one in a hundred can be late.
const REQUESTS: f64 = 150.0;

/// Greatest factor by which a window is extended for that.
const STRETCH_MAX: f64 = 3.0;

/// Baseline of a model, measured before its settings are compared.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    pub(super) model: BenchModel,
    /// Run time of a row.
    pub(super) row_us: f64,
    pub(super) fixed: FixedSettings,
    pub(super) objective: Duration,
    /// Most goodput of `predictive` under growing load.
    pub(super) capacity_per_s: f64,
}

impl Baseline {
    /// Loads the model under a setting.
    pub(super) fn load<'a>(
        &self,
        engine: &'a TestEngine,
        setting: Setting,
    ) -> Result<LoadedModel<'a>> {
        LoadedModel::load(engine, &self.model, setting, &self.fixed)
    }

    /// Extends a window for this model.
    pub(super) fn stretch(&self, window: Window) -> Window {
        stretch(window, self.capacity_per_s)
    }
}

/// Extends a window for a rate.
pub(super) fn stretch(window: Window, per_s: f64) -> Window {
    let long_s = REQUESTS / per_s.max(1.0);
    let times = long_s / window.duration.as_secs_f64();
    Window { duration: window.duration.mul_f64(times.clamp(1.0, STRETCH_MAX)), ..window }
}

/// Setting with its best rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    pub(super) best: BestRate,
}

/// Setting in the comparison by rounds.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) setting: Setting,
    /// Goodput of each round; 0 where the objective was missed.
    pub(super) scores: Vec<f64>,
    /// True if the generator was the limit in any round.
    pub(super) is_limit: bool,
}

impl Candidate {
    pub(super) fn score(&self) -> f64 {
        median(&self.scores)
    }
}

/// Results of a model.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) baseline: Baseline,
    pub(super) rows: Vec<Row>,
    pub(super) candidates: Vec<Candidate>,
}

impl Comparison {
    /// Candidate with a setting.
    pub(super) fn candidate(&self, setting: Setting) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.setting == setting)
    }

    /// Best hand-set point by the rounds.
    pub(super) fn best_fixed(&self) -> Option<&Candidate> {
        let fixed = self.candidates.iter().filter(|c| matches!(c.setting, Setting::Fixed { .. }));
        fixed.max_by(|a, b| a.score().total_cmp(&b.score()))
    }
}

/// Measures the baseline of a model: run time, objective, capacity.
pub(super) fn baseline(
    engine: &TestEngine,
    budget: &Budget,
    model: &BenchModel,
) -> Result<Baseline> {
    progress(format_args!("{}: baseline", model.name));
    let default = FixedSettings::default();
    let row_us = LoadedModel::load(engine, model, Setting::Predictive, &default)?.row_us()?;
    let row = Duration::from_secs_f64(row_us / 1e6);
    let objective = (row >= ROW_MAX).then(|| {
        // The objective is rounded to 5 ms.
        let ms = row_us * OBJECTIVE_ROWS / 1e3;
        Duration::from_millis((ms / 5.0).ceil() as u64 * 5)
    });
    let fixed = FixedSettings { objective, replicas: None };
    let loaded = LoadedModel::load(engine, model, Setting::Predictive, &fixed)?;
    let fixed = FixedSettings { replicas: Some(loaded.replicas()), ..fixed };
    let start_per_s = 0.5e6 / row_us;
    let capacity_per_s =
        search::capacity(start_per_s, |per_s| loaded.measure(per_s, budget.glance, 1))?;
    let objective = loaded.objective();
    Ok(Baseline { model: model.clone(), row_us, fixed, objective, capacity_per_s })
}

/// Compares all settings on a model.
pub(super) fn compare(
    engine: &TestEngine,
    budget: &Budget,
    baseline: Baseline,
) -> Result<Comparison> {
    let mut grid = Vec::new();
    let points = if budget.is_quick { Setting::thin_grid() } else { Setting::grid() };
    for setting in points {
        progress(format_args!("{}: {setting}", baseline.model.name));
        let model = baseline.load(engine, setting)?;
        let start_per_s = START_SHARE * baseline.capacity_per_s;
        let probe = |per_s| model.measure(per_s, baseline.stretch(budget.glance), 1);
        let best = search::best(start_per_s, budget.grid_tries, probe)?;
        grid.push(Row { setting, best });
    }
    let mut finals =
        vec![Setting::Predictive, Setting::Aimd, Setting::Quantile, Setting::Unbatched];
    finals.splice(1..1, finalists(&grid, budget.finalists));
    let (rows, candidates) = rounds(engine, budget, &baseline, &finals)?;
    grid.retain(|row| !finals.contains(&row.setting));
    Ok(Comparison { baseline, rows: rows.into_iter().chain(grid).collect(), candidates })
}

/// Best points of the grid, the best first.
fn finalists(grid: &[Row], count: usize) -> Vec<Setting> {
    let mut sorted: Vec<&Row> = grid.iter().collect();
    sorted.sort_by(|a, b| b.best.measurement.score().total_cmp(&a.best.measurement.score()));
    sorted.iter().take(count).map(|row| row.setting).collect()
}

/// Finds the best rate of each setting. Then all are measured at theirs in turn, several times, so
/// that changes of the machine affect all of them.
fn rounds(
    engine: &TestEngine,
    budget: &Budget,
    baseline: &Baseline,
    settings: &[Setting],
) -> Result<(Vec<Row>, Vec<Candidate>)> {
    let mut models = Vec::new();
    for &setting in settings {
        progress(format_args!("{}: {setting}, its best rate", baseline.model.name));
        let model = baseline.load(engine, setting)?;
        let start_per_s = START_SHARE * baseline.capacity_per_s;
        // Adaptive policies learn before they are measured.
        model.measure(start_per_s, budget.settle, 2)?;
        let probe = |per_s| model.measure(per_s, baseline.stretch(budget.probe), 1);
        let best = search::best(start_per_s, budget.tries, probe)?;
        models.push((model, Row { setting, best }));
    }
    let mut stairs: Vec<_> = models.iter().map(|(_, row)| Staircase::new(&row.best)).collect();
    let new = |&setting| Candidate { setting, scores: Vec::new(), is_limit: false };
    let mut candidates: Vec<Candidate> = settings.iter().map(new).collect();
    for round in 1..=budget.rounds {
        progress(format_args!("{}: round {round} of {}", baseline.model.name, budget.rounds));
        for ((model, _), (stairs, candidate)) in
            models.iter().zip(stairs.iter_mut().zip(&mut candidates))
        {
            let probe = |per_s| model.measure(per_s, baseline.stretch(budget.probe), 10 + round);
            let measured: Measurement = stairs.round(probe)?;
            candidate.scores.push(measured.score());
            candidate.is_limit |= measured.is_limit;
        }
    }
    Ok((models.iter().map(|(_, row)| *row).collect(), candidates))
}

/// Best hand-set point of a few, if no comparison has found one.
pub(super) fn quick_best_fixed(
    engine: &TestEngine,
    budget: &Budget,
    baseline: &Baseline,
) -> Result<Setting> {
    let mut best: Option<(Setting, f64)> = None;
    for setting in Setting::thin_grid() {
        let model = baseline.load(engine, setting)?;
        let start_per_s = START_SHARE * baseline.capacity_per_s;
        let probe = |per_s| model.measure(per_s, baseline.stretch(budget.glance), 1);
        let score = search::best(start_per_s, budget.grid_tries, probe)?.measurement.score();
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((setting, score));
        }
    }
    best.map(|(setting, _)| setting).context("the grid is empty")
}
