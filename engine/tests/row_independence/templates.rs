//! Templates of nodes: each adds one or several nodes to values that fit.

mod arrange;
mod compute;
mod control;
mod examples;
mod fused;
mod matrix;
mod pick;
mod quantized;
mod sizes;
mod window;

use crate::generator::{Generator, Value};
use skysail_graph::ElementType::{self, Float32, Int64};

/// Result of a template: `None` if no value fits.
pub(crate) type Added = Option<()>;
/// A template.
pub(crate) type Template = fn(&mut Generator) -> Added;

/// Applies a random template.
pub(crate) fn any(generator: &mut Generator) -> Added {
    // Groups whose outputs the others use are more frequent.
    let groups: [(&[Template], usize); 10] = [
        (compute::ALL, 6),
        (arrange::ALL, 6),
        (matrix::ALL, 3),
        (sizes::ALL, 5),
        (pick::ALL, 3),
        (window::ALL, 3),
        (control::ALL, 3),
        (quantized::ALL, 2),
        (fused::ALL, 3),
        (examples::ALL, 3),
    ];
    let all: usize = groups.iter().map(|group| group.1).sum();
    let mut place = generator.below(all);
    let group = groups.iter().find(|group| {
        let is_here = place < group.1;
        place = place.saturating_sub(group.1);
        is_here
    })?;
    let template = generator.pick(group.0);
    template(generator)
}

/// Helpers of several templates.
impl Generator {
    /// A random value for which this holds, mostly a late one.
    pub(crate) fn value(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let fitting: Vec<usize> =
            (0..self.values.len()).filter(|place| fits(&self.values[*place])).collect();
        let (half, count) = (fitting.len() / 2, fitting.len());
        let from = if self.chance(50) { half } else { 0 };
        let place = from + self.below(count - from);
        fitting.get(place).map(|place| self.values[*place].clone())
    }

    /// A float value of at least this many dimensions.
    pub(crate) fn floats(&mut self, rank: usize) -> Option<Value> {
        self.value(|value| value.element == Float32 && value.dims.len() >= rank)
    }

    /// A float value of exactly this many dimensions.
    pub(crate) fn floats_of(&mut self, rank: usize) -> Option<Value> {
        self.value(|value| value.element == Float32 && value.dims.len() == rank)
    }

    /// A random axis, mostly another than that of the rows.
    pub(crate) fn axis(&mut self, of: &Value) -> Option<usize> {
        let others: Vec<usize> = (0..of.dims.len()).filter(|axis| Some(*axis) != of.rows).collect();
        if others.is_empty() || self.chance(15) {
            return (!of.dims.is_empty()).then(|| self.below(of.dims.len()));
        }
        Some(self.pick(&others))
    }

    /// The axis, or the same axis counted from the end.
    pub(crate) fn signed(&mut self, axis: usize, rank: usize) -> i64 {
        if self.chance(30) { axis as i64 - rank as i64 } else { axis as i64 }
    }

    /// A constant of small numbers that add and multiply without rounding.
    pub(crate) fn weights(&mut self, dims: &[usize]) -> String {
        let count = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| (self.below(9) as f32 - 4.0) / 2.0).collect();
        self.constant(Float32, dims, bytes(&values))
    }

    /// A constant of integers.
    pub(crate) fn integers(&mut self, dims: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Int64, dims, bytes)
    }

    /// A list of integers.
    pub(crate) fn list(&mut self, values: &[i64]) -> String {
        self.integers(&[values.len()], values)
    }

    /// A constant of any type, of elements from 0 to below `end`.
    pub(crate) fn few(&mut self, element: ElementType, dims: &[usize], end: usize) -> String {
        let count: usize = dims.iter().product();
        let numbers: Vec<usize> = (0..count).map(|_| self.below(end)).collect();
        let width = (element.bits().unwrap_or(8) / 8) as usize;
        let bytes = match element {
            Float32 => bytes(&numbers.iter().map(|number| *number as f32).collect::<Vec<_>>()),
            ElementType::Float64 => {
                numbers.iter().flat_map(|number| (*number as f64).to_le_bytes()).collect()
            }
            _ => numbers.iter().flat_map(|number| number.to_le_bytes()[..width].to_vec()).collect(),
        };
        self.constant(element, dims, bytes)
    }

    /// A value or constant that broadcasts to this value, mostly a constant without an axis of rows.
    pub(crate) fn partner(&mut self, of: &Value) -> Option<Value> {
        if self.chance(50) {
            let other = self.value(|value| {
                value.element == of.element
                    && value
                        .dims
                        .iter()
                        .rev()
                        .zip(of.dims.iter().rev())
                        .all(|(a, b)| a == b || *a == 1 || *b == 1)
            });
            if other.is_some() {
                return other;
            }
        }
        if of.element == ElementType::String {
            return None;
        }
        let from = self.below(of.dims.len() + 1);
        let mut dims: Vec<usize> = of.dims[from..].to_vec();
        for (axis, dim) in dims.iter_mut().enumerate() {
            let is_rows = of.rows == Some(axis + from);
            if is_rows && !self.chance(10) || self.chance(20) {
                *dim = 1;
            }
        }
        let name = match of.element {
            Float32 => self.weights(&dims),
            element => self.few(element, &dims, if element == ElementType::Bool { 2 } else { 5 }),
        };
        Some(Value { name, element: of.element, dims, rows: None })
    }

    /// Indices below `end` that are computed from values.
    pub(crate) fn places(&mut self, fits: impl Fn(&Value) -> bool, end: usize) -> Option<Value> {
        let from = self.value(|value| {
            matches!(value.element, Int64 | ElementType::Int32 | ElementType::UInt8) && fits(value)
        })?;
        let wide = self.one("Cast", &[&from.name], vec![crate::proto::int("to", 7)]);
        let end = self.integers(&[], &[end as i64]);
        let name = self.one("Mod", &[&wide, &end], vec![]);
        Some(Value { name, element: Int64, ..from })
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
