//! Tests of the proof on operators and small models.

use super::*;

#[test]
fn a_perceptron_is_independent_with_one_output_row_for_each_row() {
    let mut builder = graph(&["x: n 4"]);
    weight(&mut builder, "w", &[4, 3]);
    weight(&mut builder, "b", &[3]);
    builder.node("Gemm", &["x", "w", "b"], &["h"], &[]).node("Relu", &["h"], &["y"], &[]);
    let model = finish(&mut builder, "y");
    assert_eq!(model.row_independence(), Independence::Independent);
    assert_eq!(model.output_shapes(true)[0].sizes(&[&[7, 4]]), Some(vec![7, 3]));
    assert_eq!(model.output_shapes(false)[0].sizes(&[&[0, 4]]), Some(vec![0, 3]));
}

#[test]
fn reductions_and_softmax_mix_rows_by_axis() {
    let axis = |axis| [("axis", Attribute::Int(axis))];
    let mut over_rows = one("ReduceMax", &[("axes", ints(&[0]))]);
    dependent(&mut over_rows, "y", "reduces over rows");
    dependent(&mut one("ReduceSum", &[]), "y", "ReduceSum 'ReduceSum_0': it reduces");
    let mut within = one("ReduceMax", &[("axes", ints(&[-1])), ("keepdims", Attribute::Int(0))]);
    independent(&mut within, "y");
    independent(&mut one("Softmax", &axis(1)), "y");
    dependent(&mut one("Softmax", &axis(0)), "y", "normalises over rows");
    independent(&mut one("TopK", &[("k", Attribute::Int(2)), axis(-1)[0].clone()]), "y");
    dependent(&mut one("ArgMax", &[]), "y", "compares rows");
    dependent(&mut one("DynamicQuantizeLinear", &[]), "y", "scale");
    dependent(&mut one("NonZero", &[]), "y", "depends on values");
    unknown(&mut one("RandomNormalLike", &[]), "y", "random");
    unknown(&mut one("Unheard", &[]), "y", "no rule");
}

#[test]
fn operators_that_pair_rows_are_dependent() {
    let mut builder = graph(&["x: n 4"]);
    builder.node("Transpose", &["x"], &["t"], &[]).node("MatMul", &["x", "t"], &["y"], &[]);
    dependent(&mut builder, "y", "multiplies rows with each other");
    let mut builder = graph(&["x: n 4", "z: n"]);
    builder.node("Add", &["x", "z"], &["y"], &[]);
    dependent(&mut builder, "y", "pairs rows");
    let mut builder = graph(&["x: n 4", "ids: n"]);
    builder.node("Gather", &["x", "ids"], &["y"], &[]);
    dependent(&mut builder, "y", "indices");
}

#[test]
fn row_numbers_in_features_are_dependent() {
    let mut builder = graph(&["x: n 1"]);
    builder.initializer("zero", Tensor::new(&[], &[0_i64]).unwrap());
    builder.initializer("one", Tensor::new(&[], &[1_i64]).unwrap());
    builder
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "zero"], &["n"], &[("axis", Attribute::Int(0))])
        .node("Range", &["zero", "n", "one"], &["numbers"], &[])
        .node("Cast", &["numbers"], &["floats"], &[("to", Attribute::Int(1))])
        .node("Unsqueeze", &["floats"], &["column"], &[("axes", ints(&[1]))])
        .node("Add", &["x", "column"], &["y"], &[]);
    dependent(&mut builder, "y", "number of rows");
}

#[test]
fn attention_heads_are_independent_through_computed_shapes() {
    let mut builder = graph(&["x: n s 8"]);
    list(&mut builder, "minus", &[-1]);
    list(&mut builder, "heads", &[2, 4]);
    list(&mut builder, "two", &[2]);
    list(&mut builder, "zero", &[0]);
    builder
        .node("Shape", &["x"], &["shape"], &[])
        .node("Slice", &["shape", "zero", "two"], &["outer"], &[])
        .node("Concat", &["outer", "heads"], &["apart"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["x", "apart"], &["h"], &[])
        .node("Transpose", &["h"], &["q"], &[("perm", ints(&[0, 2, 1, 3]))])
        .node("Transpose", &["h"], &["k"], &[("perm", ints(&[0, 2, 3, 1]))])
        .node("MatMul", &["q", "k"], &["scores"], &[])
        .node("Softmax", &["scores"], &["p"], &[("axis", Attribute::Int(3))])
        .node("MatMul", &["p", "q"], &["found"], &[])
        .node("Transpose", &["found"], &["back"], &[("perm", ints(&[0, 2, 1, 3]))])
        .node("Concat", &["outer", "minus"], &["joined"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["back", "joined"], &["y"], &[]);
    let model = finish(&mut builder, "y");
    assert_eq!(model.row_independence(), Independence::Independent);
    assert_eq!(model.output_shapes(true)[0].sizes(&[&[3, 5, 8]]), Some(vec![3, 5, 8]));
}

#[test]
fn rows_in_a_merged_dimension_stay_independent_until_mixed() {
    let merged = |back: &[i64]| {
        let mut builder = graph(&["x: n 6 4"]);
        list(&mut builder, "merged", &[-1, 4]);
        list(&mut builder, "back", back);
        builder
            .node("Reshape", &["x", "merged"], &["m"], &[])
            .node("Relu", &["m"], &["r"], &[])
            .node("Reshape", &["r", "back"], &["y"], &[]);
        builder
    };
    independent(&mut merged(&[-1, 6, 4]), "y");
    dependent(&mut merged(&[6, -1, 4]), "y", "mixes them");
    dependent(&mut merged(&[-1, 3, 4]), "y", "2 entries for each row");
    dependent(&mut merged(&[2, 12]), "y", "fixed number of rows");
}

#[test]
fn a_value_broadcast_over_rows_is_the_same_for_each() {
    let mut builder = graph(&["x: n 4"]);
    weight(&mut builder, "class", &[1, 4]);
    builder
        .node("Shape", &["x"], &["shape"], &[])
        .node("Expand", &["class", "shape"], &["all"], &[])
        .node("Concat", &["all", "x"], &["y"], &[("axis", Attribute::Int(1))]);
    independent(&mut builder, "y");
    // Concatenation along features keeps rows; along the first axis it does not.
    let mut builder = graph(&["x: n 4"]);
    weight(&mut builder, "class", &[1, 4]);
    builder.node("Concat", &["class", "x"], &["y"], &[("axis", Attribute::Int(0))]);
    dependent(&mut builder, "y", "concatenates rows");
    let mut builder = graph(&["x: n 4"]);
    weight(&mut builder, "mean", &[2, 4]);
    builder.node("Sub", &["x", "mean"], &["y"], &[]);
    dependent(&mut builder, "y", "2 fixed values");
}

#[test]
fn rows_along_another_axis_are_recognised() {
    let mut builder = graph(&["x: n s 4"]);
    weight(&mut builder, "w", &[1, 20, 4]);
    weight(&mut builder, "r", &[1, 20, 5]);
    builder
        .node("Transpose", &["x"], &["steps"], &[("perm", ints(&[1, 0, 2]))])
        .node("LSTM", &["steps", "w", "r"], &["all", "last"], &[("hidden_size", Attribute::Int(5))])
        .node("Squeeze", &["last"], &["y"], &[("axes", ints(&[0]))]);
    independent(&mut builder, "y");
    let mut builder = graph(&["x: n s 4"]);
    weight(&mut builder, "w", &[1, 20, 4]);
    weight(&mut builder, "r", &[1, 20, 5]);
    let hidden = [("hidden_size", Attribute::Int(5))];
    builder.node("LSTM", &["x", "w", "r"], &["all", "y"], &hidden);
    dependent(&mut builder, "y", "steps along rows");
}

#[test]
fn a_cause_names_the_input_or_output() {
    let mut builder = graph(&["x: 1 4"]);
    builder.node("Relu", &["x"], &["y"], &[]);
    dependent(&mut builder, "y", "the first dimension of input 'x' is fixed at 1");
    let mut builder = graph(&["x: n 4"]);
    builder.node("Transpose", &["x"], &["y"], &[]);
    dependent(&mut builder, "y", "rows along dimension 1");
    let mut builder = graph(&["x: n 4"]);
    weight(&mut builder, "w", &[1, 4]);
    builder.node("Relu", &["w"], &["y"], &[]);
    dependent(&mut builder, "y", "output 'y' has no rows");
}

#[test]
fn a_vector_is_one_example_to_classical_operators() {
    let scaler = |input: &str| {
        let mut builder = graph(&[input]);
        builder.add(NewNode::new("Scaler", &["x"], &["y"]).domain("ai.onnx.ml"));
        builder
    };
    independent(&mut scaler("x: n 4"), "y");
    dependent(&mut scaler("x: n"), "y", "one example");
}

#[test]
fn declared_shapes_prove_nothing() {
    let mut builder = graph(&["x: n 4"]);
    builder.node("ReduceSum", &["x"], &["y"], &[]);
    builder.output("y", FLOAT, &[Dim::from("n"), Dim::Fixed(4)]);
    let model = builder.finish().unwrap();
    assert!(matches!(model.row_independence(), Independence::Dependent(_)));
    assert_eq!(model.output_shapes(true)[0].sizes(&[&[2, 4]]), Some(vec![1, 1]));
    let mut builder = graph(&["x: n 4"]);
    builder.node("NonZero", &["x"], &["y"], &[]);
    builder.output("y", ElementType::Int64, &[Dim::Fixed(2), Dim::Fixed(8)]);
    assert_eq!(builder.finish().unwrap().output_shapes(true)[0].sizes(&[&[2, 4]]), None);
}

#[test]
fn a_size_of_zero_is_excluded_by_reshape() {
    let mut builder = graph(&["x: n s"]);
    list(&mut builder, "minus", &[-1]);
    list(&mut builder, "second", &[1]);
    builder
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "second"], &["s"], &[("axis", Attribute::Int(0))])
        .node("Concat", &["minus", "s"], &["to"], &[("axis", Attribute::Int(0))])
        .node("Unsqueeze", &["x"], &["one"], &[("axes", ints(&[0]))])
        .node("Reshape", &["one", "to"], &["y"], &[]);
    let model = finish(&mut builder, "y");
    assert_eq!(model.row_independence(), Independence::Independent);
    let shape = &model.output_shapes(true)[0];
    assert_eq!(shape.sizes(&[&[3, 4]]), Some(vec![3, 4]));
    assert_eq!(shape.sizes(&[&[3, 0]]), None);
}
