//! Measures of the difference between a compressed model's outputs and the original's.

use crate::CompressError;
use half::{bf16, f16};
use serde::Serialize;
use skysail_graph::{ElementType, Tensor};
use std::cmp::Ordering;

/// Difference of an output from the original's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Largest difference of two elements; infinite when one is NaN and the other is not.
    pub absolute: f32,
    /// Largest difference as a share of the original's largest element; 0 when both are all zeros.
    pub relative: f32,
    /// Smallest cosine of the angle between a row and the original's. The first dimension counts
    /// rows.
    pub cosine_min: f64,
    /// Mean of these cosines.
    pub cosine_mean: f64,
}

/// Compares an output with the original's.
///
/// # Errors
/// `NotComparable` when shapes differ or elements are not floats.
pub fn difference(original: &Tensor, other: &Tensor) -> Result<Difference, CompressError> {
    if original.shape() != other.shape() {
        let (shape, found) = (original.shape(), other.shape());
        return Err(not_comparable(format!("one is of shape {shape:?}, the other {found:?}")));
    }
    let (a, b) = (floats(original)?, floats(other)?);
    let differences = a.iter().zip(&b).map(|(a, b)| distance(*a, *b));
    let absolute = differences.fold(0.0, f32::max);
    let largest = a.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let relative = if absolute == 0.0 { 0.0 } else { absolute / largest };
    let width = row_width(original);
    let rows = a.chunks(width).zip(b.chunks(width)).map(|(a, b)| cosine(a, b));
    let cosines: Vec<f64> = rows.collect();
    let cosine_min = cosines.iter().copied().fold(1.0, f64::min);
    let cosine_mean = cosines.iter().sum::<f64>() / cosines.len().max(1) as f64;
    let cosine_mean = if cosines.is_empty() { 1.0 } else { cosine_mean };
    Ok(Difference { absolute, relative, cosine_min, cosine_mean })
}

/// Returns the index of the largest element in each row of the last dimension: the class that a
/// classifier chooses. Of equal elements the first is chosen; a NaN is never chosen.
///
/// # Errors
/// `NotComparable` when elements are not floats, or there are no classes.
pub fn top_1(output: &Tensor) -> Result<Vec<usize>, CompressError> {
    let classes = output.shape().last().map_or(0, |classes| *classes as usize);
    if classes == 0 {
        let shape = output.shape();
        return Err(not_comparable(format!("an output of shape {shape:?} has no classes")));
    }
    let values = floats(output)?;
    Ok(values.chunks(classes).map(argmax).collect())
}

/// Returns the share of examples for which two models choose the same class; 1 when there are none.
///
/// # Errors
/// `NotComparable` when the lengths differ.
pub fn agreement(original: &[usize], other: &[usize]) -> Result<f64, CompressError> {
    share_of_equal(original.len(), other.len(), original.iter().zip(other).map(|(a, b)| a == b))
}

/// Returns the share of examples for which the right class is chosen; 1 when there are none.
///
/// # Errors
/// `NotComparable` when the lengths differ.
pub fn accuracy(chosen: &[usize], labels: &[i64]) -> Result<f64, CompressError> {
    let right = chosen.iter().zip(labels).map(|(class, label)| i64::try_from(*class) == Ok(*label));
    share_of_equal(chosen.len(), labels.len(), right)
}

/// Returns the cosine of the angle between two vectors: 1 for two of zeros, 0 for one of zeros.
///
/// The result is -1 when a vector holds NaN or infinity, so that no comparison passes.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let sum = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let (aa, bb, ab) = (sum(a, a), sum(b, b), sum(a, b));
    if !(aa + bb + ab).is_finite() {
        return -1.0;
    }
    match (aa == 0.0, bb == 0.0) {
        (true, true) => 1.0,
        (false, false) => (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0),
        _ => 0.0,
    }
}

fn distance(a: f32, b: f32) -> f32 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() { f32::INFINITY } else { distance }
}

/// Returns the number of elements of a row of the first dimension.
fn row_width(tensor: &Tensor) -> usize {
    let width = tensor.shape().iter().skip(1).product::<u64>() as usize;
    width.max(1)
}

fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (position, value) in row.iter().enumerate() {
        let better = value.partial_cmp(&row[best]) == Some(Ordering::Greater);
        if better || (row[best].is_nan() && !value.is_nan()) {
            best = position;
        }
    }
    best
}

fn share_of_equal(
    count: usize,
    others: usize,
    same: impl Iterator<Item = bool>,
) -> Result<f64, CompressError> {
    if count != others {
        return Err(not_comparable(format!("one is for {count} examples, the other for {others}")));
    }
    let same = same.filter(|same| *same).count();
    Ok(if count == 0 { 1.0 } else { same as f64 / count as f64 })
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, CompressError> {
    fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        bytes: &[u8],
        to_f32: fn(T) -> f32,
    ) -> Vec<f32> {
        let values: Vec<T> = bytemuck::pod_collect_to_vec(bytes);
        values.into_iter().map(to_f32).collect()
    }
    match tensor.element() {
        ElementType::Float32 => Ok(read(tensor.bytes(), |value: f32| value)),
        ElementType::Float64 => Ok(read(tensor.bytes(), |value: f64| value as f32)),
        ElementType::Float16 => Ok(read(tensor.bytes(), f16::to_f32)),
        ElementType::BFloat16 => Ok(read(tensor.bytes(), bf16::to_f32)),
        other => Err(not_comparable(format!("its elements are {other}, no floats"))),
    }
}

fn not_comparable(problem: String) -> CompressError {
    CompressError::NotComparable(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], values: &[f32]) -> Tensor {
        Tensor::new(shape, values).unwrap()
    }

    #[test]
    fn differences_are_of_elements_and_of_rows() {
        let original = tensor(&[2, 2], &[4.0, 0.0, 1.0, 1.0]);
        let same = difference(&original, &original).unwrap();
        let exact = Difference { absolute: 0.0, relative: 0.0, cosine_min: 1.0, cosine_mean: 1.0 };
        assert_eq!(same, exact);
        let other = tensor(&[2, 2], &[2.0, 0.0, 1.0, -1.0]);
        let found = difference(&original, &other).unwrap();
        let expected =
            Difference { absolute: 2.0, relative: 0.5, cosine_min: 0.0, cosine_mean: 0.5 };
        assert_eq!(found, expected);
    }

    #[test]
    fn nan_never_passes() {
        let original = tensor(&[1, 2], &[1.0, 2.0]);
        let broken = tensor(&[1, 2], &[1.0, f32::NAN]);
        let found = difference(&original, &broken).unwrap();
        assert_eq!((found.absolute, found.cosine_min), (f32::INFINITY, -1.0));
        assert_eq!(difference(&broken, &broken).unwrap().absolute, 0.0);
        assert_eq!((cosine(&[0.0], &[0.0]), cosine(&[1.0], &[0.0])), (1.0, 0.0));
        assert_eq!(top_1(&tensor(&[2, 2], &[f32::NAN, -1.0, 3.0, f32::NAN])).unwrap(), [1, 0]);
    }

    #[test]
    fn classes_are_counted() {
        let chosen = top_1(&tensor(&[3, 2], &[0.1, 0.9, 0.5, 0.5, 0.7, 0.3])).unwrap();
        assert_eq!(chosen, [1, 0, 0]);
        assert_eq!(accuracy(&chosen, &[1, 0, -1]).unwrap(), 2.0 / 3.0);
        assert_eq!(agreement(&chosen, &[1, 1, 0]).unwrap(), 2.0 / 3.0);
        assert_eq!(agreement(&[], &[]).unwrap(), 1.0);
    }

    #[test]
    fn errors_say_why_outputs_differ_in_form() {
        let message = |result: Result<f64, CompressError>| result.unwrap_err().to_string();
        assert!(message(agreement(&[1], &[])).contains("for 1 examples, the other for 0"));
        let (a, b) = (tensor(&[2], &[0.0; 2]), tensor(&[1, 2], &[0.0; 2]));
        let shapes = difference(&a, &b).unwrap_err().to_string();
        assert!(shapes.contains("of shape [2], the other [1, 2]"), "{shapes}");
        let ids = Tensor::new(&[1], &[1_i64]).unwrap();
        assert!(top_1(&ids).unwrap_err().to_string().contains("int64, no floats"));
        assert!(top_1(&tensor(&[], &[1.0])).is_err());
    }
}
