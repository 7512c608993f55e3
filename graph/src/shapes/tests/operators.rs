//! Tests of shape inference, operator by operator.

use super::*;

#[test]
fn elementwise_operators_broadcast() {
    let add = |inputs: &[&str]| one("Add", inputs, &[], &[]);
    assert_eq!(add(&["a: batch 3", "b: 3"]), "float32 tensor [batch, 3]");
    assert_eq!(add(&["a: 4 1", "b: 3"]), "float32 tensor [4, 3]");
    assert_eq!(add(&["a: n 1", "b: n m"]), "float32 tensor [n, m]");
    assert_eq!(add(&["a: n", "b: m"]), "float32 tensor [?]");
    assert_eq!(add(&["a: ?", "b: 5"]), "float32 tensor [5]");
    assert_eq!(add(&["a: ?", "b: 1"]), "float32 tensor [?]");
    assert_eq!(add(&["a: 0", "b: 1"]), "float32 tensor [0]");
    assert_eq!(add(&["a:", "b:"]), "float32 tensor");
    assert_eq!(one("Less", &["a: n 3", "b: 1"], &[], &[]), "bool tensor [n, 3]");
    assert_eq!(one("Max", &["a: 2 1", "b: 3", "c: 1"], &[], &[]), "float32 tensor [2, 3]");
    assert_eq!(one("Softmax", &["a: n 3"], &[], &[]), "float32 tensor [n, 3]");
    let to = [("to", Attribute::Int(10))];
    assert_eq!(one("Cast", &["a: n 3"], &[], &to), "float16 tensor [n, 3]");
    let old = [("broadcast", Attribute::Int(1)), ("axis", Attribute::Int(0))];
    assert_eq!(one("Add", &["a: 2 3", "b: 2"], &[], &old), "float32 tensor [2, 3]");
}

#[test]
fn windows_slide() {
    let conv = |input: &str, attributes: &[(&str, Attribute)]| {
        one("Conv", &[input, "w: 8 3 3 3"], &[], attributes)
    };
    let pads = ("pads", ints(&[1, 1, 1, 1]));
    assert_eq!(conv("x: n 3 8 9", &[]), "float32 tensor [n, 8, 6, 7]");
    assert_eq!(conv("x: n 3 h 9", std::slice::from_ref(&pads)), "float32 tensor [n, 8, h, 9]");
    let strides = ("strides", ints(&[2, 3]));
    assert_eq!(conv("x: 1 3 8 h", &[pads, strides.clone()]), "float32 tensor [1, 8, 4, ?]");
    let same = ("auto_pad", Attribute::Text("SAME_UPPER".into()));
    assert_eq!(conv("x: 1 3 8 8", &[same, strides]), "float32 tensor [1, 8, 4, 3]");
    let dilations = ("dilations", ints(&[2, 1]));
    assert_eq!(conv("x: 1 3 8 8", &[dilations]), "float32 tensor [1, 8, 4, 6]");
    assert_eq!(conv("x: 1 3 2 8", &[]), "float32 tensor [1, 8, ?, 6]");
    let zero = ("strides", ints(&[0, -1]));
    assert_eq!(conv("x: 1 3 8 8", &[zero]), "float32 tensor [1, 8, ?, ?]");

    let window = [("kernel_shape", ints(&[3])), ("strides", ints(&[2]))];
    assert_eq!(one("MaxPool", &["x: 1 2 8"], &[], &window), "float32 tensor [1, 2, 3]");
    let ceil = [window.as_slice(), &[("ceil_mode", Attribute::Int(1))]].concat();
    assert_eq!(one("MaxPool", &["x: 1 2 8"], &[], &ceil), "float32 tensor [1, 2, 4]");
    // The last window would start behind the end.
    let apart = [("kernel_shape", ints(&[1])), ("strides", ints(&[3])), ceil[2].clone()];
    assert_eq!(one("MaxPool", &["x: 1 2 5"], &[], &apart), "float32 tensor [1, 2, 2]");
    assert_eq!(one("GlobalAveragePool", &["x: n 2 8 h"], &[], &[]), "float32 tensor [n, 2, 1, 1]");

    let spread = [("strides", ints(&[2, 2])), ("group", Attribute::Int(2))];
    let inputs = ["x: n 8 4 4", "w: 8 3 3 3"];
    assert_eq!(one("ConvTranspose", &inputs, &[], &spread), "float32 tensor [n, 6, 9, 9]");
    let message = [("output_shape", ints(&[8, 7]))];
    assert_eq!(one("ConvTranspose", &inputs, &[], &message), "float32 tensor [n, 3, 8, 7]");
}

#[test]
fn matrices_are_multiplied() {
    let matmul = |a: &str, b: &str| one("MatMul", &[a, b], &[], &[]);
    assert_eq!(matmul("a: n 3", "b: 3 4"), "float32 tensor [n, 4]");
    assert_eq!(matmul("a: n 1 s 3", "b: h 3 s"), "float32 tensor [n, h, s, s]");
    assert_eq!(matmul("a: 3", "b: n 3 4"), "float32 tensor [n, 4]");
    assert_eq!(matmul("a: n 2 3", "b: 3"), "float32 tensor [n, 2]");
    assert_eq!(matmul("a: 3", "b: 3"), "float32 tensor");
    assert_eq!(matmul("a:", "b: 3"), "float32 tensor");
    let turned = [("transA", Attribute::Int(1)), ("transB", Attribute::Int(1))];
    assert_eq!(one("Gemm", &["a: 3 n", "b: 4 3"], &[], &turned), "float32 tensor [n, 4]");
    assert_eq!(one("MatMulInteger", &["a: n 3", "b: 3 4"], &[], &[]), "int32 tensor [n, 4]");
    let mut builder = graph(&["x: n s 64"]);
    let bits = NewNode::new("MatMulNBits", &["x"], &["y"]).domain("com.microsoft");
    builder.import("com.microsoft", 1).add(bits.attribute("N", Attribute::Int(32)));
    assert_eq!(described(&builder, "y"), "float32 tensor [n, s, 32]");
}

#[test]
fn shapes_are_changed() {
    let reshape = |input: &str, shape: &[i64]| one("Reshape", &[input], &[("s", shape)], &[]);
    assert_eq!(reshape("x: 2 3 4", &[4, -1]), "float32 tensor [4, 6]");
    assert_eq!(reshape("x: n 3 4", &[0, -1]), "float32 tensor [n, 12]");
    assert_eq!(reshape("x: n 3 4", &[-1, 12]), "float32 tensor [n, 12]");
    assert_eq!(reshape("x: n 3 4", &[-1, 6]), "float32 tensor [?, 6]");
    assert_eq!(reshape("x: n ? 4", &[0, 0, 2, -1]), "float32 tensor [n, ?, 2, 2]");
    assert_eq!(reshape("x: 2 3", &[5, -1]), "float32 tensor [5, ?]");
    assert_eq!(reshape("x: 0 3", &[0, -1]), "float32 tensor [0, 3]");
    assert_eq!(
        reshape("x: 2", &[i64::MAX, i64::MAX, -1]),
        format!("float32 tensor [{0}, {0}, ?]", i64::MAX)
    );
    assert_eq!(one("Flatten", &["x: n 3 4"], &[], &[]), "float32 tensor [n, 12]");
    assert_eq!(
        one("Flatten", &["x: n 3 4"], &[], &[("axis", Attribute::Int(-1))]),
        "float32 tensor [?, 4]"
    );
    assert_eq!(
        one("Flatten", &["x: 2 3"], &[], &[("axis", Attribute::Int(2))]),
        "float32 tensor [6, 1]"
    );
    assert_eq!(one("Transpose", &["x: n 3 4"], &[], &[]), "float32 tensor [4, 3, n]");
    assert_eq!(
        one("Transpose", &["x: n 3 4"], &[], &[("perm", ints(&[1, 0, 2]))]),
        "float32 tensor [3, n, 4]"
    );
    assert_eq!(one("Squeeze", &["x: 1 n 1"], &[("axes", &[0, -1])], &[]), "float32 tensor [n]");
    assert_eq!(one("Squeeze", &["x: 1 3 1"], &[], &[]), "float32 tensor [3]");
    assert_eq!(
        one("Unsqueeze", &["x: n 3"], &[("axes", &[-1, 0])], &[]),
        "float32 tensor [1, n, 3, 1]"
    );
    assert_eq!(
        one("Unsqueeze", &["x: n 3"], &[], &[("axes", ints(&[1]))]),
        "float32 tensor [n, 1, 3]"
    );
    assert_eq!(one("Expand", &["x: 3 1"], &[("s", &[2, 1, 6])], &[]), "float32 tensor [2, 3, 6]");
    assert_eq!(one("Tile", &["x: n 3"], &[("s", &[1, 2])], &[]), "float32 tensor [n, 6]");
    let block = [("blocksize", Attribute::Int(2))];
    assert_eq!(one("DepthToSpace", &["x: n 8 2 3"], &[], &block), "float32 tensor [n, 2, 4, 6]");
    assert_eq!(one("SpaceToDepth", &["x: n 2 4 6"], &[], &block), "float32 tensor [n, 8, 2, 3]");
}

#[test]
fn tensors_are_concatenated_and_split() {
    let axis = [("axis", Attribute::Int(-1))];
    assert_eq!(one("Concat", &["a: n 2", "b: ? 3"], &[], &axis), "float32 tensor [n, 5]");
    assert_eq!(one("Concat", &["a: n 2", "b: 4 m"], &[], &axis), "float32 tensor [4, ?]");
    let pads = [("p", [0, 1, 0, 2].as_slice())];
    assert_eq!(one("Pad", &["x: n 3"], &pads, &[]), "float32 tensor [n, 6]");
    assert_eq!(
        one("Pad", &["x: n 3"], &[], &[("pads", ints(&[0, -1, 0, 0]))]),
        "float32 tensor [n, 2]"
    );
    let mut builder = graph(&["x: 7 n"]);
    builder.node("Split", &["x"], &["a", "b", "c"], &[]);
    list(&mut builder, "sizes", &[5, 2]);
    builder.node("Split", &["x", "sizes"], &["d", "e"], &[]);
    builder.node("Split", &["x"], &["f", "", "g"], &[("split", ints(&[1, 2, 4]))]);
    let all = ["a", "b", "c", "d", "e", "f", "g"].map(|value| described(&builder, value));
    let expected = [3, 3, 1, 5, 2, 1, 4].map(|size| format!("float32 tensor [{size}, n]"));
    assert_eq!(all, expected);
    let sizes = [("s", [1, 2, 6].as_slice())];
    let mut builder = graph(&["x: n 2 3"]);
    builder.initializer("scales", Tensor::new(&[3], &[1.0_f32, 2.0, 1.5]).unwrap());
    builder.node("Resize", &["x", "", "scales"], &["y"], &[]);
    assert_eq!(described(&builder, "y"), "float32 tensor [n, 4, 4]");
    list(&mut builder, sizes[0].0, sizes[0].1);
    builder.node("Resize", &["x", "", "", "s"], &["z"], &[]);
    assert_eq!(described(&builder, "z"), "float32 tensor [1, 2, 6]");
}

#[test]
fn slices_and_gathers_have_their_shapes() {
    let slice = |input: &str, lists: &[(&str, &[i64])]| one("Slice", &[input], lists, &[]);
    let places = |start: &'static [i64], end: &'static [i64]| [("start", start), ("end", end)];
    assert_eq!(slice("x: 10 n", &places(&[2], &[-1])), "float32 tensor [7, n]");
    assert_eq!(slice("x: n 4", &places(&[0], &[i64::MAX])), "float32 tensor [n, 4]");
    assert_eq!(slice("x: n 4", &places(&[1], &[i64::MAX])), "float32 tensor [?, 4]");
    assert_eq!(slice("x: 4", &places(&[3], &[1])), "float32 tensor [0]");
    let with = |axis: &'static [i64], step: &'static [i64]| {
        [places(&[-1], &[i64::MIN]).as_slice(), &[("axis", axis), ("step", step)]].concat()
    };
    assert_eq!(slice("x: n 5", &with(&[1], &[-2])), "float32 tensor [n, 3]");
    assert_eq!(slice("x: n 5", &with(&[0], &[-1])), "float32 tensor [n, 5]");
    assert_eq!(slice("x: 5", &with(&[0], &[0])), "float32 tensor [?]");
    assert_eq!(slice("x: 5", &with(&[0], &[i64::MIN])), "float32 tensor [1]");
    let old = [("starts", ints(&[1])), ("ends", ints(&[3])), ("axes", ints(&[1]))];
    assert_eq!(one("Slice", &["x: n 5"], &[], &old), "float32 tensor [n, 2]");

    let axis = [("axis", Attribute::Int(1))];
    assert_eq!(one("Gather", &["x: n 5 6"], &[("i", &[0, 2])], &axis), "float32 tensor [n, 2, 6]");
    assert_eq!(one("TopK", &["x: n 5"], &[("k", &[3])], &[]), "float32 tensor [n, 3]");
    assert_eq!(one("NonZero", &["x: n 5"], &[], &[]), "int64 tensor [2, ?]");
    assert_eq!(one("GatherND", &["x: n 5 6", "i: m 2"], &[], &[]), "float32 tensor [m, 6]");
}

#[test]
fn axes_are_reduced() {
    let keep = |keep| ("keepdims", Attribute::Int(keep));
    assert_eq!(
        one("ReduceMean", &["x: n 3 4"], &[], &[("axes", ints(&[-1]))]),
        "float32 tensor [n, 3, 1]"
    );
    assert_eq!(
        one("ReduceSum", &["x: n 3 4"], &[("axes", &[1])], &[keep(0)]),
        "float32 tensor [n, 4]"
    );
    assert_eq!(one("ReduceMax", &["x: n 3"], &[], &[keep(0)]), "float32 tensor");
    assert_eq!(
        one("ReduceSum", &["x: n 3"], &[], &[("noop_with_empty_axes", Attribute::Int(1))]),
        "float32 tensor [n, 3]"
    );
    assert_eq!(one("ReduceMax", &["x: n 3", "axes: ?"], &[], &[]), "float32 tensor [?, ?]");
    assert_eq!(
        one("ArgMax", &["x: n 3"], &[], &[("axis", Attribute::Int(1)), keep(0)]),
        "int64 tensor [n]"
    );
    let mut builder = graph(&["x: n s 8", "g: 8"]);
    builder.node("LayerNormalization", &["x", "g"], &["y", "mean", "deviation"], &[]);
    assert_eq!(described(&builder, "deviation"), "float32 tensor [n, s, 1]");
}

#[test]
fn quantized_values_have_their_types() {
    let mut builder = graph(&["x: n 3", "s:"]);
    builder
        .initializer("zero", Tensor::new(&[], &[0_i8]).unwrap())
        .node("QuantizeLinear", &["x", "s", "zero"], &["q"], &[])
        .node("QuantizeLinear", &["x", "s"], &["u"], &[])
        .node("DequantizeLinear", &["q", "s", "zero"], &["d"], &[])
        .node("DynamicQuantizeLinear", &["x"], &["a", "b", "c"], &[]);
    let all = ["q", "u", "d", "a", "b", "c"].map(|value| described(&builder, value));
    let expected = [
        "int8 tensor [n, 3]",
        "uint8 tensor [n, 3]",
        "float32 tensor [n, 3]",
        "uint8 tensor [n, 3]",
        "float32 tensor",
        "uint8 tensor",
    ];
    assert_eq!(all, expected);
}

#[test]
fn computed_shapes_are_propagated() {
    // The first dimension, and all others in one, in the form that exporters write.
    let mut builder = graph(&["x: n 3 4 5"]);
    for (name, value) in [("zero", 0_i64), ("one", 1)] {
        builder.initializer(name, Tensor::new(&[], &[value]).unwrap());
    }
    for (name, values) in [("axis", [0_i64].as_slice()), ("rest", &[-1]), ("2", &[2]), ("4", &[4])]
    {
        list(&mut builder, name, values);
    }
    builder
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "zero"], &["batch"], &[])
        .node("Unsqueeze", &["batch", "axis"], &["first"], &[])
        .node("Concat", &["first", "rest"], &["two"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["x", "two"], &["flat"], &[])
        // The sides, doubled.
        .node("Slice", &["shape", "2", "4", "axis"], &["sides"], &[])
        .node("Add", &["sides", "sides"], &["double"], &[])
        .node("Sub", &["double", "one"], &["less"], &[])
        .node("ConstantOfShape", &["less"], &["made"], &[])
        // One if the size is four, else unchanged.
        .node("Equal", &["sides", "4"], &["is four"], &[])
        .node("Where", &["is four", "one", "sides"], &["chosen"], &[])
        .node("Expand", &["made", "two"], &["unknown"], &[])
        .node("Cast", &["chosen"], &["cast"], &[("to", Attribute::Int(6))])
        .node("ConstantOfShape", &["cast"], &["small"], &[])
        .node("Range", &["zero", "batch", "one"], &["positions"], &[])
        .node("Size", &["x"], &["size"], &[]);
    assert_eq!(described(&builder, "flat"), "float32 tensor [n, 60]");
    assert_eq!(described(&builder, "made"), "float32 tensor [7, 9]");
    assert_eq!(described(&builder, "small"), "float32 tensor [1, 5]");
    assert_eq!(described(&builder, "positions"), "int64 tensor [n]");
    assert_eq!(described(&builder, "size"), "int64 tensor");
    assert_eq!(described(&builder, "unknown"), "float32 tensor [7, 9]");
}

#[test]
fn tables_of_numbers_are_propagated() {
    // PyTorch lists pads from the last axis on, each before and behind. ONNX wants all before, then
    // all behind.
    let mut builder = graph(&["x: n 3 8"]);
    for (name, values) in
        [("message", [1_i64, 2, 0, 4].as_slice()), ("zeros", &[0, 0]), ("pairs", &[-1, 2])]
    {
        list(&mut builder, name, values);
    }
    for (name, value) in [("flat", -1_i64), ("start", -1), ("end", i64::MIN), ("axis", 0)] {
        list(&mut builder, name, &[value]);
    }
    builder
        .node("Concat", &["message", "zeros"], &["all"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["all", "pairs"], &["table"], &[])
        .node("Slice", &["table", "start", "end", "axis", "start"], &["reversed"], &[])
        .node("Transpose", &["reversed"], &["turned"], &[])
        .node("Reshape", &["turned", "flat"], &["pads"], &[])
        .node("Pad", &["x", "pads"], &["y"], &[]);
    assert_eq!(described(&builder, "y"), "float32 tensor [n, 7, 11]");
}

#[test]
fn given_inputs_bind_their_symbols() {
    let mut builder = graph(&["x: batch 3", "y: batch 3"]);
    builder.node("Add", &["x", "y"], &["sum"], &[]).node("Mystery", &["sum"], &["out"], &[]);
    builder.output("out", FLOAT, &[Dim::from("batch"), Dim::from("other")]);
    let model = builder.finish().unwrap();
    let shapes = model.graph().shapes_for(&[("x", &[16, 3])]);
    assert_eq!(shapes.dims("sum").unwrap(), [Dim::Fixed(16), Dim::Fixed(3)]);
    // The model declares what no rule infers.
    assert_eq!(shapes.kind("out").to_string(), "float32 tensor [16, other]");
    let shapes = model.graph().shapes();
    assert_eq!(shapes.kind("out").to_string(), "float32 tensor [batch, other]");
}
