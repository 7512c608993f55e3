//! Gradients and values of every operator.

use crate::differences::{batch, check, graph, one};
use crate::numbers::Numbers;
use crate::runtime::run;
use skysail_graph::{Attribute, Model, Tensor};
use skysail_trainer::{Learner, Network};

fn random(shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>() as usize;
    Tensor::new(shape, &Numbers(29).floats(count)).unwrap()
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::new(&[values.len() as u64], values).unwrap()
}

fn scalar(value: f32) -> Tensor {
    Tensor::new(&[], &[value]).unwrap()
}

fn list(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// Checks gradients and values.
fn check_both(model: &Model, row: &[u64]) {
    check(model, row);
    check_value(model, row);
}

fn check_value(model: &Model, row: &[u64]) {
    let mut network = Network::new(model).unwrap();
    let input = batch(&mut network, row).input;
    let found = network.predict(&network.parameters(), &input).unwrap();
    let wanted = run(model, &input);
    let largest = wanted.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((found - wanted).abs() <= 1e-5 * largest, "{found} is not {wanted}");
    }
}

#[test]
fn unary_functions() {
    let plain = [
        "Abs",
        "Cos",
        "Elu",
        "Erf",
        "Exp",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Neg",
        "Relu",
        "Sigmoid",
        "Sin",
        "Softplus",
        "Tanh",
        "Identity",
    ];
    for operator in plain {
        println!("{operator}");
        check_both(&one(operator, &[7], &[], &[]), &[7]);
    }
    // Functions of positive numbers.
    for operator in ["Log", "Reciprocal", "Sqrt"] {
        println!("{operator}");
        let model = graph(&[7], |builder| {
            builder.initializer("base", scalar(3.0));
            builder.node("Add", &["a", "base"], &["above"], &[]);
            builder.node(operator, &["above"], &["y"], &[]);
        });
        check_both(&model, &[7]);
    }
    let alpha = [("alpha", Attribute::Float(0.3))];
    check_both(&one("LeakyRelu", &[5], &[], &alpha), &[5]);
    let bounds = [("low", scalar(-0.4)), ("high", scalar(0.55))];
    check_both(&one("Clip", &[9], &bounds, &[]), &[9]);
}

#[test]
fn gelu_as_a_single_node() {
    // It needs version 20 of the operators, which the builder does not write; only its slope is
    // checked.
    for kind in ["none", "tanh"] {
        let attributes = [("approximate", Attribute::Text(kind.to_owned()))];
        check(&one("Gelu", &[7], &[], &attributes), &[7]);
    }
}

#[test]
fn binary_functions() {
    for operator in ["Add", "Sub", "Mul", "Div", "Max", "Min"] {
        println!("{operator}");
        let model = graph(&[2, 3], |builder| {
            builder.initializer("factor", random(&[2, 1]));
            builder.initializer("base", scalar(2.5));
            builder.node("Mul", &["a", "factor"], &["scaled"], &[]);
            let other = if operator == "Div" { "above" } else { "scaled" };
            builder.node("Add", &["scaled", "base"], &["above"], &[]);
            builder.node(operator, &["a", other], &["y"], &[]);
        });
        check_both(&model, &[2, 3]);
    }
    check_both(&one("PRelu", &[2, 3], &[("slope", random(&[2, 1]))], &[]), &[2, 3]);
    check_both(&one("Pow", &[5], &[("exponent", scalar(2.0))], &[]), &[5]);
    check_both(&one("Pow", &[5], &[("exponent", scalar(3.0))], &[]), &[5]);
    check_both(&one("Sum", &[5], &[("b", random(&[5])), ("c", random(&[1]))], &[]), &[5]);
}

#[test]
fn products_of_matrices() {
    let transposed =
        |a: i64, b: i64| [("transA", Attribute::Int(a)), ("transB", Attribute::Int(b))];
    let bias = ("bias", random(&[5]));
    check_both(
        &one("Gemm", &[4], &[("w", random(&[4, 5])), bias.clone()], &transposed(0, 0)),
        &[4],
    );
    check_both(&one("Gemm", &[4], &[("w", random(&[5, 4])), bias], &transposed(0, 1)), &[4]);
    let scaled = [("alpha", Attribute::Float(0.5)), ("beta", Attribute::Float(-2.0))];
    let column = ("bias", random(&[3, 1]));
    check_both(&one("Gemm", &[4], &[("w", random(&[4, 5])), column], &scaled), &[4]);
    check_both(&one("Gemm", &[4], &[("w", random(&[3, 5]))], &transposed(1, 0)), &[4]);
    check_both(&one("MatMul", &[4], &[("w", random(&[4, 2]))], &[]), &[4]);
    check_both(&one("MatMul", &[2, 4], &[("w", random(&[4, 3]))], &[]), &[2, 4]);
    check_both(&one("MatMul", &[2, 4], &[("w", random(&[3, 4, 2]))], &[]), &[2, 4]);
    check_both(&one("MatMul", &[2, 4], &[("w", random(&[4]))], &[]), &[2, 4]);
    let squares = graph(&[2, 3], |builder| {
        builder.node("Transpose", &["a"], &["t"], &[("perm", list(&[0, 2, 1]))]);
        builder.node("MatMul", &["a", "t"], &["y"], &[]);
    });
    check_both(&squares, &[2, 3]);
}

#[test]
fn convolutions() {
    let conv = |row: &[u64], weight: &[u64], outputs: u64, attributes: &[(&str, Attribute)]| {
        let others = [("w", random(weight)), ("b", random(&[outputs]))];
        check_both(&one("Conv", row, &others, attributes), row);
    };
    conv(&[2, 5, 6], &[3, 2, 3, 3], 3, &[]);
    conv(
        &[2, 5, 6],
        &[3, 2, 3, 2],
        3,
        &[("pads", list(&[1, 0, 2, 1])), ("strides", list(&[2, 1]))],
    );
    conv(&[1, 6, 7], &[2, 1, 2, 2], 2, &[("dilations", list(&[2, 3]))]);
    conv(&[4, 4, 4], &[4, 2, 3, 3], 4, &[("group", Attribute::Int(2)), ("pads", list(&[1; 4]))]);
    conv(&[3, 4, 4], &[3, 1, 3, 3], 3, &[("group", Attribute::Int(3)), ("strides", list(&[3, 3]))]);
    conv(&[1, 5, 5], &[2, 1, 4, 4], 2, &[("auto_pad", Attribute::Text("SAME_UPPER".to_owned()))]);
    conv(&[1, 5, 5], &[2, 1, 4, 4], 2, &[("auto_pad", Attribute::Text("SAME_LOWER".to_owned()))]);
    conv(&[2, 4, 3], &[3, 2, 1, 1], 3, &[]);
    let sound = [("pads", list(&[1, 2])), ("strides", list(&[2]))];
    conv(&[2, 9], &[3, 2, 3], 3, &sound);
    check_both(&one("Conv", &[2, 4, 4], &[("w", random(&[3, 2, 2, 2]))], &[]), &[2, 4, 4]);
}

#[test]
fn pools() {
    let size = |size: i64| ("kernel_shape", list(&[size, size]));
    let by = |stride: i64| ("strides", list(&[stride, stride]));
    let row = [2, 5, 5];
    for operator in ["MaxPool", "AveragePool"] {
        println!("{operator}");
        check_both(&one(operator, &row, &[], &[size(2), by(2)]), &row);
        check_both(&one(operator, &row, &[], &[size(3), by(2), ("pads", list(&[1; 4]))]), &row);
        let up = ("ceil_mode", Attribute::Int(1));
        check_both(&one(operator, &row, &[], &[size(2), by(2), up]), &row);
        check_both(&one(operator, &[1, 7], &[], &[("kernel_shape", list(&[3]))]), &[1, 7]);
    }
    let padded = ("count_include_pad", Attribute::Int(1));
    let attributes = [size(3), by(2), ("pads", list(&[1, 0, 1, 2])), padded];
    check_both(&one("AveragePool", &row, &[], &attributes), &row);
    check_both(&one("GlobalAveragePool", &row, &[], &[]), &row);
    check_both(&one("GlobalMaxPool", &row, &[], &[]), &row);
}

#[test]
fn normalizations() {
    let row = [3, 2, 2];
    let above: Vec<f32> = Numbers(31).floats(3).iter().map(|value| value + 2.0).collect();
    let others = [
        ("scale", random(&[3])),
        ("bias", random(&[3])),
        ("mean", random(&[3])),
        ("variance", Tensor::new(&[3], &above).unwrap()),
    ];
    check_both(&one("BatchNormalization", &row, &others, &[]), &row);
    check_both(&one("BatchNormalization", &[3], &others, &[]), &[3]);
    let others = [("scale", random(&[4])), ("bias", random(&[4]))];
    check_both(&one("LayerNormalization", &[2, 4], &others, &[]), &[2, 4]);
    check_both(&one("LayerNormalization", &[2, 4], &others[..1], &[]), &[2, 4]);
    let others = [("scale", random(&[2, 4])), ("bias", random(&[2, 4]))];
    let axis = [("axis", Attribute::Int(1))];
    check_both(&one("LayerNormalization", &[2, 4], &others, &axis), &[2, 4]);
}

#[test]
fn softmaxes() {
    for operator in ["Softmax", "LogSoftmax"] {
        for axis in [-1, 1, 2] {
            // A product follows, so that the softmax is not merged with the loss.
            let model = graph(&[3, 4], |builder| {
                builder.node(operator, &["a"], &["s"], &[("axis", Attribute::Int(axis))]);
                builder.initializer("factor", random(&[3, 4]));
                builder.node("Mul", &["s", "factor"], &["y"], &[]);
            });
            check_both(&model, &[3, 4]);
        }
    }
}

#[test]
fn reductions() {
    let axes = [("axes", list(&[1, -1]))];
    for operator in ["ReduceMean", "ReduceMax", "ReduceMin"] {
        println!("{operator}");
        check_both(&one(operator, &[2, 3, 2], &[], &axes), &[2, 3, 2]);
        let removed = [("axes", list(&[2])), ("keepdims", Attribute::Int(0))];
        check_both(&one(operator, &[2, 3], &[], &removed), &[2, 3]);
    }
    check_both(&one("ReduceSum", &[2, 3], &[("axes", ints(&[1]))], &[]), &[2, 3]);
}

#[test]
fn shapes() {
    let row = [2, 3, 4];
    check_both(&one("Reshape", &row, &[("shape", ints(&[0, -1, 6]))], &[]), &row);
    check_both(&one("Flatten", &row, &[], &[("axis", Attribute::Int(2))]), &row);
    check_both(&one("Transpose", &row, &[], &[("perm", list(&[0, 3, 1, 2]))]), &row);
    check_both(&one("Unsqueeze", &row, &[("axes", ints(&[1, -1]))], &[]), &row);
    check_both(&one("Squeeze", &[1, 3, 1], &[("axes", ints(&[1, 3]))], &[]), &[1, 3, 1]);
    check_both(&one("Expand", &[1, 3], &[("shape", ints(&[1, 4, 1]))], &[]), &[1, 3]);
    check_both(
        &one("Gather", &row, &[("indices", ints(&[2, 0, -1, 2]))], &[("axis", Attribute::Int(2))]),
        &row,
    );
    let parts = [
        ("starts", ints(&[1, -3])),
        ("ends", ints(&[3, 1000])),
        ("axes", ints(&[2, 3])),
        ("steps", ints(&[1, 2])),
    ];
    check_both(&one("Slice", &row, &parts, &[]), &row);
    let pads = [("pads", ints(&[0, 1, 0, 2, 0, 0, 3, 1])), ("value", scalar(0.7))];
    check_both(&one("Pad", &row, &pads, &[]), &row);
    let joined = graph(&row, |builder| {
        builder.initializer("sizes", ints(&[1, 2]));
        builder.node("Split", &["a", "sizes"], &["b", "c"], &[("axis", Attribute::Int(2))]);
        builder.node("Exp", &["b"], &["d"], &[]);
        builder.node("Concat", &["c", "d", "c"], &["y"], &[("axis", Attribute::Int(2))]);
    });
    check_both(&joined, &row);
}

#[test]
fn computed_shapes() {
    let model = graph(&[2, 3], |builder| {
        let one = |value: i64| Tensor::new(&[], &[value]).unwrap();
        builder.initializer("zero", one(0)).initializer("last", ints(&[-1]));
        builder.node("Shape", &["a"], &["shape"], &[]);
        builder.node("Gather", &["shape", "zero"], &["rows"], &[]);
        builder.initializer("front", ints(&[0]));
        builder.node("Unsqueeze", &["rows", "front"], &["rows.list"], &[]);
        builder.node("Concat", &["rows.list", "last"], &["wanted"], &[("axis", Attribute::Int(0))]);
        builder.node("Reshape", &["a", "wanted"], &["flat"], &[]);
        builder.node("Cast", &["rows"], &["count"], &[("to", Attribute::Int(1))]);
        builder.node("Mul", &["flat", "count"], &["y"], &[]);
    });
    check_both(&model, &[2, 3]);
}

#[test]
fn conditions() {
    let model = graph(&[6], |builder| {
        builder.initializer("border", scalar(0.1));
        builder.node("Greater", &["x", "border"], &["is"], &[]);
        builder.node("Not", &["is"], &["is.not"], &[]);
        builder.node("Less", &["x", "border"], &["is.less"], &[]);
        builder.node("And", &["is.not", "is.less"], &["both"], &[]);
        builder.node("Exp", &["a"], &["e"], &[]);
        builder.node("Where", &["both", "e", "a"], &["y"], &[]);
    });
    check_both(&model, &[6]);
}

#[test]
fn constants() {
    let model = graph(&[4], |builder| {
        builder.initializer("from", Tensor::new(&[], &[0_i64]).unwrap());
        builder.initializer("to", Tensor::new(&[], &[8_i64]).unwrap());
        builder.initializer("by", Tensor::new(&[], &[2_i64]).unwrap());
        builder.node("Range", &["from", "to", "by"], &["even"], &[]);
        builder.node("Cast", &["even"], &["factors"], &[("to", Attribute::Int(1))]);
        builder.initializer("four", ints(&[4]));
        let value = Tensor::new(&[1], &[1.5_f32]).unwrap();
        let value = [("value", Attribute::Tensor(value))];
        builder.node("ConstantOfShape", &["four"], &["base"], &value);
        let more = [("value_float", Attribute::Float(0.25))];
        builder.node("Constant", &[], &["more"], &more);
        builder.node("Mul", &["a", "factors"], &["b"], &[]);
        builder.node("Add", &["b", "base"], &["c"], &[]);
        builder.node("Sub", &["c", "more"], &["y"], &[]);
    });
    check_both(&model, &[4]);
}
