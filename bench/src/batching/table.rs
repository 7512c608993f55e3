//! The tables of the comparison of policies, and the bars that its figures are held against.

use super::capacities::mark;
use super::policies::{Contender, Finding, Row};
use super::setting::Setting;
use crate::bars::{self, Bar};
use anyhow::Result;
use std::io::Write;

/// `predictive` is to make this part of what the best setting by hand makes, on each model...
const OVER_FIXED_MIN: f64 = 0.95;
/// ...and as much as that on most.
const MOST: f64 = 0.5;

/// Clipper's gain over no batching on a linear SVM (NSDI 2017, section 4.3).
const OVER_UNBATCHED_MIN: f64 = 25.0;
const LINEAR_SVM: &str = "sklearn-mnist-linear-svm";

/// Prints the head of the table of settings.
pub(super) fn settings_head(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n## What a policy makes of a model\n\n\
         | model | objective ms | setting | offered/s | goodput/s | p99 ms | batch | generator |\n\
         |---|---:|---|---:|---:|---:|---:|---:|"
    )?;
    Ok(())
}

/// Prints a row for each setting of a model, the best first.
pub(super) fn settings(out: &mut impl Write, finding: &Finding) -> Result<()> {
    let mut rows: Vec<&Row> = finding.rows.iter().collect();
    rows.sort_by(|a, b| b.best.seen.score().total_cmp(&a.best.seen.score()));
    let objective_ms = finding.look.objective.as_secs_f64() * 1e3;
    for Row { setting, best } in rows {
        let seen = &best.seen;
        let mark = mark(seen.is_limit);
        let kept = if seen.keeps { "" } else { " LATE" };
        writeln!(
            out,
            "| {} | {objective_ms:.0} | {setting} | {:.0} | {:.0}{kept} | {:.2} | {:.1} | {:.0} %{mark} |",
            finding.look.subject.name,
            seen.offered_per_s,
            seen.goodput_per_s,
            seen.p99_ms,
            seen.batch_rows,
            seen.busy * 1e2,
        )?;
    }
    Ok(out.flush()?)
}

/// Prints `predictive` beside the others, measured in turn, and the bars.
pub(super) fn side_by_side(out: &mut impl Write, findings: &[Finding]) -> Result<()> {
    writeln!(
        out,
        "\n## Side by side: `predictive` and others in turn, medians of the rounds and of their ratios\n\n\
         | model | against | predictive/s | the other/s | ratio | bar | |\n\
         |---|---|---:|---:|---:|---:|---|"
    )?;
    let mut over_fixed = Vec::new();
    for finding in findings {
        let Some(ours) = finding.contender(Setting::Predictive) else { continue };
        for (peer, bar) in peers(finding) {
            let ratio = ratio(ours, peer);
            if matches!(peer.setting, Setting::Fixed { .. }) {
                over_fixed.push(ratio);
            }
            let (bar, verdict) = match bar {
                Some(bar) => (bar.to_string(), bar.verdict(ratio)),
                None => (String::new(), ""),
            };
            let best =
                if matches!(peer.setting, Setting::Fixed { .. }) { "best by hand: " } else { "" };
            writeln!(
                out,
                "| {} | {best}{} | {}| {}| {ratio:.2} | {bar} | {verdict} |",
                finding.look.subject.name,
                peer.setting,
                score(ours),
                score(peer),
            )?;
        }
    }
    writeln!(out)?;
    Ok(bars::print(out, &most(&over_fixed))?)
}

/// Those to compare with: the best setting by hand, and the other policies.
fn peers(finding: &Finding) -> Vec<(&Contender, Option<Bar>)> {
    let unbatched =
        (finding.look.subject.name == LINEAR_SVM).then_some(Bar::AtLeast(OVER_UNBATCHED_MIN));
    let others =
        [(Setting::Aimd, None), (Setting::Quantile, None), (Setting::Unbatched, unbatched)];
    let others = others.into_iter().filter_map(|(s, bar)| Some((finding.contender(s)?, bar)));
    let fixed = finding.best_fixed().map(|c| (c, Some(Bar::AtLeast(OVER_FIXED_MIN))));
    fixed.into_iter().chain(others).collect()
}

/// What is measured over what it is measured against, each round by itself; the middle of them.
/// A round in which both were late says nothing.
fn ratio(ours: &Contender, peer: &Contender) -> f64 {
    let rounds = ours.scores.iter().zip(&peer.scores);
    let mut ratios: Vec<f64> = rounds.map(|(a, b)| a / b).filter(|ratio| !ratio.is_nan()).collect();
    ratios.sort_by(f64::total_cmp);
    // Of two in the middle the lower: one late peer is not to make it infinite.
    ratios.get(ratios.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

fn score(contender: &Contender) -> String {
    let mark = mark(contender.is_limit);
    match contender.score() {
        0.0 => "late ".to_owned(),
        score => format!("{score:.0}{mark} "),
    }
}

/// The bars over all models.
fn most(over_fixed: &[f64]) -> Vec<(&'static str, f64, Bar)> {
    let share = |at_least: f64| {
        let reached = over_fixed.iter().filter(|ratio| **ratio >= at_least).count();
        reached as f64 / over_fixed.len() as f64
    };
    vec![
        (
            "part of the models with 0.95 of the best by hand",
            share(OVER_FIXED_MIN),
            Bar::AtLeast(1.0),
        ),
        ("part of the models with all of it", share(1.0), Bar::AtLeast(MOST)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_in_the_middle_changes_no_ratio() {
        let contender = |scores: [f64; 3]| Contender {
            setting: Setting::Predictive,
            scores: scores.into(),
            is_limit: false,
        };
        let (ours, peer) = ([950.0, 475.0, 380.0], [1_000.0, 500.0, 400.0]);
        assert_eq!(ratio(&contender(ours), &contender(peer)), 0.95);
        assert_eq!(ratio(&contender([0.0, 8.0, 9.0]), &contender([0.0, 8.0, 8.0])), 1.0);
        assert_eq!(ratio(&contender([0.0; 3]), &contender([0.0; 3])), 0.0);
        assert_eq!(ratio(&contender([5.0; 3]), &contender([0.0; 3])), f64::INFINITY);
    }

    #[test]
    fn the_share_of_models_that_reach_a_bar() {
        let bars = most(&[1.1, 1.0, 0.96, 0.9]);
        assert_eq!((bars[0].1, bars[1].1), (0.75, 0.5));
        assert!(!bars[0].2.is_reached(bars[0].1) && bars[1].2.is_reached(bars[1].1));
    }
}
