//! What each policy makes of each model: goodput at a p99 within the objective, against every
//! point of a grid of settings by hand. No sockets, so that the policy is what is measured.

use super::house::{Guest, House};
use super::pace::Pace;
use super::progress;
use super::search::{self, Best, Staircase};
use super::seen::{Seen, median};
use super::setting::{Given, Setting};
use super::subject::Subject;
use anyhow::{Context, Result};
use skysail_loadtest::arrival::Window;
use std::time::Duration;

/// A model whose row runs for longer gets an objective of so many of its runs.
const ROW_MAX: Duration = Duration::from_millis(4);
const OBJECTIVE_ROWS: f64 = 8.0;

/// Part of the capacity at which a search begins: above it, as a good policy needs no less.
const START_SHARE: f64 = 1.2;

/// Requests that a measurement should have at least, so that one in a hundred can be late.
const REQUESTS: f64 = 150.0;

/// How many times longer a measurement may be for that.
const STRETCH_MAX: f64 = 3.0;

/// What is known of a model before its settings are compared.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) subject: Subject,
    /// How long a run of one row takes.
    pub(super) row_us: f64,
    pub(super) given: Given,
    pub(super) objective: Duration,
    /// Requests a second that `predictive` answers in time when it is offered ever more.
    pub(super) capacity_per_s: f64,
}

impl Look {
    /// Loads the model under a setting.
    pub(super) fn load<'a>(&self, house: &'a House, setting: Setting) -> Result<Guest<'a>> {
        house.load(&self.subject, setting, &self.given)
    }

    /// A window long enough for this model.
    pub(super) fn stretch(&self, window: Window) -> Window {
        stretch(window, self.capacity_per_s)
    }
}

/// A window long enough for so many requests a second.
pub(super) fn stretch(window: Window, per_s: f64) -> Window {
    let long_s = REQUESTS / per_s.max(1.0);
    let times = long_s / window.duration.as_secs_f64();
    Window { duration: window.duration.mul_f64(times.clamp(1.0, STRETCH_MAX)), ..window }
}

/// A setting and what it reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    pub(super) best: Best,
}

/// A setting in the comparison in rounds.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) setting: Setting,
    /// Goodput of each round; 0 where the objective was not kept.
    pub(super) scores: Vec<f64>,
    /// Whether the generator was the limit in any round.
    pub(super) is_limit: bool,
}

impl Contender {
    pub(super) fn score(&self) -> f64 {
        median(&self.scores)
    }
}

/// Everything that was found of a model.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) look: Look,
    pub(super) rows: Vec<Row>,
    pub(super) contenders: Vec<Contender>,
}

impl Finding {
    /// The contender of this setting.
    pub(super) fn contender(&self, setting: Setting) -> Option<&Contender> {
        self.contenders.iter().find(|contender| contender.setting == setting)
    }

    /// The best setting by hand, as the rounds have it.
    pub(super) fn best_fixed(&self) -> Option<&Contender> {
        let fixed = self.contenders.iter().filter(|c| matches!(c.setting, Setting::Fixed { .. }));
        fixed.max_by(|a, b| a.score().total_cmp(&b.score()))
    }
}

/// Looks at a model: its run time, its objective, its capacity.
pub(super) fn look(house: &House, pace: &Pace, subject: &Subject) -> Result<Look> {
    progress(format_args!("{}: a first look", subject.name));
    let row_us = house.load(subject, Setting::Predictive, &Given::default())?.row_us()?;
    let row = Duration::from_secs_f64(row_us / 1e6);
    let objective = (row >= ROW_MAX).then(|| {
        // To 5 ms, so that it can be read.
        let ms = row_us * OBJECTIVE_ROWS / 1e3;
        Duration::from_millis((ms / 5.0).ceil() as u64 * 5)
    });
    let given = Given { objective, replicas: None };
    let guest = house.load(subject, Setting::Predictive, &given)?;
    let given = Given { replicas: Some(guest.replicas()), ..given };
    let start_per_s = 0.5e6 / row_us;
    let capacity_per_s =
        search::capacity(start_per_s, |per_s| guest.measure(per_s, pace.glance, 1))?;
    let objective = guest.objective();
    Ok(Look { subject: subject.clone(), row_us, given, objective, capacity_per_s })
}

/// Compares all settings on a model.
pub(super) fn compare(house: &House, pace: &Pace, look: Look) -> Result<Finding> {
    let mut grid = Vec::new();
    let points = if pace.is_quick { Setting::thin_grid() } else { Setting::grid() };
    for setting in points {
        progress(format_args!("{}: {setting}", look.subject.name));
        let guest = look.load(house, setting)?;
        let start_per_s = START_SHARE * look.capacity_per_s;
        let probe = |per_s| guest.measure(per_s, look.stretch(pace.glance), 1);
        let best = search::best(start_per_s, pace.grid_tries, probe)?;
        grid.push(Row { setting, best });
    }
    let mut finals =
        vec![Setting::Predictive, Setting::Aimd, Setting::Quantile, Setting::Unbatched];
    finals.splice(1..1, finalists(&grid, pace.finalists));
    let (rows, contenders) = rounds(house, pace, &look, &finals)?;
    grid.retain(|row| !finals.contains(&row.setting));
    Ok(Finding { look, rows: rows.into_iter().chain(grid).collect(), contenders })
}

/// The best points, the best first.
fn finalists(grid: &[Row], count: usize) -> Vec<Setting> {
    let mut sorted: Vec<&Row> = grid.iter().collect();
    sorted.sort_by(|a, b| b.best.seen.score().total_cmp(&a.best.seen.score()));
    sorted.iter().take(count).map(|row| row.setting).collect()
}

/// Finds the best rate of each setting; then all are measured at theirs one after the other,
/// several times, so that the machine's moods meet all of them.
fn rounds(
    house: &House,
    pace: &Pace,
    look: &Look,
    settings: &[Setting],
) -> Result<(Vec<Row>, Vec<Contender>)> {
    let mut guests = Vec::new();
    for &setting in settings {
        progress(format_args!("{}: {setting}, its best rate", look.subject.name));
        let guest = look.load(house, setting)?;
        let start_per_s = START_SHARE * look.capacity_per_s;
        // Policies that learn have learned when it counts.
        guest.measure(start_per_s, pace.settle, 2)?;
        let probe = |per_s| guest.measure(per_s, look.stretch(pace.probe), 1);
        let best = search::best(start_per_s, pace.tries, probe)?;
        guests.push((guest, Row { setting, best }));
    }
    let mut stairs: Vec<_> = guests.iter().map(|(_, row)| Staircase::new(&row.best)).collect();
    let new = |&setting| Contender { setting, scores: Vec::new(), is_limit: false };
    let mut contenders: Vec<Contender> = settings.iter().map(new).collect();
    for round in 1..=pace.rounds {
        progress(format_args!("{}: round {round} of {}", look.subject.name, pace.rounds));
        for ((guest, _), (stairs, contender)) in
            guests.iter().zip(stairs.iter_mut().zip(&mut contenders))
        {
            let probe = |per_s| guest.measure(per_s, look.stretch(pace.probe), 10 + round);
            let seen: Seen = stairs.round(probe)?;
            contender.scores.push(seen.score());
            contender.is_limit |= seen.is_limit;
        }
    }
    Ok((guests.iter().map(|(_, row)| *row).collect(), contenders))
}

/// The setting by hand to compare with, when no comparison has found one: the best of a few.
pub(super) fn quick_best_fixed(house: &House, pace: &Pace, look: &Look) -> Result<Setting> {
    let mut best: Option<(Setting, f64)> = None;
    for setting in Setting::thin_grid() {
        let guest = look.load(house, setting)?;
        let start_per_s = START_SHARE * look.capacity_per_s;
        let probe = |per_s| guest.measure(per_s, look.stretch(pace.glance), 1);
        let score = search::best(start_per_s, pace.grid_tries, probe)?.seen.score();
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((setting, score));
        }
    }
    best.map(|(setting, _)| setting).context("the grid is empty")
}
