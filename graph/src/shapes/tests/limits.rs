//! Tests of unknown values and of limits.

use super::*;

#[test]
fn unknown_operators_leave_values_unknown() {
    let mut builder = graph(&["x: n 3"]);
    builder
        .add(NewNode::new("Relu", &["x"], &["custom"]).domain("custom"))
        .node("Mystery", &["x"], &["y"], &[])
        .node("Relu", &["y"], &["z"], &[])
        .node("Reshape", &["y", "x"], &["r"], &[])
        .node("Relu", &[], &["nothing"], &[]);
    for value in ["custom", "y", "z", "nothing", "not there"] {
        let model = builder.clone().finish().unwrap();
        assert_eq!(*model.graph().shapes().kind(value), Kind::Unknown, "{value}");
    }
    let model = builder.finish().unwrap();
    assert_eq!(model.graph().shapes().element("r"), None);
    assert_eq!(model.graph().shapes().iter().count(), 6);
}

#[test]
fn hostile_shapes_take_no_memory() {
    // A hundred thousand dimensions, sizes past 2^64, and a tensor of 2^62 numbers.
    let mut builder = graph(&["x: 2 3"]);
    list(&mut builder, "huge", &[i64::MAX, i64::MAX]);
    list(&mut builder, "many", &[1; 100_000]);
    let int = |value: i64| Attribute::Tensor(Tensor::new(&[1], &[value]).unwrap());
    let empty: Vec<i64> = std::iter::once(0).chain([1 << 40; 15]).collect();
    let perm: Vec<i64> = [1, 0].into_iter().chain(2..16).collect();
    let few: Vec<i64> = std::iter::once(0).chain([256; 15]).collect();
    let lists = [("empty", empty.as_slice()), ("few", &few), ("0", &[0]), ("1", &[1])];
    for (name, values) in lists {
        list(&mut builder, name, values);
    }
    builder
        .node("Expand", &["x", "many"], &["deep"], &[])
        .node("Reshape", &["x", "many"], &["shaped"], &[])
        .node("ConstantOfShape", &["huge"], &["filled"], &[("value", int(1))])
        .node("Flatten", &["filled"], &["flat"], &[("axis", Attribute::Int(0))])
        .node("Concat", &["filled", "filled"], &["joined"], &[("axis", Attribute::Int(0))])
        .node("Tile", &["filled", "huge"], &["tiled"], &[])
        .node("Unsqueeze", &["x", "many"], &["stretched"], &[])
        // No elements, with dimensions whose products are far past 2^64.
        .node("ConstantOfShape", &["empty"], &["nothing"], &[("value", int(0))])
        .node("Transpose", &["nothing"], &["turned"], &[])
        .node("Slice", &["nothing", "0", "1"], &["sliced"], &[])
        .node("ConstantOfShape", &["few"], &["none"], &[("value", int(0))])
        .node("Transpose", &["none"], &["none turned"], &[("perm", ints(&perm))])
        .node("Slice", &["none", "0", "1"], &["none sliced"], &[]);
    let model = builder.finish().unwrap();
    let shapes = model.graph().shapes();
    for value in ["deep", "shaped", "stretched"] {
        assert_eq!(shapes.dims(value), None, "{value}");
    }
    assert_eq!(shapes.dims("flat").unwrap(), [Dim::Fixed(1), Dim::Unknown]);
    assert_eq!(shapes.dims("joined").unwrap()[0], Dim::Fixed(u64::MAX - 1));
    assert_eq!(shapes.dims("tiled").unwrap(), [Dim::Unknown, Dim::Unknown]);
    assert_eq!(shapes.dims("turned").unwrap()[15], Dim::Fixed(0));
    assert_eq!(shapes.dims("none turned").unwrap()[1], Dim::Fixed(0));
    assert_eq!(shapes.dims("none sliced").unwrap()[15], Dim::Fixed(256));
    assert_eq!(shapes.dims("sliced").unwrap()[1], Dim::Fixed(1 << 40));
}

#[test]
fn results_have_a_memory_limit() {
    // Sixteen dimensions with long names in each value: more than a hundred megabytes.
    let name = |axis: usize| format!("{}{axis}", "n".repeat(200));
    let dims: Vec<Dim> = (0..16).map(|axis| Dim::from(name(axis).as_str())).collect();
    let mut builder = GraphBuilder::new("many");
    builder.input("0", FLOAT, &dims);
    for number in 0..30_000 {
        builder.node("Abs", &[&number.to_string()], &[&(number + 1).to_string()], &[]);
    }
    let model = builder.finish().unwrap();
    let shapes = model.graph().shapes();
    assert_eq!(shapes.dims("100").unwrap(), dims);
    assert_eq!(*shapes.kind("30000"), Kind::Unknown);
}

#[test]
fn long_symbols_are_not_propagated() {
    let long = "n".repeat(100_000);
    let mut builder = graph(&[&format!("0: {long} 2")]);
    for number in 0..2_000 {
        builder.node("Abs", &[&number.to_string()], &[&(number + 1).to_string()], &[]);
    }
    let model: Model = builder.finish().unwrap();
    assert_eq!(model.graph().shapes().dims("2000").unwrap(), [Dim::Unknown, Dim::Fixed(2)]);
}
