//! Charts of the last minutes, drawn by plotters as SVG.
//!
//! A drawing is stretched to fit, so it holds lines and areas only. The numbers at its axes are
//! text of the page. Colours are placeholders: plotters draws each `Ink` in a colour of its own,
//! which is then replaced by a class. The style sheet has the colours for light and dark.

use super::history::STEPS;
use maud::{Markup, PreEscaped, html};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use skysail_engine::stage::Stage;

/// Size of a drawing before it is stretched, in pixels.
const SIZE: (u32, u32) = (600, 160);

/// An objective further above all values is not drawn, as it would flatten their lines.
const LIMIT_FAR: f64 = 3.0;

/// Factor of headroom: a line along the upper edge is hard to see.
const HEADROOM: f64 = 1.05;

/// Ink of a line or an area: a class of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Grid,
    Limit,
    Answered,
    Failed,
    P50,
    P99,
    Size,
    Stage(Stage),
}

impl Ink {
    const PLAIN: [Self; 7] =
        [Self::Grid, Self::Limit, Self::Answered, Self::Failed, Self::P50, Self::P99, Self::Size];

    /// Class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Limit => "limit",
            Self::Answered => "answered",
            Self::Failed => "failed-requests",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Size => "size",
            Self::Stage(stage) => stage.name(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(Stage::ALL.map(Self::Stage))
    }

    /// Placeholder colour in a drawing.
    fn colour(self) -> RGBColor {
        let index = Self::all().position(|ink| ink == self).unwrap_or_default();
        RGBColor(0, 0, index as u8)
    }
}

/// Formats a value.
pub(super) type Format = fn(f64) -> String;

/// Content of a chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) format: Format,
    pub(super) kind: Kind,
    pub(super) series: Vec<Series<'a>>,
    /// Limit below which the values should stay.
    pub(super) objective: Option<f64>,
}

/// Arrangement of the series of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each series is a line.
    Lines,
    /// The series are stacked areas.
    Stack,
}

/// A value over time.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) ink: Ink,
    /// Values of the steps, the newest last; `None` if there was nothing.
    pub(super) values: Vec<Option<f64>>,
    /// Current value.
    pub(super) now: Option<f64>,
    /// The series has a place in the legend.
    pub(super) in_legend: bool,
}

impl Series<'_> {
    fn now(&self, format: Format) -> String {
        self.now.map_or_else(|| super::format::NOTHING.to_owned(), format)
    }
}

impl Chart<'_> {
    /// The chart as a figure of the page.
    pub(super) fn figure(&self) -> Markup {
        let top = self.top();
        let label = |value: f64| without_zeros(&(self.format)(value));
        let is_empty = self.values().next().is_none();
        let drawing = self.draw(top).unwrap_or_else(|error| {
            tracing::error!("the chart '{}' can not be drawn: {error}", self.title);
            String::new()
        });
        html! {
            figure class={ "chart " (if self.kind == Kind::Stack { "stack" } else { "lines" }) } {
                figcaption { (self.title) }
                ul class="legend" {
                    @for series in self.series.iter().filter(|series| series.in_legend) {
                        li class=(series.ink.class()) {
                            (series.name) " " b { (series.now(self.format)) }
                        }
                    }
                    @if let Some(objective) = self.objective {
                        li class="limit" { "objective " b { (label(objective)) } }
                    }
                }
                div class="plot" {
                    ul class="y" aria-hidden="true" {
                        @if is_empty { li {} li { "nothing" } li {} }
                        @else { li { (label(top)) } li { (label(top / 2.0)) } li { "0" } }
                    }
                    (self.svg(&drawing))
                    ul class="x" aria-hidden="true" { li { "5 min ago" } li { "now" } }
                }
            }
        }
    }

    /// Highest value of the axis. It and its half are round numbers.
    fn top(&self) -> f64 {
        let highest = match self.kind {
            Kind::Lines => self.values().fold(0.0, f64::max),
            Kind::Stack => self.tops(self.series.len()).into_iter().flatten().fold(0.0, f64::max),
        };
        let objective = self.objective.filter(|limit| *limit <= highest * LIMIT_FAR);
        round_up(objective.unwrap_or_default().max(highest * HEADROOM))
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|series| series.values.iter().copied().flatten())
    }

    /// Sums of the first `series` series, for each step.
    fn tops(&self, series: usize) -> Vec<Option<f64>> {
        let values = |step: usize| self.series[..series].iter().map(move |one| one.values[step]);
        (0..STEPS).map(|step| values(step).flatten().reduce(|sum, value| sum + value)).collect()
    }

    fn draw(&self, top: f64) -> Drawn<String> {
        let mut text = String::new();
        {
            let page = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            let area = page.apply_coord_spec(Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(
                0.0..STEPS as f64,
                0.0..top,
                (0..SIZE.0 as i32, (SIZE.1 as i32)..0),
            ));
            for y in [0.0, top / 2.0, top] {
                area.draw(&line(vec![(0.0, y), (STEPS as f64, y)], Ink::Grid))?;
            }
            match self.kind {
                Kind::Lines => self.draw_lines(&area)?,
                Kind::Stack => self.draw_stack(&area)?,
            }
            if let Some(y) = self.objective.filter(|objective| *objective <= top) {
                area.draw(&line(vec![(0.0, y), (STEPS as f64, y)], Ink::Limit))?;
            }
            page.present()?;
        }
        Ok(text)
    }

    fn draw_lines(&self, area: &Area<'_>) -> Drawn<()> {
        for series in &self.series {
            for segment in segments(&series.values) {
                area.draw(&line(segment, series.ink))?;
            }
        }
        Ok(())
    }

    /// Draws areas down to the axis, each over the one before.
    fn draw_stack(&self, area: &Area<'_>) -> Drawn<()> {
        for (below, series) in self.series.iter().enumerate().rev() {
            for mut segment in segments(&self.tops(below + 1)) {
                let (first, last) = (segment[0].0, segment[segment.len() - 1].0);
                segment.extend([(last, 0.0), (first, 0.0)]);
                area.draw(&Polygon::new(segment, series.ink.colour().filled()))?;
            }
        }
        Ok(())
    }

    /// The drawing as a part of the page: stretched, with classes and a description.
    fn svg(&self, drawing: &str) -> Markup {
        let body = drawing.split_once('>').map_or("", |(_, body)| body);
        let mut body = body.trim_end().trim_end_matches("</svg>").replace(" opacity=\"1\"", "");
        body = body.replace(" stroke-width=\"1\"", "").replace(" \"/>", "\"/>");
        for ink in Ink::all() {
            let RGBColor(r, g, b) = ink.colour();
            for (attribute, class) in [("fill", "area"), ("stroke", "line")] {
                let colour = format!("{attribute}=\"#{r:02X}{g:02X}{b:02X}\"");
                body = body.replace(&colour, &format!("class=\"{class} {}\"", ink.class()));
            }
        }
        let now = self.series.iter().map(|one| format!("{} {}", one.name, one.now(self.format)));
        let now = now.collect::<Vec<_>>().join(", ");
        let view = format!("0 0 {} {}", SIZE.0, SIZE.1);
        html! {
            svg viewBox=(view) preserveAspectRatio="none" role="img"
                aria-label={ (self.title) " over the last five minutes; now: " (now) } {
                (PreEscaped(body))
            }
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

fn line(points: Vec<(f64, f64)>, ink: Ink) -> PathElement<(f64, f64)> {
    PathElement::new(points, ink.colour())
}

/// The points of each run of values without a gap, in the middle of their steps.
///
/// A single value becomes a line as wide as its step.
fn segments(values: &[Option<f64>]) -> Vec<Vec<(f64, f64)>> {
    let steps: Vec<_> = values.iter().enumerate().collect();
    let parts = steps.chunk_by(|(_, a), (_, b)| a.is_some() == b.is_some());
    let points = |part: &[(usize, &Option<f64>)]| -> Vec<(f64, f64)> {
        part.iter().filter_map(|(step, value)| Some((*step as f64 + 0.5, (**value)?))).collect()
    };
    let widened = |segment: Vec<(f64, f64)>| match segment[..] {
        [(x, y)] => vec![(x - 0.5, y), (x + 0.5, y)],
        _ => segment,
    };
    parts.map(points).filter(|segment| !segment.is_empty()).map(widened).collect()
}

/// Rounds up to a value that is round, and whose half is round.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let round = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0].map(|digit| digit * power);
    round.into_iter().find(|round| *round >= value).unwrap_or(10.0 * power)
}

/// Removes zeros: `1.50 ms` becomes `1.5 ms`, and `2.00 s` becomes `2 s`.
fn without_zeros(text: &str) -> String {
    let end = text.find(' ').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    match number.contains('.') {
        true => format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.')),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    fn chart(kind: Kind, values: &[Option<f64>]) -> Chart<'static> {
        let mut all = vec![None; STEPS - values.len()];
        all.extend_from_slice(values);
        let now = *values.last().unwrap();
        let series =
            |name, ink| Series { name, ink, values: all.clone(), now, in_legend: name != "hidden" };
        let series = vec![series("<p50>", Ink::P50), series("p99", Ink::P99)];
        Chart { title: "Latency", format: format::time, kind, series, objective: Some(2000.0) }
    }

    #[test]
    fn a_drawing_has_classes_and_no_colours() {
        for kind in [Kind::Lines, Kind::Stack] {
            let html =
                chart(kind, &[Some(500.0), None, Some(900.0), Some(800.0)]).figure().into_string();
            assert!(!html.contains('#') && !html.contains("style="), "{html}");
            assert!(html.contains(" grid\"") && html.contains(" p99\"") && html.contains("<svg "));
            assert!(html.contains("&lt;p50&gt;") && !html.contains("<p50>"));
        }
    }

    #[test]
    fn a_gap_ends_a_line_and_a_single_value_has_a_width() {
        let values = [None, Some(1.0), None, Some(2.0), Some(3.0)];
        assert_eq!(segments(&values), [vec![(1.0, 1.0), (2.0, 1.0)], vec![(3.5, 2.0), (4.5, 3.0)]]);
    }

    #[test]
    fn an_axis_ends_at_a_round_value_above_all_values() {
        let tops = [0.0, 0.03, 1.0, 1.2, 7.0, 8.1, 950.0].map(round_up);
        assert_eq!(tops, [1.0, 0.03, 1.0, 2.0, 8.0, 10.0, 1000.0]);
        assert_eq!(chart(Kind::Stack, &[Some(900.0)]).top(), 2000.0);
        assert_eq!(chart(Kind::Lines, &[Some(500.0)]).top(), 600.0);
        let labels = ["1.50 ms", "2.00 s", "10.0 ms", "200", "0.5"].map(without_zeros);
        assert_eq!(labels, ["1.5 ms", "2 s", "10 ms", "200", "0.5"]);
    }

    #[test]
    fn an_objective_far_above_is_in_the_legend_and_not_drawn() {
        let near = chart(Kind::Lines, &[Some(900.0)]).figure().into_string();
        let far = chart(Kind::Lines, &[Some(90.0)]).figure().into_string();
        assert!(near.contains("line limit") && !far.contains("line limit"));
        assert!(far.contains("objective <b>2 ms</b>"));
    }
}
