//! Operators on elements, and along axes.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, int, ints, text};
use skysail_graph::ElementType::{self, Bool, Float32, Int32, Int64, UInt8};

pub(crate) const ALL: &[Template] = &[
    unary,
    unary,
    unary_of_setting,
    binary,
    binary,
    binary,
    compared,
    chosen,
    cast,
    clip,
    reduce,
    reduce,
    arg,
    softmax,
    normalised,
    along,
    top_k,
    bits,
    several,
    lengths,
    fourier,
];

/// Operators without attributes, and the first version that has them.
const UNARY: [(&str, i64); 33] = [
    ("Abs", 1),
    ("Neg", 1),
    ("Relu", 1),
    ("Identity", 1),
    ("Sign", 1),
    ("Floor", 1),
    ("Ceil", 1),
    ("Round", 11),
    ("Exp", 1),
    ("Tanh", 1),
    ("Sigmoid", 1),
    ("Sqrt", 1),
    ("Log", 1),
    ("Erf", 1),
    ("Softplus", 1),
    ("Softsign", 1),
    ("Sin", 1),
    ("Cos", 1),
    ("Tan", 1),
    ("Atan", 1),
    ("Reciprocal", 1),
    ("Acos", 1),
    ("Acosh", 1),
    ("Asin", 1),
    ("Asinh", 1),
    ("Atanh", 1),
    ("Cosh", 1),
    ("Sinh", 1),
    ("HardSwish", 14),
    ("Mish", 18),
    ("Gelu", 20),
    ("IsNaN", 9),
    ("IsInf", 10),
];

fn unary(m: &mut Generator) -> Added {
    let x = m.floats(0)?;
    let (operator, since) = m.pick(&UNARY);
    (m.opset >= since).then(|| drop(m.one(operator, &[&x.name], vec![])))
}

fn unary_of_setting(m: &mut Generator) -> Added {
    let x = m.floats(0)?;
    let alpha = vec![float("alpha", 0.5)];
    match m.below(10) {
        0 => m.one("LeakyRelu", &[&x.name], alpha),
        1 => m.one("Elu", &[&x.name], alpha),
        2 => m.one("Celu", &[&x.name], alpha),
        3 => m.one("HardSigmoid", &[&x.name], vec![float("alpha", 0.25), float("beta", 0.5)]),
        4 => m.one("ThresholdedRelu", &[&x.name], alpha),
        5 => m.one("Shrink", &[&x.name], vec![float("lambd", 0.5), float("bias", 0.5)]),
        6 => m.one("Selu", &[&x.name], vec![]),
        7 => m.many("", "Dropout", &[&x.name], 1, vec![]).remove(0),
        8 => {
            let slope = m.partner(&Value { dims: x.dims.clone(), ..x.clone() })?;
            m.one("PRelu", &[&x.name, &slope.name], vec![])
        }
        _ if m.opset >= 24 => m.one("Swish", &[&x.name], vec![]),
        _ => m.one("Identity", &[&x.name], vec![]),
    };
    Some(())
}

fn binary(m: &mut Generator) -> Added {
    let x = m.value(|value| matches!(value.element, Float32 | Int64 | Int32))?;
    let y = m.partner(&x)?;
    let operators: &[&str] = match x.element {
        Float32 => &["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum", "Mean", "Add", "Mul"],
        _ => &["Add", "Sub", "Mul", "Max", "Min"],
    };
    let operator = m.pick(operators);
    let (a, b) = if m.chance(50) { (&x, &y) } else { (&y, &x) };
    m.one(operator, &[&a.name, &b.name], vec![]);
    Some(())
}

fn several(m: &mut Generator) -> Added {
    let x = m.floats(0)?;
    let (y, z) = (m.partner(&x)?, m.partner(&x)?);
    let operator = m.pick(&["Max", "Min", "Sum", "Mean"]);
    m.one(operator, &[&x.name, &y.name, &z.name], vec![]);
    Some(())
}

fn compared(m: &mut Generator) -> Added {
    if m.chance(40) {
        let x = m.value(|value| value.element == Bool)?;
        let y = m.partner(&x)?;
        let operator = m.pick(&["And", "Or", "Xor"]);
        m.one(operator, &[&x.name, &y.name], vec![]);
        return Some(());
    }
    let x = m.value(|value| matches!(value.element, Float32 | Int64 | Int32))?;
    let y = m.partner(&x)?;
    let operator = m.pick(&["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]);
    (m.opset >= 12 || operator.len() < 8)
        .then(|| drop(m.one(operator, &[&x.name, &y.name], vec![])))
}

fn chosen(m: &mut Generator) -> Added {
    let condition = m.value(|value| value.element == Bool)?;
    if m.chance(30) {
        m.one("Not", &[&condition.name], vec![]);
        return Some(());
    }
    let shape = Value { element: Float32, ..condition.clone() };
    let (a, b) = (m.partner(&shape)?, m.partner(&shape)?);
    m.one("Where", &[&condition.name, &a.name, &b.name], vec![]);
    Some(())
}

fn cast(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element != ElementType::String)?;
    let to = m.pick(&[Float32, Float32, Int64, Int32, UInt8, Bool, ElementType::Int8]);
    if m.chance(20) && m.opset >= 15 {
        let like = m.value(|value| value.element != ElementType::String)?;
        m.one("CastLike", &[&x.name, &like.name], vec![]);
        return Some(());
    }
    let whole = matches!(to, UInt8 | ElementType::Int8);
    let clipped = if x.element == Float32 && to != Float32 {
        let high = if whole { 100.0_f32 } else { 100_000.0 };
        let low = if to == UInt8 { 0.0 } else { -high };
        let low = m.constant(Float32, &[], low.to_le_bytes().to_vec());
        let high = m.constant(Float32, &[], high.to_le_bytes().to_vec());
        m.one("Clip", &[&x.name, &low, &high], vec![])
    } else {
        x.name
    };
    m.one("Cast", &[&clipped], vec![int("to", i64::from(to.code()))]);
    Some(())
}

fn clip(m: &mut Generator) -> Added {
    let x = m.floats(0)?;
    let low = m.constant(Float32, &[], (-2.0_f32).to_le_bytes().to_vec());
    let high = m.value(|value| value.element == Float32 && value.dims.is_empty());
    let high = match high {
        Some(high) if m.chance(60) => high.name,
        _ => m.constant(Float32, &[], 5.0_f32.to_le_bytes().to_vec()),
    };
    m.one("Clip", &[&x.name, &low, &high], vec![]);
    Some(())
}

const REDUCTIONS: [&str; 10] = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

fn reduce(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let operator = m.pick(&REDUCTIONS);
    let mut axes = Vec::new();
    for _ in 0..=m.below(2) {
        let axis = m.axis(&x)?;
        if !axes.contains(&axis) {
            axes.push(axis);
        }
    }
    let axes: Vec<i64> = axes.into_iter().map(|axis| m.signed(axis, x.dims.len())).collect();
    let mut attributes = vec![int("keepdims", m.below(2) as i64)];
    let says = m.chance(90);
    let by_input = m.opset >= 18 || operator == "ReduceSum" && m.opset >= 13;
    if by_input && m.chance(20) {
        attributes.push(int("noop_with_empty_axes", 1));
    }
    if !says {
        m.one(operator, &[&x.name], attributes);
    } else if by_input {
        let axes = m.list(&axes);
        m.one(operator, &[&x.name, &axes], attributes);
    } else {
        attributes.push(ints("axes", &axes));
        m.one(operator, &[&x.name], attributes);
    }
    Some(())
}

fn arg(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let operator = m.pick(&["ArgMax", "ArgMin"]);
    let mut attributes = vec![int("keepdims", m.below(2) as i64)];
    if m.chance(80) {
        attributes.push(int("axis", m.signed(axis, x.dims.len())));
    }
    m.one(operator, &[&x.name], attributes);
    Some(())
}

fn softmax(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let operator = m.pick(&["Softmax", "LogSoftmax", "Hardmax"]);
    let axis = int("axis", m.signed(axis, x.dims.len()));
    let attributes = if m.chance(75) { vec![axis] } else { vec![] };
    m.one(operator, &[&x.name], attributes);
    Some(())
}

fn normalised(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let rank = x.dims.len();
    let axis = m.axis(&x)?;
    let signed = m.signed(axis, rank);
    let from = x.dims[axis..].to_vec();
    match m.below(4) {
        0 => {
            let scale = m.weights(&from);
            let axis = int("axis", m.signed(axis, rank));
            if m.chance(50) {
                m.many("", "LayerNormalization", &[&x.name, &scale], 1, vec![axis]);
            } else {
                let bias = m.weights(&from);
                m.many("", "LayerNormalization", &[&x.name, &scale, &bias], 3, vec![axis]);
            }
        }
        1 => drop(m.one("LpNormalization", &[&x.name], vec![int("axis", signed), int("p", 2)])),
        2 => {
            let axes: Vec<i64> = (0..rank as i64).filter(|_| m.chance(50)).collect();
            let attributes = if m.chance(70) { vec![ints("axes", &axes)] } else { vec![] };
            m.one("MeanVarianceNormalization", &[&x.name], attributes);
        }
        _ if m.opset >= 23 => {
            let scale = m.weights(&from);
            m.one("RMSNormalization", &[&x.name, &scale], vec![int("axis", axis as i64)]);
        }
        _ => drop(m.one("LRN", &[&x.name], vec![int("size", 3), float("alpha", 0.5)])),
    }
    Some(())
}

fn along(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let signed = m.signed(axis, x.dims.len());
    match m.below(3) {
        0 | 1 => {
            let axis = m.integers(&[], &[signed]);
            let attributes =
                vec![int("exclusive", m.below(2) as i64), int("reverse", m.below(2) as i64)];
            m.one("CumSum", &[&x.name, &axis], attributes);
        }
        _ if x.dims.len() >= 2 && m.opset >= 14 => {
            let shift = m.integers(&[], &[1]);
            let upper = vec![int("upper", m.below(2) as i64)];
            m.one("Trilu", &[&x.name, &shift], upper);
        }
        _ => {
            let last = *x.dims.last()?;
            let before = *x.dims.iter().rev().nth(1)?;
            (last == before).then(|| m.one("Det", &[&x.name], vec![]))?;
        }
    }
    Some(())
}

fn top_k(m: &mut Generator) -> Added {
    let x = m.floats(1)?;
    let axis = m.axis(&x)?;
    let k = 1 + m.below(x.dims[axis].min(3));
    let k = m.list(&[if x.rows == Some(axis) { 1 } else { k as i64 }]);
    let (axis, largest) = (m.signed(axis, x.dims.len()), m.below(2) as i64);
    m.many("", "TopK", &[&x.name, &k], 2, vec![int("axis", axis), int("largest", largest)]);
    Some(())
}

fn bits(m: &mut Generator) -> Added {
    let x = m.value(|value| value.element == UInt8)?;
    let y = m.partner(&x)?;
    match m.below(3) {
        0 => m.one("BitShift", &[&x.name, &y.name], vec![text("direction", "LEFT")]),
        1 if m.opset >= 18 => m.one("BitwiseNot", &[&x.name], vec![]),
        _ if m.opset >= 18 => {
            let operator = m.pick(&["BitwiseAnd", "BitwiseOr", "BitwiseXor"]);
            m.one(operator, &[&x.name, &y.name], vec![])
        }
        _ => return None,
    };
    Some(())
}

/// Adds a `ReverseSequence` with lengths.
fn lengths(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let time = m.below(2);
    let steps = x.dims[time];
    let batch = x.dims[1 - time];
    let of_batch = x.rows == Some(1 - time);
    let lengths = if of_batch || m.chance(50) {
        let places = m.places(|value| value.dims.len() == 1 && value.dims[0] == batch, steps)?;
        let one = m.integers(&[], &[1]);
        m.one("Add", &[&places.name, &one], vec![])
    } else {
        let values: Vec<i64> = (0..batch).map(|_| 1 + m.below(steps) as i64).collect();
        m.list(&values)
    };
    let attributes = vec![int("time_axis", time as i64), int("batch_axis", 1 - time as i64)];
    m.one("ReverseSequence", &[&x.name, &lengths], attributes);
    Some(())
}

fn fourier(m: &mut Generator) -> Added {
    if m.opset < 17 {
        return None;
    }
    let x = m.floats(3)?;
    (*x.dims.last()? == 1 || *x.dims.last()? == 2).then_some(())?;
    let axis = m.axis(&x)?;
    (axis + 1 < x.dims.len()).then_some(())?;
    if m.opset >= 20 {
        let axis = m.integers(&[], &[axis as i64]);
        m.one("DFT", &[&x.name, "", &axis], vec![]);
    } else {
        m.one("DFT", &[&x.name], vec![int("axis", axis as i64)]);
    }
    Some(())
}
