//! Operators of ONNX Runtime's own domain.

use super::window::picture;
use super::{Added, Template};
use crate::generator::Generator;
use crate::proto::{float, int, text};
use skysail_graph::ElementType::{Float32, Int32};

pub(crate) const ALL: &[Template] = &[
    activation, bias_gelu, matmul, matmul, gemm, skip, skip, conv, attention, heads, heads, rotary,
    embed, dynamic, hashed, simplified, distances, last_two, few_bits,
];

const MS: &str = "com.microsoft";

fn activation(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let operator = m.pick(&["Gelu", "QuickGelu", "FastGelu"]);
    m.many(MS, operator, &[&x.name], 1, vec![]);
    Some(())
}

fn bias_gelu(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let bias = if m.chance(85) {
        m.weights(&[*x.dims.last()?])
    } else {
        let last = *x.dims.last()?;
        m.value(|value| value.element == Float32 && value.dims == [last])?.name
    };
    let operator = m.pick(&["BiasGelu", "FastGelu"]);
    m.many(MS, operator, &[&x.name, &bias], 1, vec![]);
    Some(())
}

fn matmul(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let y = m.value(|value| value.element == Float32 && value.dims == x.dims)?;
    let turned = m.below(4);
    let attributes = match turned {
        0 => vec![int("transA", 1)],
        _ => vec![int("transB", 1), float("alpha", 0.5)],
    };
    let operator = m.pick(&["FusedMatMul", "TransposeMatMul"]);
    m.many(MS, operator, &[&x.name, &y.name], 1, attributes);
    Some(())
}

fn gemm(m: &mut Generator) -> Added {
    let x = m.floats_of(2)?;
    let weights = m.weights(&[x.dims[1], 3]);
    let bias = m.weights(&[3]);
    m.many(MS, "FusedGemm", &[&x.name, &weights, &bias], 1, vec![text("activation", "Relu")]);
    Some(())
}

fn skip(m: &mut Generator) -> Added {
    let x = m.floats_of(3)?;
    let y = if m.chance(70) {
        m.value(|value| value.element == Float32 && value.dims == x.dims)?.name
    } else {
        let dims =
            m.pick(&[[1, x.dims[1], x.dims[2]].as_slice(), &[x.dims[1], x.dims[2]]]).to_vec();
        m.weights(&dims)
    };
    let width = x.dims[2];
    let (gamma, beta) = (m.weights(&[width]), m.weights(&[width]));
    let epsilon = vec![float("epsilon", 0.01)];
    if m.chance(60) {
        let names = [&x.name, &y, &gamma, &beta].map(String::as_str);
        m.many(MS, "SkipLayerNormalization", &names, 1, epsilon);
    } else {
        let names = [&x.name, &y, &gamma].map(String::as_str);
        m.many(MS, "SkipSimplifiedLayerNormalization", &names, 1, epsilon);
    }
    Some(())
}

fn conv(m: &mut Generator) -> Added {
    let x = picture(m)?;
    let dims = [vec![2, x.dims[1]], vec![1; x.dims.len() - 2]].concat();
    let (weights, bias) = (m.weights(&dims), m.weights(&[2]));
    let mut added = x.dims.clone();
    added[1] = 2;
    let other = m.value(|value| value.element == Float32 && value.dims == added);
    let mut names = vec![x.name.clone(), weights, bias];
    match other {
        Some(other) if m.chance(70) => names.push(other.name),
        _ if m.chance(15) => names.push(m.weights(&added)),
        _ => {}
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    m.many(MS, "FusedConv", &names, 1, vec![text("activation", "Relu")]);
    Some(())
}

fn mask(m: &mut Generator, dims: &[usize]) -> String {
    let dims = dims.to_vec();
    let found = m.value(|value| value.element == Int32 && value.dims == dims);
    match found {
        Some(found) => {
            let (zero, one) = (m.few(Int32, &[], 1), m.few(Int32, &[], 1));
            let high = m.one("Max", &[&found.name, &zero], vec![]);
            m.one("Min", &[&high, &one], vec![])
        }
        None => String::new(),
    }
}

fn attention(m: &mut Generator) -> Added {
    let x = m.floats_of(3)?;
    let width = x.dims[2];
    let weights = m.weights(&[width, 3 * width]);
    let bias = m.weights(&[3 * width]);
    let mask = mask(m, &x.dims[..2]);
    let outputs = if m.chance(30) { 2 } else { 1 };
    let names = [&x.name, &weights, &bias, &mask].map(String::as_str);
    let names = if mask.is_empty() { &names[..3] } else { &names[..] };
    m.many(MS, "Attention", names, outputs, vec![int("num_heads", 1)]);
    Some(())
}

fn heads(m: &mut Generator) -> Added {
    let x = m.floats_of(3)?;
    let y = m.value(|value| value.element == Float32 && value.dims == x.dims)?;
    let mut names = vec![x.name.clone(), y.name, x.name.clone()];
    if m.chance(40) {
        names.push(m.weights(&[3 * x.dims[2]]));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    m.many(MS, "MultiHeadAttention", &names, 1, vec![int("num_heads", 1)]);
    Some(())
}

fn rotary(m: &mut Generator) -> Added {
    let x = m.floats_of(3)?;
    let (steps, width) = (x.dims[1], x.dims[2]);
    (width.is_multiple_of(2)).then_some(())?;
    let (cos, sin) = (m.weights(&[8, width / 2]), m.weights(&[8, width / 2]));
    let places = if m.chance(50) {
        m.integers(&[1], &[2])
    } else {
        let (batch, steps) = (x.dims[0], steps);
        m.places(|value| value.dims == [batch, steps], 4)?.name
    };
    let names = [&x.name, &places, &cos, &sin].map(String::as_str);
    m.many(MS, "RotaryEmbedding", &names, 1, vec![]);
    Some(())
}

fn embed(m: &mut Generator) -> Added {
    let ids = m.places(|value| value.dims.len() == 2, 5)?;
    let ids = m.one("Cast", &[&ids.name], vec![int("to", 6)]);
    let (words, places) = (m.weights(&[5, 4]), m.weights(&[8, 4]));
    let (gamma, beta) = (m.weights(&[4]), m.weights(&[4]));
    let names = [&ids, "", &words, &places, "", &gamma, &beta];
    m.many(MS, "EmbedLayerNormalization", &names, 2, vec![float("epsilon", 0.01)]);
    Some(())
}

fn dynamic(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let inner = *x.dims.last()?;
    let weights = m.few(skysail_graph::ElementType::UInt8, &[inner, 2], 50);
    let scale = m.constant(Float32, &[], 0.5_f32.to_le_bytes().to_vec());
    m.many(MS, "DynamicQuantizeMatMul", &[&x.name, &weights, &scale], 1, vec![]);
    Some(())
}

fn distances(m: &mut Generator) -> Added {
    let x = m.floats_of(2)?;
    let others = m.weights(&[3, x.dims[1]]);
    m.many(MS, "CDist", &[&x.name, &others], 1, vec![text("metric", "sqeuclidean")]);
    Some(())
}

fn last_two(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    if m.chance(60) {
        let shift = m.integers(&[], &[1]);
        m.many(MS, "Trilu", &[&x.name, &shift], 1, vec![int("upper", 1)]);
    } else {
        // A square matrix whatever the sizes are: ONNX Runtime does not look.
        let square = m.many(MS, "FusedMatMul", &[&x.name, &x.name], 1, vec![int("transB", 1)]);
        m.many(MS, "Inverse", &[&square[0]], 1, vec![]);
    }
    Some(())
}

fn few_bits(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    if m.chance(50) {
        let mut pads = vec![0; 2 * x.dims.len()];
        pads[m.axis(&x)?] = 1;
        let pads = m.list(&pads);
        m.many(MS, "Pad", &[&x.name, &pads], 1, vec![text("mode", "constant")]);
        return Some(());
    }
    let k = *x.dims.last()?;
    let n = 2;
    let packed = m.few(skysail_graph::ElementType::UInt8, &[n, 1, 8], 255);
    let scales = m.weights(&[n]);
    let attributes =
        vec![int("K", k as i64), int("N", n as i64), int("bits", 4), int("block_size", 16)];
    m.many(MS, "MatMulNBits", &[&x.name, &packed, &scales], 1, attributes);
    Some(())
}

fn hashed(m: &mut Generator) -> Added {
    let x = m.value(|value| matches!(value.element, Int32 | skysail_graph::ElementType::Int64))?;
    m.many(MS, "MurmurHash3", &[&x.name], 1, vec![int("positive", 0)]);
    Some(())
}

fn simplified(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let axis = m.axis(&x)?;
    let scale = m.weights(&x.dims[axis..]);
    m.one("SimplifiedLayerNormalization", &[&x.name, &scale], vec![int("axis", axis as i64)]);
    Some(())
}
