//! Layout: reshaping, slicing and padding.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, int, ints, text};
use skysail_graph::ElementType::{Bool, Float32};

pub(crate) const ALL: &[Template] = &[
    transpose, transpose, reshape, reshape, reshape, merge, flatten, squeeze, unsqueeze, concat,
    concat, split, slice, slice, pad, expand, tile, compress, center, resize, rows_first,
    rows_first, rows_first, rows_last,
];

fn transpose(m: &mut Generator) -> Added {
    let x = m.value(|value| value.dims.len() >= 2)?;
    let mut perm: Vec<i64> = (0..x.dims.len() as i64).collect();
    for place in 1..perm.len() {
        let other = m.below(place + 1);
        perm.swap(place, other);
    }
    let attributes = if m.chance(85) { vec![ints("perm", &perm)] } else { vec![] };
    m.one("Transpose", &[&x.name], attributes);
    Some(())
}

/// A shape with the same number of elements: factors move between neighbours, and one size may be
/// -1.
fn shape_for(m: &mut Generator, x: &Value) -> Vec<i64> {
    let mut shape: Vec<i64> = x.dims.iter().map(|dim| *dim as i64).collect();
    let mut rows = x.rows;
    for _ in 0..=m.below(2) {
        let place = m.below(shape.len().max(1));
        if m.chance(50) && place + 1 < shape.len() {
            let size = shape.remove(place);
            shape[place] *= size;
            rows = rows.map(|axis| if axis > place { axis - 1 } else { axis });
        } else if shape.len() < 5 {
            let size = shape.get(place).copied().unwrap_or(1);
            let factor = m.pick(&[1, 2, 3]);
            if size % factor == 0 && !shape.is_empty() {
                shape[place] = size / factor;
                shape.insert(place, factor);
                rows = rows.map(|axis| if axis >= place { axis + 1 } else { axis });
            } else {
                shape.insert(place, 1);
                rows = rows.map(|axis| if axis >= place { axis + 1 } else { axis });
            }
        }
    }
    let open = rows.filter(|axis| *axis < shape.len());
    match open {
        Some(axis) if m.chance(85) => shape[axis] = -1,
        _ if m.chance(50) && !shape.is_empty() => {
            let axis = m.below(shape.len());
            shape[axis] = -1;
        }
        _ => {}
    }
    shape
}

fn reshape(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty())?;
    let mut shape = shape_for(m, &x);
    if m.chance(30) && shape.first() == x.dims.first().map(|dim| *dim as i64).as_ref() {
        shape[0] = 0;
    }
    let shape = m.list(&shape);
    m.one("Reshape", &[&x.name, &shape], vec![]);
    Some(())
}

/// Merges the rows with the next dimension, applies an operator, and splits them again.
fn merge(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let rank = x.dims.len();
    let tail = x.dims[rank - 1] as i64;
    let flat = m.list(&[-1, tail]);
    let merged = m.one("Reshape", &[&x.name, &flat], vec![]);
    let between = match m.below(3) {
        0 => {
            let weights = m.weights(&[tail as usize, 2]);
            m.one("MatMul", &[&merged, &weights], vec![])
        }
        1 => m.one("Relu", &[&merged], vec![]),
        _ => merged,
    };
    let mut back: Vec<i64> = x.dims.iter().map(|dim| *dim as i64).collect();
    back[rank - 1] = m.pick(&[-1, tail, 2]);
    let open = if m.chance(80) { x.rows.unwrap_or(0) } else { m.below(rank) };
    if back[rank - 1] != -1 {
        back[open] = -1;
    } else if open == 0 {
        back[0] = 0;
        (rank == 2).then_some(())?;
    }
    let back = m.list(&back);
    m.one("Reshape", &[&between, &back], vec![]);
    Some(())
}

fn flatten(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.below(x.dims.len() + 1);
    let attributes = if m.chance(70) { vec![int("axis", axis as i64)] } else { vec![] };
    m.one("Flatten", &[&x.name], attributes);
    Some(())
}

fn squeeze(m: &mut Generator) -> Added {
    let x = m.value(|value| value.dims.contains(&1))?;
    let axis = x.dims.iter().position(|dim| *dim == 1)?;
    let axis = m.signed(axis, x.dims.len());
    with_axes(m, "Squeeze", &x, &[axis]);
    Some(())
}

fn unsqueeze(m: &mut Generator) -> Added {
    let x = m.value(|value| value.dims.len() < 4)?;
    let rank = x.dims.len() + 1;
    let axis = m.below(rank);
    let axis = m.signed(axis, rank);
    with_axes(m, "Unsqueeze", &x, &[axis]);
    Some(())
}

fn with_axes(m: &mut Generator, operator: &str, x: &Value, axes: &[i64]) {
    if operator == "Squeeze" && m.chance(10) {
        m.one(operator, &[&x.name], vec![]);
    } else if m.opset >= 13 {
        let axes = m.list(axes);
        m.one(operator, &[&x.name, &axes], vec![]);
    } else {
        m.one(operator, &[&x.name], vec![ints("axes", axes)]);
    }
}

fn concat(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty() && value.element == Float32)?;
    let axis = m.axis(&x)?;
    let y = m.value(|value| {
        value.element == x.element
            && value.dims.len() == x.dims.len()
            && (0..x.dims.len()).all(|place| place == axis || value.dims[place] == x.dims[place])
    })?;
    let mut names = vec![x.name.clone(), y.name];
    if m.chance(20) {
        names.push(m.weights(&x.dims));
    }
    let axis = m.signed(axis, x.dims.len());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    m.one("Concat", &names, vec![int("axis", axis)]);
    Some(())
}

fn split(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty())?;
    let axis = m.axis(&x)?;
    let size = x.dims[axis];
    (size >= 2).then_some(())?;
    let at = int("axis", m.signed(axis, x.dims.len()));
    let parts = [1, size as i64 - 1];
    let as_input = m.chance(70);
    match m.opset {
        13.. if as_input => {
            let parts = m.list(&parts);
            m.many("", "Split", &[&x.name, &parts], 2, vec![at]);
        }
        ..13 => drop(m.many("", "Split", &[&x.name], 2, vec![at, ints("split", &parts)])),
        18.. => drop(m.many("", "Split", &[&x.name], 2, vec![at, int("num_outputs", 2)])),
        _ => drop(m.many("", "Split", &[&x.name], 2, vec![at])),
    }
    Some(())
}

fn slice(m: &mut Generator) -> Added {
    let x = m.value(|value| !value.dims.is_empty())?;
    let axis = m.axis(&x)?;
    let size = x.dims[axis] as i64;
    let (start, end, step) = match m.below(6) {
        0 => (0, i64::MAX, 1),
        1 => (-1, i64::MIN + 1, -1),
        2 => (0, size - 1, 1),
        3 => (1, i64::from(i32::MAX), 1),
        4 => (0, i64::MAX, 2),
        _ => (-1, i64::MAX, 1),
    };
    let (starts, ends, steps) = (m.list(&[start]), m.list(&[end]), m.list(&[step]));
    let axis = m.signed(axis, x.dims.len());
    if m.chance(15) {
        m.one("Slice", &[&x.name, &starts, &ends], vec![]);
        return Some(());
    }
    let axes = m.list(&[axis]);
    m.one("Slice", &[&x.name, &starts, &ends, &axes, &steps], vec![]);
    Some(())
}

fn pad(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let rank = x.dims.len();
    let axis = m.axis(&x)?;
    let mut pads = vec![0; 2 * rank];
    pads[axis] = m.pick(&[0, 1, -1]);
    pads[rank + axis] = m.pick(&[0, 1, 2]);
    let mode = m.pick(&["constant", "constant", "edge", "reflect"]);
    (pads[axis] >= 0 || mode == "constant" && x.dims[axis] > 1).then_some(())?;
    if m.opset >= 18 && m.chance(40) {
        let pads = m.list(&[pads[axis], pads[rank + axis]]);
        let axis = m.signed(axis, rank);
        let axes = m.list(&[axis]);
        m.one("Pad", &[&x.name, &pads, "", &axes], vec![text("mode", mode)]);
    } else {
        let pads = m.list(&pads);
        m.one("Pad", &[&x.name, &pads], vec![text("mode", mode)]);
    }
    Some(())
}

fn expand(m: &mut Generator) -> Added {
    let x = m.value(|value| value.dims.len() < 4)?;
    let mut shape: Vec<i64> = x.dims.iter().map(|dim| *dim as i64).collect();
    for (axis, dim) in shape.iter_mut().enumerate() {
        if *dim == 1 && m.chance(50) {
            *dim = 3;
        } else if x.rows == Some(axis) && m.chance(90) {
            *dim = 1;
        }
    }
    if m.chance(40) {
        shape.insert(0, m.pick(&[1, 2, 3]));
    }
    let shape = m.list(&shape);
    m.one("Expand", &[&x.name, &shape], vec![]);
    Some(())
}

fn tile(m: &mut Generator) -> Added {
    let x = m.value(|value| (1..4).contains(&value.dims.len()))?;
    let repeats: Vec<i64> = (0..x.dims.len())
        .map(|axis| if x.rows == Some(axis) && m.chance(90) { 1 } else { m.pick(&[1, 2]) })
        .collect();
    let repeats = m.list(&repeats);
    m.one("Tile", &[&x.name, &repeats], vec![]);
    Some(())
}

fn compress(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let size = x.dims[axis];
    let mask: Vec<u8> = (0..size).map(|place| u8::from(place == 0 || m.chance(50))).collect();
    let mask = m.constant(Bool, &[size], mask);
    let at = int("axis", m.signed(axis, x.dims.len()));
    let attributes = if m.chance(85) { vec![at] } else { vec![] };
    m.one("Compress", &[&x.name, &mask], attributes);
    Some(())
}

fn center(m: &mut Generator) -> Added {
    (m.opset >= 18).then_some(())?;
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let shape = m.list(&[2]);
    let axis = m.signed(axis, x.dims.len());
    m.one("CenterCropPad", &[&x.name, &shape], vec![ints("axes", &[axis])]);
    Some(())
}

fn resize(m: &mut Generator) -> Added {
    let x = m.floats_of(4)?;
    let mut scales = vec![1.0_f32; 4];
    let axis = m.axis(&x)?;
    scales[axis] = m.pick(&[1.0, 2.0, 0.5]);
    if m.chance(50) {
        scales[2] = 2.0;
        scales[3] = 2.0;
    }
    let mode = m.pick(&["nearest", "linear"]);
    let mut attributes = vec![text("mode", mode)];
    if m.chance(30) {
        attributes.push(text("coordinate_transformation_mode", "asymmetric"));
    }
    if mode == "cubic" {
        attributes.push(float("cubic_coeff_a", -0.5));
    }
    if m.chance(60) {
        let scales = m.constant(Float32, &[4], super::bytes(&scales));
        let empty = m.constant(Float32, &[0], vec![]);
        m.one("Resize", &[&x.name, &empty, &scales], attributes);
    } else if m.opset >= 18 {
        let sizes = m.list(&[x.dims[2] as i64 * 2, x.dims[3] as i64]);
        attributes.push(ints("axes", &[2, 3]));
        m.one("Resize", &[&x.name, "", "", &sizes], attributes);
    } else {
        let shape = m.one("Shape", &[&x.name], vec![]);
        let (zero, two) = (m.list(&[0]), m.list(&[2]));
        let rows = m.one("Slice", &[&shape, &zero, &two], vec![]);
        let sides = m.list(&[3, x.dims[3] as i64]);
        let sizes = m.one("Concat", &[&rows, &sides], vec![int("axis", 0)]);
        m.one("Resize", &[&x.name, "", "", &sizes], attributes);
    }
    Some(())
}

/// Moves the axis of the rows to the front.
fn rows_first(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows.is_some_and(|axis| axis > 0))?;
    let axis = x.rows? as i64;
    let others = (0..x.dims.len() as i64).filter(|other| *other != axis);
    let perm: Vec<i64> = std::iter::once(axis).chain(others).collect();
    m.one("Transpose", &[&x.name], vec![ints("perm", &perm)]);
    Some(())
}

/// Moves the axis of the rows to the end.
fn rows_last(m: &mut Generator) -> Added {
    let x = m.value(|value| value.rows == Some(0) && value.dims.len() > 1)?;
    let perm: Vec<i64> = (1..x.dims.len() as i64).chain([0]).collect();
    m.one("Transpose", &[&x.name], vec![ints("perm", &perm)]);
    Some(())
}
