//! Draws a histogram of each layer's weights, with the values that they share.

use anyhow::{Context, Result, bail};
use plotters::coord::Shift;
use plotters::prelude::*;
use skysail_compression::{Package, layers};
use std::collections::BTreeSet;

/// Layers in a row of the drawing.
const COLUMNS: usize = 3;
/// Limit of drawn layers: the first ones.
const LAYERS_MAX: usize = 60;
/// Size of one layer's drawing in pixels.
const SIZE: (u32, u32) = (420, 260);
/// Number of bars of a histogram.
const BARS: usize = 64;
/// Limit of the values of a codebook that is drawn.
const VALUES_MAX: u64 = 4096;

/// The weights of one layer, without zeros.
struct Weights {
    name: String,
    /// Share of the weights that are not zero.
    kept: f64,
    /// Smallest and largest weight.
    range: (f32, f32),
    /// Number of weights in each of equal parts of the range.
    bars: Vec<u64>,
    /// Values that the weights share, if they do.
    shared: Vec<f32>,
}

/// Draws the weights of a package's layers as SVG.
pub(crate) fn weights(package: &Package) -> Result<String> {
    let model = package.model()?;
    let mut found = Vec::new();
    for layer in layers(&model)?.iter().take(LAYERS_MAX) {
        let values = layer.values(&model)?;
        let entry = package.tensors().iter().rfind(|entry| entry.name == layer.name);
        let distinct = entry.and_then(|entry| entry.distinct);
        let shared = distinct.is_some_and(|distinct| distinct <= VALUES_MAX);
        found.extend(Weights::of(&layer.name, &values, shared));
    }
    if found.is_empty() {
        bail!("there are no layers of float weights to draw");
    }
    let mut drawing = String::new();
    draw(&found, &mut drawing).ok().context("the drawing failed")?;
    Ok(drawing)
}

impl Weights {
    fn of(name: &str, values: &[f32], shared: bool) -> Option<Self> {
        let kept: Vec<f32> = values.iter().copied().filter(|value| *value != 0.0).collect();
        let low = kept.iter().copied().reduce(f32::min)?;
        let high = kept.iter().copied().reduce(f32::max)?;
        // A range of one value gets a width.
        let range = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
        let mut bars = vec![0; BARS];
        for value in &kept {
            let position = (value - range.0) / (range.1 - range.0) * BARS as f32;
            bars[(position as usize).min(BARS - 1)] += 1;
        }
        // Values are compared by their bits.
        let shared: BTreeSet<u32> = kept.iter().filter(|_| shared).map(|v| v.to_bits()).collect();
        Some(Self {
            name: name.to_owned(),
            kept: kept.len() as f64 / values.len() as f64,
            range,
            bars,
            shared: shared.into_iter().map(f32::from_bits).collect(),
        })
    }

    fn caption(&self) -> String {
        let shared = match self.shared.len() {
            0 => "of any value".to_owned(),
            values => format!("of {values} values"),
        };
        format!("{}: {:.1} % kept, {shared}", self.name, 100.0 * self.kept)
    }
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(layers: &[Weights], to: &'a mut String) -> Drawn<'a> {
    let rows = layers.len().div_ceil(COLUMNS);
    let columns = layers.len().min(COLUMNS);
    let size = (SIZE.0 * columns as u32, SIZE.1 * rows as u32);
    let page = SVGBackend::with_string(to, size).into_drawing_area();
    page.fill(&WHITE)?;
    for (area, layer) in page.split_evenly((rows, columns)).iter().zip(layers) {
        draw_layer(area, layer)?;
    }
    page.present()
}

fn draw_layer<'a>(area: &DrawingArea<SVGBackend<'a>, Shift>, layer: &Weights) -> Drawn<'a> {
    let (low, high) = layer.range;
    let top = layer.bars.iter().copied().max().unwrap_or(1) as f64 * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(layer.caption(), ("sans-serif", 13))
        .margin(10)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(low..high, 0.0..top)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh().x_labels(5).y_labels(5).y_label_formatter(&|count| format!("{count:.0}"));
    mesh.draw()?;
    let width = (high - low) / BARS as f32;
    chart.draw_series(layer.bars.iter().enumerate().map(|(position, count)| {
        let left = low + width * position as f32;
        Rectangle::new([(left, 0.0), (left + width, *count as f64)], BLUE.mix(0.45).filled())
    }))?;
    // Each shared value has a mark on the axis.
    chart.draw_series(layer.shared.iter().map(|value| {
        PathElement::new([(*value, 0.0), (*value, top / 14.0)], RED.stroke_width(1))
    }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_compression::PackageWriter;
    use skysail_graph::{Tensor, mlp};

    #[test]
    fn each_layer_is_drawn_with_its_shared_values() {
        let mut model = mlp(&[64, 32, 4], 1).unwrap();
        let values: Vec<f32> = (0..64 * 32).map(|i| [0.0, 0.5, -0.25][i * 7 % 3]).collect();
        model.set_initializer("fc0.weight", Tensor::new(&[32, 64], &values).unwrap());
        let bytes = PackageWriter::new(&model).to_bytes().unwrap();
        let drawing = weights(&Package::from_bytes(bytes).unwrap()).unwrap();
        assert!(drawing.trim_end().ends_with("</svg>"));
        let first = drawing.contains("fc0.weight: 66.7 % kept, of 2 values");
        assert!(first && drawing.contains("fc1.weight: 100.0 % kept, of any value"));
    }

    #[test]
    fn one_value_has_a_bar_too() {
        let weights = Weights::of("w", &[2.0, 0.0, 2.0], true).unwrap();
        assert_eq!((weights.shared, weights.bars.iter().sum()), (vec![2.0], 2_u64));
        assert!(Weights::of("w", &[0.0], true).is_none());
    }
}
