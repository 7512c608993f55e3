//! Tables of the comparison of policies, with their targets.

use super::capacities::mark;
use super::policies::{Candidate, Comparison, Row};
use super::setting::Setting;
use crate::targets::{self, Target};
use anyhow::Result;
use std::io::Write;

/// Least goodput of `predictive` on each model, relative to the best hand-set point.
const OVER_FIXED_MIN: f64 = 0.95;
/// Share of the models on which it must be at least equal.
const MOST: f64 = 0.5;

/// Clipper's gain over no batching on a linear SVM (NSDI 2017, section 4.3).
const OVER_UNBATCHED_MIN: f64 = 25.0;
const LINEAR_SVM: &str = "sklearn-mnist-linear-svm";

/// Prints the head of the table of settings.
pub(super) fn settings_head(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n## Goodput of each setting\n\n\
         | model | objective ms | setting | offered/s | goodput/s | p99 ms | batch | generator |\n\
         |---|---:|---|---:|---:|---:|---:|---:|"
    )?;
    Ok(())
}

/// Prints a row for each setting of a model, the best first.
pub(super) fn settings(out: &mut impl Write, comparison: &Comparison) -> Result<()> {
    let mut rows: Vec<&Row> = comparison.rows.iter().collect();
    rows.sort_by(|a, b| b.best.measurement.score().total_cmp(&a.best.measurement.score()));
    let objective_ms = comparison.baseline.objective.as_secs_f64() * 1e3;
    for Row { setting, best } in rows {
        let measured = &best.measurement;
        let mark = mark(measured.is_limit);
        let kept = if measured.meets_objective { "" } else { " LATE" };
        writeln!(
            out,
            "| {} | {objective_ms:.0} | {setting} | {:.0} | {:.0}{kept} | {:.2} | {:.1} | {:.0} %{mark} |",
            comparison.baseline.model.name,
            measured.offered_per_s,
            measured.goodput_per_s,
            measured.p99_ms,
            measured.batch_rows,
            measured.utilization * 1e2,
        )?;
    }
    Ok(out.flush()?)
}

/// Prints `predictive` beside the others, measured in turn, with the targets.
pub(super) fn side_by_side(out: &mut impl Write, comparisons: &[Comparison]) -> Result<()> {
    writeln!(
        out,
        "\n## Side by side: `predictive` and others in alternation, medians of the rounds and of their ratios\n\n\
         | model | against | predictive/s | the other/s | ratio | target | |\n\
         |---|---|---:|---:|---:|---:|---|"
    )?;
    let mut over_fixed = Vec::new();
    for comparison in comparisons {
        let Some(ours) = comparison.candidate(Setting::Predictive) else { continue };
        for (peer, bar) in peers(comparison) {
            let ratio = ratio(ours, peer);
            if matches!(peer.setting, Setting::Fixed { .. }) {
                over_fixed.push(ratio);
            }
            let (bar, verdict) = match bar {
                Some(bar) => (bar.to_string(), bar.verdict(ratio)),
                None => (String::new(), ""),
            };
            let best =
                if matches!(peer.setting, Setting::Fixed { .. }) { "best fixed: " } else { "" };
            writeln!(
                out,
                "| {} | {best}{} | {}| {}| {ratio:.2} | {bar} | {verdict} |",
                comparison.baseline.model.name,
                peer.setting,
                score(ours),
                score(peer),
            )?;
        }
    }
    writeln!(out)?;
    Ok(targets::print(out, &most(&over_fixed))?)
}

/// Candidates to compare with: the best hand-set point, and the other policies.
fn peers(comparison: &Comparison) -> Vec<(&Candidate, Option<Target>)> {
    let unbatched = (comparison.baseline.model.name == LINEAR_SVM)
        .then_some(Target::AtLeast(OVER_UNBATCHED_MIN));
    let others =
        [(Setting::Aimd, None), (Setting::Quantile, None), (Setting::Unbatched, unbatched)];
    let others = others.into_iter().filter_map(|(s, bar)| Some((comparison.candidate(s)?, bar)));
    let fixed = comparison.best_fixed().map(|c| (c, Some(Target::AtLeast(OVER_FIXED_MIN))));
    fixed.into_iter().chain(others).collect()
}

/// Median ratio of two candidates, round by round. A round in which both missed the objective is
/// ignored.
fn ratio(ours: &Candidate, peer: &Candidate) -> f64 {
    let rounds = ours.scores.iter().zip(&peer.scores);
    let mut ratios: Vec<f64> = rounds.map(|(a, b)| a / b).filter(|ratio| !ratio.is_nan()).collect();
    ratios.sort_by(f64::total_cmp);
    // The lower median avoids an infinite ratio after one late round of the peer.
    ratios.get(ratios.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

fn score(candidate: &Candidate) -> String {
    let mark = mark(candidate.is_limit);
    match candidate.score() {
        0.0 => "late ".to_owned(),
        score => format!("{score:.0}{mark} "),
    }
}

/// Targets over all models.
fn most(over_fixed: &[f64]) -> Vec<(&'static str, f64, Target)> {
    let share = |at_least: f64| {
        let reached = over_fixed.iter().filter(|ratio| **ratio >= at_least).count();
        reached as f64 / over_fixed.len() as f64
    };
    vec![
        (
            "share of the models with 0.95 of the best fixed setting",
            share(OVER_FIXED_MIN),
            Target::AtLeast(1.0),
        ),
        ("share of the models with all of it", share(1.0), Target::AtLeast(MOST)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_changes_no_ratio() {
        let candidate = |scores: [f64; 3]| Candidate {
            setting: Setting::Predictive,
            scores: scores.into(),
            is_limit: false,
        };
        let (ours, peer) = ([950.0, 475.0, 380.0], [1_000.0, 500.0, 400.0]);
        assert_eq!(ratio(&candidate(ours), &candidate(peer)), 0.95);
        assert_eq!(ratio(&candidate([0.0, 8.0, 9.0]), &candidate([0.0, 8.0, 8.0])), 1.0);
        assert_eq!(ratio(&candidate([0.0; 3]), &candidate([0.0; 3])), 0.0);
        assert_eq!(ratio(&candidate([5.0; 3]), &candidate([0.0; 3])), f64::INFINITY);
    }

    #[test]
    fn the_share_of_models_that_reach_a_target() {
        let figures = most(&[1.1, 1.0, 0.96, 0.9]);
        assert_eq!((figures[0].1, figures[1].1), (0.75, 0.5));
        assert!(!figures[0].2.is_reached(figures[0].1) && figures[1].2.is_reached(figures[1].1));
    }
}
