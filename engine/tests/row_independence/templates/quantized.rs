//! Quantized numbers.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, int};
use skysail_graph::ElementType::{Float32, Int8, UInt8};

pub(crate) const ALL: &[Template] = &[
    quantize,
    quantize,
    dequantize,
    dequantize,
    dynamic,
    matmul_integer,
    matmul_integer,
    linear,
    conv_integer,
    linear_conv,
    added,
    pooled,
    joined,
    mean,
    to_float,
    activated,
];

/// A scale that divides without rounding.
fn scale(m: &mut Generator, dims: &[usize]) -> String {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|_| m.pick(&[0.25, 0.5, 1.0, 2.0])).collect();
    m.constant(Float32, dims, super::bytes(&values))
}

fn quantize(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    if m.chance(50) {
        let (scale, zero) = (scale(m, &[]), m.few(UInt8, &[], 100));
        m.one("QuantizeLinear", &[&x.name, &scale, &zero], vec![]);
        return Some(());
    }
    (m.opset >= 13).then_some(())?;
    let axis = m.axis(&x)?;
    let of_rows = x.rows == Some(axis);
    let scales = if of_rows && m.chance(50) {
        let other = m.value(|value| {
            value.element == Float32 && value.dims == [x.dims[axis]] && value.rows.is_some()
        })?;
        let positive = m.one("Abs", &[&other.name], vec![]);
        let one = m.weights_of_one();
        m.one("Add", &[&positive, &one], vec![])
    } else {
        scale(m, &[x.dims[axis]])
    };
    let axis = m.signed(axis, x.dims.len());
    m.one("QuantizeLinear", &[&x.name, &scales], vec![int("axis", axis)]);
    Some(())
}

impl Generator {
    fn weights_of_one(&mut self) -> String {
        self.constant(Float32, &[], 1.0_f32.to_le_bytes().to_vec())
    }
}

fn byte(m: &mut Generator, rank: usize) -> Option<Value> {
    m.value(|value| matches!(value.element, UInt8 | Int8) && value.dims.len() >= rank)
}

fn dequantize(m: &mut Generator) -> Added {
    let x = byte(m, 1)?;
    if m.chance(50) {
        let (scale, zero) = (scale(m, &[]), m.few(x.element, &[], 100));
        m.one("DequantizeLinear", &[&x.name, &scale, &zero], vec![]);
        return Some(());
    }
    (m.opset >= 13).then_some(())?;
    let axis = m.axis(&x)?;
    let scale = scale(m, &[x.dims[axis]]);
    let axis = m.signed(axis, x.dims.len());
    m.one("DequantizeLinear", &[&x.name, &scale], vec![int("axis", axis)]);
    Some(())
}

fn dynamic(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    m.many("", "DynamicQuantizeLinear", &[&x.name], 3, vec![]);
    Some(())
}

fn matmul_integer(m: &mut Generator) -> Added {
    let x = byte(m, 2)?;
    let inner = *x.dims.last()?;
    let side = m.side();
    let y = if m.chance(70) {
        m.few(UInt8, &[inner, side], 200)
    } else {
        m.value(|value| {
            matches!(value.element, UInt8 | Int8)
                && value.dims.len() == x.dims.len()
                && value.dims[value.dims.len() - 2] == inner
        })?
        .name
    };
    let zero = m.few(x.element, &[], 100);
    if m.chance(50) {
        m.one("MatMulInteger", &[&x.name, &y], vec![]);
    } else {
        m.one("MatMulInteger", &[&x.name, &y, &zero], vec![]);
    }
    Some(())
}

fn linear(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && value.dims.len() >= 2)?;
    let inner = *x.dims.last()?;
    let side = m.side();
    let weights = m.few(UInt8, &[inner, side], 20);
    let [a, b, c] = std::array::from_fn(|_| scale(m, &[]));
    let [za, zb, zc] = std::array::from_fn(|_| m.few(UInt8, &[], 100));
    m.one("QLinearMatMul", &[&x.name, &a, &za, &weights, &b, &zb, &c, &zc], vec![]);
    Some(())
}

fn image(m: &mut Generator) -> Option<Value> {
    m.value(|value| {
        value.element == UInt8
            && value.dims.len() == 4
            && value.dims[2..].iter().all(|side| *side >= 2)
    })
}

fn conv_integer(m: &mut Generator) -> Added {
    let x = image(m)?;
    let weights = m.few(UInt8, &[2, x.dims[1], 2, 2], 100);
    m.one("ConvInteger", &[&x.name, &weights], vec![]);
    Some(())
}

fn linear_conv(m: &mut Generator) -> Added {
    let x = image(m)?;
    let weights = m.few(UInt8, &[2, x.dims[1], 2, 2], 20);
    let [a, b, c] = std::array::from_fn(|_| scale(m, &[]));
    let [za, zb, zc] = std::array::from_fn(|_| m.few(UInt8, &[], 100));
    m.one("QLinearConv", &[&x.name, &a, &za, &weights, &b, &zb, &c, &zc], vec![]);
    Some(())
}

fn added(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && !value.dims.is_empty())?;
    let y = m.partner(&x)?;
    let [a, b, c] = std::array::from_fn(|_| scale(m, &[]));
    let [za, zb, zc] = std::array::from_fn(|_| m.few(UInt8, &[], 100));
    let operator = m.pick(&["QLinearAdd", "QLinearMul"]);
    m.many("com.microsoft", operator, &[&x.name, &a, &za, &y.name, &b, &zb, &c, &zc], 1, vec![]);
    Some(())
}

fn pooled(m: &mut Generator) -> Added {
    let x = image(m)?;
    let (a, c) = (scale(m, &[]), scale(m, &[]));
    let (za, zc) = (m.few(UInt8, &[], 100), m.few(UInt8, &[], 100));
    let attributes = vec![int("channels_last", 0)];
    m.many(
        "com.microsoft",
        "QLinearGlobalAveragePool",
        &[&x.name, &a, &za, &c, &zc],
        1,
        attributes,
    );
    Some(())
}

fn joined(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && !value.dims.is_empty())?;
    let axis = m.axis(&x)?;
    let [a, b, c] = std::array::from_fn(|_| scale(m, &[]));
    let [za, zb, zc] = std::array::from_fn(|_| m.few(UInt8, &[], 100));
    let names = [&c, &zc, &x.name, &a, &za, &x.name, &b, &zb].map(String::as_str);
    m.many("com.microsoft", "QLinearConcat", &names, 1, vec![int("axis", axis as i64)]);
    Some(())
}

fn mean(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && value.dims.len() >= 2)?;
    let axis = m.axis(&x)?;
    let (a, c) = (scale(m, &[]), scale(m, &[]));
    let (za, zc) = (m.few(UInt8, &[], 100), m.few(UInt8, &[], 100));
    let attributes =
        vec![crate::proto::ints("axes", &[axis as i64]), int("keepdims", m.below(2) as i64)];
    m.many("com.microsoft", "QLinearReduceMean", &[&x.name, &a, &za, &c, &zc], 1, attributes);
    Some(())
}

fn to_float(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && value.dims.len() >= 2)?;
    let inner = *x.dims.last()?;
    let side = m.side();
    let weights = m.few(UInt8, &[inner, side], 20);
    let (a, b) = (scale(m, &[]), scale(m, &[]));
    m.many("com.microsoft", "MatMulIntegerToFloat", &[&x.name, &weights, &a, &b], 1, vec![]);
    Some(())
}

fn activated(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8 && value.dims.len() >= 2)?;
    let (a, c) = (scale(m, &[]), scale(m, &[]));
    let (za, zc) = (m.few(UInt8, &[], 100), m.few(UInt8, &[], 100));
    let names = [&x.name, &a, &za, &c, &zc].map(String::as_str);
    match m.below(3) {
        0 => m.many("com.microsoft", "QLinearSigmoid", &names, 1, vec![]),
        1 => m.many("com.microsoft", "QLinearLeakyRelu", &names, 1, vec![float("alpha", 0.5)]),
        _ => {
            let axis = m.axis(&x)?;
            let attributes = vec![int("axis", axis as i64), int("opset", m.opset)];
            m.many("com.microsoft", "QLinearSoftmax", &names, 1, attributes)
        }
    };
    Some(())
}
