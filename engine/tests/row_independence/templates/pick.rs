//! Gather and scatter: elements by index.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::int;
use skysail_graph::ElementType::{Float32, Int64};

pub(crate) const ALL: &[Template] = &[
    gather,
    gather,
    gather_of_table,
    gather_elements,
    gather_elements,
    gather_nd,
    one_hot,
    scatter,
    scatter,
    scatter_nd,
    by_values,
];

fn gather(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty() && value.dims.len() < 5)?;
    let axis = m.axis(&x)?;
    let end = if x.rows == Some(axis) { 1 } else { x.dims[axis] };
    let places = if m.chance(70) {
        let dims: &[usize] = m.pick(&[&[], &[1], &[2], &[2, 2]]);
        let count: usize = dims.iter().product();
        let places: Vec<i64> = (0..count).map(|_| m.below(end) as i64).collect();
        m.integers(dims, &places)
    } else {
        m.places(|value| value.dims.len() < 3, end)?.name
    };
    let axis = m.signed(axis, x.dims.len());
    m.one("Gather", &[&x.name, &places], vec![int("axis", axis)]);
    Some(())
}

/// An embedding.
fn gather_of_table(m: &mut Generator) -> Added {
    let dims = [5, m.side()];
    let axis = usize::from(m.chance(20));
    let places = m.places(|value| value.dims.len() < 4, dims[axis])?;
    let table = m.weights(&dims);
    m.one("Gather", &[&table, &places.name], vec![int("axis", axis as i64)]);
    Some(())
}

fn gather_elements(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let end = if x.rows == Some(axis) { 1 } else { x.dims[axis] };
    let places = places_like(m, &x, axis, end)?;
    m.one("GatherElements", &[&x.name, &places], vec![int("axis", axis as i64)]);
    Some(())
}

/// Indices for each element of a value along an axis, from another value or from itself.
fn places_like(m: &mut Generator, x: &Value, axis: usize, end: usize) -> Option<String> {
    let other = m.places(|value| value.dims == x.dims, end);
    if let Some(other) = other {
        return Some(other.name);
    }
    if m.chance(15) {
        let count: usize = x.dims.iter().product();
        let places: Vec<i64> = (0..count).map(|_| m.below(end) as i64).collect();
        return Some(m.integers(&x.dims, &places));
    }
    let k = m.list(&[if x.rows == Some(axis) { 1 } else { x.dims[axis].min(2) as i64 }]);
    let mut found = m.many("", "TopK", &[&x.name, &k], 2, vec![int("axis", axis as i64)]);
    found.pop()
}

fn gather_nd(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let batches = usize::from(m.chance(60));
    (m.opset >= 12 || batches == 0).then_some(())?;
    let end = x.dims[batches];
    let places = if m.chance(50) {
        let first = x.dims[0];
        let k = m.list(&[1]);
        // A place in each batch: of its largest.
        let from = m.value(|value| {
            value.element == Float32
                && value.dims.len() == 2
                && value.dims[0] == first
                && value.dims[1] <= end
        })?;
        m.many("", "TopK", &[&from.name, &k], 2, vec![int("axis", 1)]).pop()?
    } else {
        let dims = if batches == 1 && m.chance(50) { vec![x.dims[0], 1] } else { vec![2, 1] };
        let count: usize = dims.iter().product();
        let places: Vec<i64> =
            (0..count).map(|_| if m.chance(80) { 0 } else { m.below(end) as i64 }).collect();
        m.integers(&dims, &places)
    };
    m.one("GatherND", &[&x.name, &places], vec![int("batch_dims", batches as i64)]);
    Some(())
}

fn one_hot(m: &mut Generator) -> Added {
    let places = m.places(|value| value.dims.len() < 4, 4)?;
    let (depth, values) = (m.integers(&[], &[4]), m.weights(&[2]));
    let axis = m.below(places.dims.len() + 1);
    let axis = m.signed(axis, places.dims.len() + 1);
    m.one("OneHot", &[&places.name, &depth, &values], vec![int("axis", axis)]);
    Some(())
}

fn scatter(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let end = if x.rows == Some(axis) { 1 } else { x.dims[axis] };
    // Places that do not come twice: the order of updates is open.
    let k = m.list(&[if x.rows == Some(axis) { 1 } else { end.min(2) as i64 }]);
    let from = m.value(|value| value.element == Float32 && value.dims == x.dims)?;
    let found = m.many("", "TopK", &[&from.name, &k], 2, vec![int("axis", axis as i64)]);
    let updates = if m.chance(85) {
        found[0].clone()
    } else {
        let mut dims = x.dims.clone();
        dims[axis] = end.min(2);
        m.weights(&dims)
    };
    let data = if m.chance(80) { x.name.clone() } else { m.weights(&x.dims) };
    m.one("ScatterElements", &[&data, &found[1], &updates], vec![int("axis", axis as i64)]);
    Some(())
}

fn scatter_nd(m: &mut Generator) -> Added {
    if m.chance(60) {
        // Rows lie in the parts.
        let x =
            m.value(|value| value.element == Float32 && value.rows.is_some_and(|axis| axis > 0))?;
        let (place, of_part) = (m.list(&[0]), m.integers(&[1, 1], &[0]));
        let part = m.one("Gather", &[&x.name, &place], vec![int("axis", 0)]);
        let updates = m.one("Neg", &[&part], vec![]);
        m.one("ScatterND", &[&x.name, &of_part, &updates], vec![]);
        return Some(());
    }
    let x = m.floats(2)?;
    let places = m.integers(&[1, 1], &[0]);
    let updates = m.weights(&[[1].as_slice(), &x.dims[1..]].concat());
    m.one("ScatterND", &[&x.name, &places, &updates], vec![]);
    Some(())
}

fn by_values(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    if m.chance(50) {
        m.one("NonZero", &[&x.name], vec![]);
    } else {
        let y = m.value(|value| value.element == Int64 && value.dims.len() == 2)?;
        m.one("EyeLike", &[&y.name], vec![int("dtype", 1)]);
    }
    Some(())
}
