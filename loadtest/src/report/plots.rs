//! Plots of a report as SVG. Their colours are CSS variables, for light and dark pages.

use super::{Interval, Report, format_us};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// Size of a plot, in pixels.
const SIZE: (u32, u32) = (760, 300);

/// Placeholder colours, and the CSS variables that replace them.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const FIRST: RGBColor = RGBColor(3, 3, 3);
const SECOND: RGBColor = RGBColor(4, 4, 4);
const THIRD: RGBColor = RGBColor(5, 5, 5);
const NAMES: [(&str, &str); 6] = [
    // Axis lines are always black.
    ("#000000", "var(--grid)"),
    ("#010101", "var(--ink)"),
    ("#020202", "var(--grid)"),
    ("#030303", "var(--first)"),
    ("#040404", "var(--second)"),
    ("#050505", "var(--third)"),
];

/// Line of a plot.
struct Line {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Axis of a plot.
struct Axis<'a> {
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
}

/// Plots with their titles; empty ones are left out.
pub(super) fn draw(report: &Report) -> Vec<(&'static str, String)> {
    [
        ("Latency over time", latency(report)),
        ("Latency by percentile", percentiles(report)),
        ("Throughput", throughput(report)),
    ]
    .into_iter()
    .filter_map(|(title, drawing)| Some((title, drawing?)))
    .collect()
}

fn over_time(
    report: &Report,
    name: &'static str,
    color: RGBColor,
    value: impl Fn(&Interval) -> Option<f64>,
) -> Line {
    let point = |interval: &Interval| Some((interval.end_s, value(interval)?));
    Line { name, color, points: report.whole_intervals().filter_map(point).collect() }
}

fn latency(report: &Report) -> Option<String> {
    let lines = [
        over_time(report, "max", THIRD, |interval| interval.latency_us_max),
        over_time(report, "p99", SECOND, |interval| interval.latency_us_p99),
        over_time(report, "p50", FIRST, |interval| interval.latency_us_p50),
    ];
    let (x, y) = (span(&lines, |point| point.0)?, span(&lines, |point| point.1)?);
    let seconds = |value: &f64| format!("{value}");
    let axes = [
        Axis { name: "seconds", label: &seconds },
        Axis { name: "", label: &|us: &f64| format_us(*us) },
    ];
    drawn(0.0..x.end, logarithmic(&y).log_scale(), &axes, &lines)
}

fn throughput(report: &Report) -> Option<String> {
    let per_s = |count: u64, interval: &Interval| Some(count as f64 / interval.length_s);
    let lines = [
        over_time(report, "failed", THIRD, |interval| per_s(interval.failed, interval)),
        over_time(report, "scheduled", SECOND, |interval| {
            report.target_requests_per_s.and_then(|_| per_s(interval.requests, interval))
        }),
        over_time(report, "answered", FIRST, |interval| per_s(interval.answered, interval)),
    ];
    let (x, y) = (span(&lines, |point| point.0)?, span(&lines, |point| point.1)?);
    let plain = |value: &f64| format!("{value}");
    let axes =
        [Axis { name: "seconds", label: &plain }, Axis { name: "requests/s", label: &plain }];
    drawn(0.0..x.end, 0.0..(y.end * 1.05).max(1.0), &axes, &lines)
}

fn percentiles(report: &Report) -> Option<String> {
    // One in this many requests takes at least this long.
    let one_in = |percent: f64| 1.0 / (1.0 - percent / 1e2);
    let points = report.percentiles.iter().map(|point| (one_in(point.percent), point.us));
    let points: Vec<_> = points.filter(|point| point.0.is_finite()).collect();
    let lines = [Line { name: "latency", color: FIRST, points }];
    let (x, y) = (span(&lines, |point| point.0)?, span(&lines, |point| point.1)?);
    let percent = |one_in: &f64| format!("{} %", round((1.0 - 1.0 / one_in) * 1e2));
    let axes = [
        Axis { name: "percentile", label: &percent },
        Axis { name: "", label: &|us: &f64| format_us(*us) },
    ];
    drawn((1.0..x.end.max(10.0) * 1.1).log_scale(), logarithmic(&y).log_scale(), &axes, &lines)
}

/// Rounds to the millionth, without the remainder of binary fractions.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Range of values; `None` without a point.
fn span(lines: &[Line], of: fn(&(f64, f64)) -> f64) -> Option<Range<f64>> {
    let values = || lines.iter().flat_map(|line| &line.points).map(of);
    Some(values().reduce(f64::min)?..values().reduce(f64::max)?)
}

/// Range from one power of ten to another, so that there are at least two labels.
fn logarithmic(values: &Range<f64>) -> Range<f64> {
    let power = |value: f64| value.max(0.01).log10();
    let (least, most) = (power(values.start).floor(), power(values.end).ceil());
    10_f64.powf(least)..10_f64.powf(most.max(least + 1.0)) * 1.05
}

fn drawn<X, Y>(x: X, y: Y, axes: &[Axis<'_>; 2], lines: &[Line]) -> Option<String>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let mut drawing = String::new();
    draw_to(&mut drawing, x, y, axes, lines).ok()?;
    let named = |text: String, (color, name): (&str, &str)| text.replace(color, name);
    Some(NAMES.into_iter().fold(drawing, named))
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_to<'a, X, Y>(
    to: &'a mut String,
    x: X,
    y: Y,
    [across, up]: &[Axis<'_>; 2],
    lines: &[Line],
) -> Drawn<'a>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let page = SVGBackend::with_string(to, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&page)
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)?;
    let text = ("sans-serif", 12).into_font().color(&INK);
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text.clone())
        .x_desc(across.name)
        .y_desc(up.name)
        .x_label_formatter(across.label)
        .y_label_formatter(up.label)
        .y_labels(6)
        .draw()?;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let style = line.color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        // A single interval is drawn as a dot.
        let dots = line.points.iter().filter(|_| line.points.len() == 1);
        chart.draw_series(dots.map(|point| Circle::new(*point, 3, line.color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text)
        .border_style(GRID)
        .draw()?;
    page.present()
}
