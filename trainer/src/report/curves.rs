//! Loss and accuracy over steps, as SVG.

use super::metrics::Event;
use plotters::prelude::*;

/// Size of a chart in pixels: width, height.
const SIZE: (u32, u32) = (720, 420);
/// Upper limit of points of a curve; more cannot be told apart.
const POINTS_MAX: usize = 1000;

/// A curve of a chart.
struct Line {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the charts of the events; returns file names and SVG texts.
pub(super) fn draw(events: &[Event]) -> Vec<(&'static str, String)> {
    let train = line("training", BLUE, events, |event| match event {
        Event::Step { steps, loss, .. } => Some((*steps, *loss)),
        Event::Measured { .. } => None,
    });
    let test = line("test", RED, events, |event| match event {
        Event::Measured { measured, .. } => Some((measured.steps, measured.test_loss)),
        Event::Step { .. } => None,
    });
    let accuracy = line("test", RED, events, |event| match event {
        Event::Measured { measured, .. } => {
            measured.accuracy.map(|share| (measured.steps, 100.0 * share))
        }
        Event::Step { .. } => None,
    });
    let drawings =
        [("loss.svg", "loss", vec![train, test]), ("accuracy.svg", "accuracy (%)", vec![accuracy])];
    let draw =
        |(name, what, lines): (&'static str, &str, Vec<Line>)| Some((name, chart(what, &lines)?));
    drawings.into_iter().filter_map(draw).collect()
}

fn line(
    name: &'static str,
    color: RGBColor,
    events: &[Event],
    point: impl Fn(&Event) -> Option<(u64, f32)>,
) -> Line {
    let points = events.iter().filter_map(point);
    let points: Vec<(f64, f64)> =
        points.map(|(steps, value)| (steps as f64, f64::from(value))).collect();
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let middle = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    Line { name, color, points: points.chunks(each).map(middle).collect() }
}

/// Draws a chart; `None` without points.
fn chart(what: &str, lines: &[Line]) -> Option<String> {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let last = all().map(|point| point.0).reduce(f64::max)?;
    let low = all().map(|point| point.1).reduce(f64::min)?;
    let high = all().map(|point| point.1).reduce(f64::max)?;
    // A range of one value needs a height too.
    let space = ((high - low) * 0.05).max(1e-6);
    let mut drawing = String::new();
    draw_chart(&mut drawing, what, lines, last.max(1.0), (low - space, high + space)).ok()?;
    Some(drawing)
}

type DrawResult<'a> =
    Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_chart<'a>(
    to: &'a mut String,
    what: &str,
    lines: &[Line],
    last: f64,
    (low, high): (f64, f64),
) -> DrawResult<'a> {
    let page = SVGBackend::with_string(to, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&page)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, low..high)?;
    chart.configure_mesh().max_light_lines(0).x_desc("steps").y_desc(what).draw()?;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let color = line.color;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), &color))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        // A curve of a single point is invisible without a dot.
        let dots = line.points.iter().filter(|_| line.points.len() <= 60);
        chart.draw_series(dots.map(|point| Circle::new(*point, 2, color.filled())))?;
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    page.present()
}
