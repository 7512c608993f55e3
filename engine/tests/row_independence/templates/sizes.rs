//! Arithmetic on sizes: shapes computed from those of values.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{self, int};
use skysail_graph::ElementType::{Float32, Int64};

pub(crate) const ALL: &[Template] = &[
    reshaped, reshaped, reshaped, expanded, expanded, filled, tiled, ranged, ranged, cut, whole,
    scaled, alone,
];

/// A size of a value, as a list of one, by `Gather` or `Slice`.
fn size_of(m: &mut Generator, x: &Value, axis: usize) -> String {
    let shape = m.one("Shape", &[&x.name], vec![]);
    match m.below(3) {
        0 => {
            let (from, to) = (m.list(&[axis as i64]), m.list(&[axis as i64 + 1]));
            m.one("Slice", &[&shape, &from, &to], vec![])
        }
        1 => {
            let place = m.list(&[axis as i64]);
            m.one("Gather", &[&shape, &place], vec![])
        }
        _ => {
            let scalar = scalar_size(m, &shape, axis);
            let one = m.list(&[1]);
            m.one("Reshape", &[&scalar, &one], vec![])
        }
    }
}

fn scalar_size(m: &mut Generator, shape: &str, axis: usize) -> String {
    let place = m.integers(&[], &[axis as i64]);
    m.one("Gather", &[shape, &place], vec![])
}

/// The size, or the same multiplied and divided by a number.
fn worked(m: &mut Generator, size: String) -> String {
    match m.below(8) {
        0 => {
            let two = m.list(&[2]);
            let twice = m.one("Mul", &[&size, &two], vec![]);
            m.one("Div", &[&twice, &two], vec![])
        }
        1 => {
            let one = m.list(&[1]);
            let more = m.one("Add", &[&size, &one], vec![]);
            m.one("Sub", &[&more, &one], vec![])
        }
        2 => {
            let float = m.one("Cast", &[&size], vec![int("to", 1)]);
            m.one("Cast", &[&float], vec![int("to", 7)])
        }
        _ => size,
    }
}

fn joined(m: &mut Generator, sizes: &[String]) -> String {
    let names: Vec<&str> = sizes.iter().map(String::as_str).collect();
    m.one("Concat", &names, vec![int("axis", 0)])
}

/// Reshapes the value to its own sizes, some multiplied, and one perhaps -1.
fn reshaped(m: &mut Generator) -> Added {
    let x = m.value(|value| (2..5).contains(&value.dims.len()))?;
    let rank = x.dims.len();
    let mut sizes = Vec::new();
    let mut open = m.chance(60);
    let mut axis = 0;
    while axis < rank {
        let size = size_of(m, &x, axis);
        let size = worked(m, size);
        if axis + 1 < rank && m.chance(30) {
            let next = size_of(m, &x, axis + 1);
            sizes.push(m.one("Mul", &[&size, &next], vec![]));
            axis += 2;
        } else if open && m.chance(30) {
            open = false;
            sizes.push(m.list(&[-1]));
            axis += 1;
        } else if m.chance(25) && x.rows != Some(axis) {
            sizes.push(m.list(&[x.dims[axis] as i64]));
            axis += 1;
        } else {
            sizes.push(size);
            axis += 1;
        }
    }
    if m.chance(20) {
        let one = m.list(&[1]);
        let place = m.below(sizes.len() + 1);
        sizes.insert(place, one);
    }
    let shape = joined(m, &sizes);
    m.one("Reshape", &[&x.name, &shape], vec![]);
    Some(())
}

/// Expands a constant, or a value without rows, to the number of rows.
fn expanded(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows.is_some())?;
    let axis = if m.chance(85) { x.rows? } else { m.below(x.dims.len()) };
    let size = size_of(m, &x, axis);
    let size = worked(m, size);
    let side = m.side();
    let constant = if m.chance(80) {
        let first = if m.chance(85) { 1 } else { side };
        m.weights(&[first, side])
    } else {
        m.value(|value| value.element == Float32 && value.dims.len() == 2)?.name
    };
    let last = m.list(&[side as i64]);
    let order = if m.chance(85) { [size, last] } else { [last, size] };
    let shape = joined(m, &order);
    m.one("Expand", &[&constant, &shape], vec![]);
    Some(())
}

fn filled(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows.is_some())?;
    let size = size_of(m, &x, x.rows?);
    let side = m.side() as i64;
    let sizes = if m.chance(70) {
        let last = m.list(&[side]);
        joined(m, &[size, last])
    } else {
        m.one("Shape", &[&x.name], vec![])
    };
    let value = proto::constant("", Float32, &[1], 1.5_f32.to_le_bytes().to_vec());
    m.one("ConstantOfShape", &[&sizes], vec![proto::tensor("value", value)]);
    Some(())
}

fn tiled(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows.is_some())?;
    let size = size_of(m, &x, x.rows?);
    let one = m.list(&[1]);
    let order = if m.chance(70) { [size, one] } else { [one, size] };
    let repeats = joined(m, &order);
    let first = m.pick(&[1, 1, 2]);
    let constant = if m.chance(70) {
        m.weights(&[first, 2])
    } else {
        m.value(|value| value.element == Float32 && value.dims.len() == 2)?.name
    };
    m.one("Tile", &[&constant, &repeats], vec![]);
    Some(())
}

/// A range up to a size, combined with a value.
fn ranged(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let shape = m.one("Shape", &[&x.name], vec![]);
    let size = scalar_size(m, &shape, axis);
    let (zero, one) = (m.integers(&[], &[0]), m.integers(&[], &[1]));
    let range = m.one("Range", &[&zero, &size, &one], vec![]);
    if m.chance(50) {
        m.one("Gather", &[&x.name, &range], vec![int("axis", axis as i64)]);
    } else {
        let range = m.one("Cast", &[&range], vec![int("to", 1)]);
        let last = axis + 1 == x.dims.len();
        let range = if last {
            range
        } else {
            let mut sides = vec![1_i64; x.dims.len() - axis];
            sides[0] = -1;
            let sides = m.list(&sides);
            m.one("Reshape", &[&range, &sides], vec![])
        };
        m.one("Add", &[&x.name, &range], vec![]);
    }
    Some(())
}

/// A slice up to a size.
fn cut(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows.is_some() && !value.dims.is_empty())?;
    let y = m.floats(1)?;
    let from = if m.chance(70) { x.rows? } else { m.below(x.dims.len()) };
    let size = size_of(m, &x, from);
    let size = worked(m, size);
    let axis = match y.rows {
        Some(rows) if m.chance(50) => rows,
        _ => m.below(y.dims.len()),
    };
    let start = i64::from(m.chance(10));
    let (zero, axes) = (m.list(&[start]), m.list(&[axis as i64]));
    m.one("Slice", &[&y.name, &zero, &size, &axes], vec![]);
    Some(())
}

/// A reshape by the whole shape of another value.
fn whole(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty())?;
    let count: usize = x.dims.iter().product();
    let y = m.value(|value| {
        value.dims.iter().product::<usize>() == count && value.element != Int64
            || value.rows.is_some() && value.dims == x.dims
    })?;
    let shape = m.one("Shape", &[&y.name], vec![]);
    m.one("Reshape", &[&x.name, &shape], vec![]);
    Some(())
}

/// A value times a size.
fn scaled(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = if m.chance(80) { m.axis(&x)? } else { x.rows? };
    let size = size_of(m, &x, axis);
    let size = m.one("Cast", &[&size], vec![int("to", 1)]);
    let operator = m.pick(&["Mul", "Add"]);
    m.one(operator, &[&x.name, &size], vec![]);
    Some(())
}

/// Sizes alone.
fn alone(m: &mut Generator) -> Added {
    let x = m.value(|_| true)?;
    let operator = m.pick(&["Shape", "Size"]);
    m.one(operator, &[&x.name], vec![]);
    Some(())
}
