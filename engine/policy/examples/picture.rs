//! Draws `docs/batching.svg`: eighty milliseconds of one replica under the policy `predictive`,
//! idle, busy and overloaded, as the scheduler really decides them.
//! `cargo run -p skysail-policy --example picture > docs/batching.svg`
#![expect(clippy::print_stdout, reason = "the picture goes to standard output")]

use skysail_policy::batch::Limits;
use skysail_policy::batch::predictive::Predictive;
use skysail_policy::priority::{Demand, Priority};
use skysail_policy::replica_set::{ClassId, Traits};
use skysail_policy::scheduler::{Batch, RunEnd, RunSample, Scheduler, Start};
use std::fmt::Write;

const END_US: u64 = 80_000;
const OBJECTIVE_US: u64 = 10_000;

/// A run's time on the machine of the picture.
fn run_us(rows: usize) -> u64 {
    1_000 + 100 * rows as u64
}

/// Requests a millisecond, by the time.
fn rate(now_us: u64) -> f64 {
    match now_us / 1_000 {
        0..20 => 0.5,
        20..40 => 3.0,
        40..60 => 20.0,
        _ => 0.5,
    }
}

struct Run {
    started_us: u64,
    ended_us: u64,
    arrivals_us: Vec<u64>,
}

#[derive(Default)]
struct Timeline {
    runs: Vec<Run>,
    rejected_us: Vec<u64>,
}

/// Simulates arrivals and batches.
fn play() -> Timeline {
    let limits = Limits { rows_max: 256, objective_us: Some(OBJECTIVE_US as f64), replicas: 1 };
    let mut scheduler: Scheduler<u64, ()> =
        Scheduler::new(Box::new(move || Box::new(Predictive::new(limits))), 4096);
    scheduler.join(Traits::default(), true);
    for rows in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        (0..50).for_each(|_| scheduler.observe(ClassId::default(), rows, run_us(rows) as f64));
    }
    let mut timeline = Timeline::default();
    let mut running: Option<(u64, Batch<u64>, u64)> = None;
    let mut due = 0.0;
    for now_us in (0..END_US).step_by(50) {
        if let Some((ended_us, batch, started_us)) = running.take_if(|(end, ..)| *end <= now_us) {
            let arrivals_us: Vec<u64> = batch.members.iter().map(|member| member.item).collect();
            let ran = RunSample { rows: arrivals_us.len(), run_us: (ended_us - started_us) as f64 };
            scheduler.finish(batch.run, RunEnd::Succeeded(ran), now_us);
            timeline.runs.push(Run { started_us, ended_us, arrivals_us });
        }
        due += rate(now_us) * 0.05;
        while due >= 1.0 {
            due -= 1.0;
            let deadline_us = Some(now_us + OBJECTIVE_US);
            let priority = Priority::default();
            let start_by = None;
            let demand = Demand { rows: 1, queued_us: now_us, deadline_us, start_by, priority };
            if scheduler.push(now_us, demand, (), now_us, |_| false).is_err() {
                timeline.rejected_us.push(now_us);
            }
        }
        let dropped = scheduler.take_removed();
        timeline.rejected_us.extend(dropped.iter().map(|member| member.item));
        if let Start::Run(batch) = scheduler.start(now_us, true, |_| false) {
            running = Some((now_us + run_us(batch.members.len()), batch, now_us));
        }
    }
    timeline
}

const LEFT: f64 = 90.0;
const WIDTH: f64 = 800.0;

fn x(time_us: u64) -> f64 {
    LEFT + time_us as f64 / END_US as f64 * WIDTH
}

fn ticks(svg: &mut String, times_us: &[u64], y: f64, colour: &str) -> std::fmt::Result {
    for &time_us in times_us {
        let x = x(time_us);
        let end = y + 14.0;
        writeln!(svg, r#"<path d="M{x:.1} {y}V{end}" stroke="{colour}" stroke-opacity="0.7"/>"#)?;
    }
    Ok(())
}

fn draw(timeline: &Timeline) -> Result<String, std::fmt::Error> {
    let mut svg = String::from(concat!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 910 300" "#,
        r#"font-family="sans-serif" font-size="12">"#,
        "\n<rect width=\"910\" height=\"300\" fill=\"#ffffff\"/>\n"
    ));
    let labels = [(28.0, "answered"), (52.0, "shed"), (96.0, "batches"), (210.0, "latency")];
    for (y, label) in labels {
        writeln!(svg, r##"<text x="8" y="{y}" fill="#333">{label}</text>"##)?;
    }
    for (from_ms, text) in [(0, "idle"), (20, "busy"), (40, "2.5 times too much"), (60, "idle")] {
        let x = x(from_ms * 1_000);
        writeln!(svg, r##"<path d="M{x:.1} 6V270" stroke="#ddd"/>"##)?;
        let at = x + 4.0;
        writeln!(svg, r##"<text x="{at:.1}" y="290" fill="#777">{from_ms} ms: {text}</text>"##)?;
    }
    let answered: Vec<u64> = timeline.runs.iter().flat_map(|run| run.arrivals_us.clone()).collect();
    ticks(&mut svg, &answered, 16.0, "#2a7")?;
    ticks(&mut svg, &timeline.rejected_us, 40.0, "#c33")?;
    timeline.runs.iter().try_for_each(|run| draw_run(&mut svg, run))?;
    let objective = latency_y(OBJECTIVE_US);
    let (end, text_y) = (LEFT + WIDTH, objective - 4.0);
    writeln!(
        svg,
        r##"<path d="M{LEFT} {objective}H{end}" stroke="#c33" stroke-dasharray="4 3"/>"##
    )?;
    writeln!(svg, r##"<text x="8" y="{text_y}" fill="#c33">objective</text>"##)?;
    svg.push_str("</svg>");
    Ok(svg)
}

fn latency_y(latency_us: u64) -> f64 {
    262.0 - latency_us as f64 / OBJECTIVE_US as f64 * 110.0
}

fn draw_run(svg: &mut String, run: &Run) -> std::fmt::Result {
    let rows = run.arrivals_us.len();
    let (left, width) = (x(run.started_us), x(run.ended_us) - x(run.started_us));
    writeln!(
        svg,
        r##"<rect x="{left:.1}" y="76" width="{width:.1}" height="28" fill="#8bd" stroke="#357"/>"##
    )?;
    let middle = left + width / 2.0;
    writeln!(svg, r##"<text x="{middle:.1}" y="94" text-anchor="middle">{rows}</text>"##)?;
    for arrival_us in &run.arrivals_us {
        let (x, y) = (x(*arrival_us), latency_y(run.ended_us - arrival_us));
        writeln!(svg, r##"<circle cx="{x:.1}" cy="{y:.1}" r="1.8" fill="#2a7"/>"##)?;
    }
    Ok(())
}

fn main() -> std::fmt::Result {
    println!("{}", draw(&play())?);
    Ok(())
}
