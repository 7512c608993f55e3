//! Tests that responses have the shapes and values of the run, even if the graph declares other shapes
//! or the runtime ignores our buffers.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{Request, Response};
use skysail_engine::tensor::DataType;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, NewNode, Tensor};
use std::sync::Arc;
use support::{
    FLOAT, Models, ask, ask_together, batch_of, floats, graphs, request, tensor, values,
};

const INT64: ElementType = ElementType::Int64;

/// A graph with the float32 input `x` `[batch, columns]`.
fn graph(columns: u64) -> GraphBuilder {
    let mut graph = GraphBuilder::new("test");
    graph.input("x", FLOAT, &batch_of(&[columns]));
    graph
}

fn load(models: &Models, graph: GraphBuilder) -> Arc<Endpoint> {
    models.load_new("m", &graph.finish().unwrap(), "").unwrap()
}

/// Rows of 0, 1, 2 and so on from `first`.
fn rows(first: usize, shape: [usize; 2]) -> Request {
    let count = shape[0] * shape[1];
    let numbers: Vec<f32> = (first..first + count).map(|number| number as f32).collect();
    request(floats("x", &shape, &numbers))
}

fn shape(response: &Response, output: usize) -> &[usize] {
    &response.outputs[output].shape
}

/// Sends requests with several numbers of rows, and checks each response with `wanted`.
fn expect(model: &Arc<Endpoint>, columns: usize, wanted: impl Fn(&[f32], &Response)) {
    for (round, rows_asked) in [1, 3, 2, 3, 1].into_iter().enumerate() {
        let asked = rows(round, [rows_asked, columns]);
        let numbers = asked.inputs[0].data.contiguous().into_owned();
        let numbers: Vec<f32> =
            numbers.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect();
        wanted(&numbers, &ask(model, asked).unwrap());
    }
}

#[test]
fn a_wrong_declared_size_does_not_matter() {
    let models = Models::explicit();
    for declared in [[1, 4], [7, 4], [1, 9]] {
        let mut graph = graph(4);
        let dims = declared.map(Dim::Fixed);
        graph.node("Neg", &["x"], &["y"], &[]).output("y", FLOAT, &dims);
        let model = load(&models, graph);
        expect(&model, 4, |x, answer| {
            assert_eq!(shape(answer, 0), [x.len() / 4, 4], "{declared:?}");
            assert_eq!(values(answer, 0), x.iter().map(|x| -x).collect::<Vec<f32>>());
        });
    }
}

#[test]
fn proven_sizes_replace_declared_ones_in_the_signature() {
    let models = Models::explicit();
    let mut graph = graph(4);
    graph.node("Neg", &["x"], &["y"], &[]).output("y", FLOAT, &[Dim::from(1), Dim::from(4)]);
    let model = load(&models, graph);
    assert_eq!(model.signature().outputs[0].wire_dims().collect::<Vec<_>>(), [-1, 4]);
}

#[test]
fn a_wrong_declared_number_of_dimensions_does_not_matter() {
    let models = Models::explicit();
    for declared in [&[][..], &[Dim::from("batch")], &[Dim::from("batch"), Dim::from(2), 2.into()]]
    {
        // The shape is not known before the run.
        let mut graph = graph(4);
        graph
            .node("Shape", &["x"], &["shape"], &[])
            .node("Abs", &["shape"], &["sizes"], &[])
            .node("Reshape", &["x", "sizes"], &["y"], &[])
            .output("y", FLOAT, declared);
        let model = load(&models, graph);
        expect(&model, 4, |x, answer| {
            assert_eq!(shape(answer, 0), [x.len() / 4, 4], "{declared:?}");
            assert_eq!(values(answer, 0), x);
        });
    }
}

/// Two trees with a split at 1.5 each. Each tree scores one target, or one of three classes.
fn trees(classes: bool) -> NewNode {
    let (kind, last) = if classes { ("class", 2) } else { ("target", 1) };
    let operator = if classes { "TreeEnsembleClassifier" } else { "TreeEnsembleRegressor" };
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    let modes = ["BRANCH_LEQ", "LEAF", "LEAF"].repeat(2).into_iter().map(String::from);
    let node = NewNode::new(operator, &["x"], &[])
        .domain("ai.onnx.ml")
        .attribute("nodes_treeids", ints(&[0, 0, 0, 1, 1, 1]))
        .attribute("nodes_nodeids", ints(&[0, 1, 2, 0, 1, 2]))
        .attribute("nodes_featureids", ints(&[0, 0, 0, 1, 0, 0]))
        .attribute("nodes_values", Attribute::Floats(vec![1.5, 0.0, 0.0, 1.5, 0.0, 0.0]))
        .attribute("nodes_modes", Attribute::Texts(modes.collect()))
        .attribute("nodes_truenodeids", ints(&[1, 0, 0, 1, 0, 0]))
        .attribute("nodes_falsenodeids", ints(&[2, 0, 0, 2, 0, 0]))
        .attribute(&format!("{kind}_treeids"), ints(&[0, 0, 1, 1]))
        .attribute(&format!("{kind}_nodeids"), ints(&[1, 2, 1, 2]))
        .attribute(&format!("{kind}_ids"), ints(&[0, 0, last, last]))
        .attribute(&format!("{kind}_weights"), Attribute::Floats(vec![1.0, 2.0, 10.0, 20.0]));
    match classes {
        true => node.attribute("classlabels_int64s", ints(&[5, 6, 7])),
        false => node.attribute("n_targets", Attribute::Int(2)),
    }
}

#[test]
fn a_forest_outputs_all_of_its_targets() {
    let models = Models::explicit();
    let mut graph = graph(2);
    graph.import("ai.onnx.ml", 1).add(trees(false).output(0, "y"));
    graph.output("y", FLOAT, &batch_of(&[1]));
    let model = load(&models, graph);
    let target = |x: f32| if x <= 1.5 { 1.0 } else { 2.0 };
    expect(&model, 2, |x, answer| {
        assert_eq!(shape(answer, 0), [x.len() / 2, 2]);
        let wanted = x.chunks(2).flat_map(|row| [target(row[0]), 10.0 * target(row[1])]);
        assert_eq!(values(answer, 0), wanted.collect::<Vec<f32>>());
    });
}

#[test]
fn a_classifier_outputs_a_label_for_each_row() {
    let models = Models::explicit();
    let mut graph = graph(2);
    graph
        .import("ai.onnx.ml", 1)
        .add(trees(true).output(0, "label").output(1, "scores"))
        .output("label", INT64, &[Dim::from(1)])
        .output("scores", FLOAT, &batch_of(&[2]));
    let model = load(&models, graph);
    expect(&model, 2, |x, answer| {
        assert_eq!(
            (shape(answer, 0), shape(answer, 1)),
            (&[x.len() / 2][..], &[x.len() / 2, 3][..])
        );
        let labels = answer.outputs[0].data.as_chunks().0;
        assert!(labels.iter().all(|&label| i64::from_le_bytes(label) == 7));
    });
}

#[test]
fn tensors_without_a_declared_shape_can_have_any() {
    let models = Models::explicit();
    let mut graph = GraphBuilder::new("test");
    graph
        .input_of_any_rank("x", FLOAT)
        .node("Neg", &["x"], &["y"], &[])
        .output_of_any_rank("y", FLOAT);
    let model = load(&models, graph);
    let signature = model.signature();
    for spec in [&signature.inputs[0], &signature.outputs[0]] {
        assert_eq!(spec.wire_dims().collect::<Vec<_>>(), [-1]);
    }
    for dims in [&[][..], &[4], &[2, 2], &[1, 2, 2], &[0, 3], &[2, 2]] {
        let count = dims.iter().product();
        let asked = request(floats("x", dims, &vec![1.5; count]));
        let answer = ask(&model, asked).unwrap();
        assert_eq!((shape(&answer, 0), values(&answer, 0)), (dims, vec![-1.5; count]));
    }
    // A scalar that is declared as one stays one.
    let scalar = models.load_new("scalar", &graphs::same(FLOAT, &[]), "").unwrap();
    assert!(ask(&scalar, request(floats("x", &[1], &[1.0]))).is_err());
    assert_eq!(shape(&ask(&scalar, request(floats("x", &[], &[1.0]))).unwrap(), 0), [0; 0]);
}

#[test]
fn the_number_of_output_rows_may_depend_on_data() {
    let models = Models::explicit();
    let mut graph = graph(2);
    graph
        .initializer("first", Tensor::new(&[], &[0_i64]).unwrap())
        .initializer("limit", Tensor::new(&[], &[3.0_f32]).unwrap())
        .node("Gather", &["x", "first"], &["score"], &[("axis", Attribute::Int(1))])
        .node("Less", &["score", "limit"], &["is_low"], &[])
        .node("Compress", &["x", "is_low"], &["y"], &[("axis", Attribute::Int(0))])
        .output("y", FLOAT, &batch_of(&[2]));
    let model = models.load_new("m", &graph.finish().unwrap(), "max_batch_size = 0").unwrap();
    expect(&model, 2, |x, answer| {
        let low: Vec<f32> = x.chunks(2).filter(|row| row[0] < 3.0).flatten().copied().collect();
        assert_eq!((shape(answer, 0), values(answer, 0)), (&[low.len() / 2, 2][..], low));
    });
    let none = ask(&model, rows(10, [2, 2])).unwrap();
    assert_eq!((shape(&none, 0), none.outputs[0].data.len()), (&[0, 2][..], 0));
    let together = ask_together(&model, (0..20).map(|first| rows(first, [4, 2])).collect());
    for (first, answer) in together.iter().enumerate() {
        let low = (first..first + 8).step_by(2).filter(|&score| score < 3).count();
        assert_eq!(shape(answer, 0), [low, 2], "{first}");
    }
}

#[test]
fn an_output_that_is_an_input_is_returned() {
    let models = Models::explicit();
    let mut graph = graph(3);
    graph
        .input("id", INT64, &batch_of(&[1]))
        .node("Neg", &["x"], &["y"], &[])
        .output("id", INT64, &batch_of(&[1]))
        .output("y", FLOAT, &batch_of(&[3]))
        .output("x", FLOAT, &batch_of(&[3]));
    let model = load(&models, graph);
    let asked = |first: usize, count: usize| {
        let ids: Vec<u8> = (0..count as i64).flat_map(|id| (id + 7).to_le_bytes()).collect();
        let mut asked = rows(first, [count, 3]);
        asked.inputs.push(tensor("id", DataType::Int64, &[count, 1], ids));
        asked
    };
    let check = |asked: &Request, answer: &Response| {
        let (x, id) = (&asked.inputs[0].data, &asked.inputs[1].data);
        assert_eq!(*id.contiguous(), *answer.outputs[0].data);
        assert_eq!(*x.contiguous(), *answer.outputs[2].data);
        let y: Vec<f32> = values(answer, 2).iter().map(|x| -x).collect();
        assert_eq!(values(answer, 1), y);
    };
    for count in [1, 4, 1, 4] {
        let asked = asked(count, count);
        check(&asked, &ask(&model, asked.clone()).unwrap());
    }
    let many: Vec<_> = (0..30).map(|first| asked(first, 1 + first % 3)).collect();
    for (asked, answer) in many.iter().zip(ask_together(&model, many.clone())) {
        check(asked, &answer);
    }
}

#[test]
fn outputs_that_share_a_value_are_all_returned() {
    let models = Models::explicit();
    let mut graph = graph(3);
    graph
        .initializer("constant", Tensor::new(&[2], &[4.0_f32, 5.0]).unwrap())
        .initializer("axes", Tensor::new(&[1], &[0_i64]).unwrap())
        .node("Identity", &["x"], &["copy"], &[])
        .node("Dropout", &["copy"], &["copy_of_copy"], &[])
        .node("Neg", &["x"], &["y"], &[])
        .node("Identity", &["y"], &["a"], &[])
        .node("Identity", &["a"], &["b"], &[])
        .node("Neg", &["x"], &["again"], &[])
        .node("Identity", &["constant"], &["folded"], &[])
        .node("Unsqueeze", &["y", "axes"], &["taller"], &[]);
    for name in ["x", "copy", "copy_of_copy", "y", "a", "y", "b", "again"] {
        graph.output(name, FLOAT, &batch_of(&[3]));
    }
    graph
        .output("constant", FLOAT, &[Dim::from(2)])
        .output("folded", FLOAT, &[Dim::from(2)])
        .output("taller", FLOAT, &[Dim::from(1), Dim::from("batch"), Dim::from(3)]);
    let model = load(&models, graph);
    expect(&model, 3, |x, answer| {
        let rows = x.len() / 3;
        let negative: Vec<f32> = x.iter().map(|x| -x).collect();
        for place in 0..3 {
            assert_eq!(values(answer, place), x, "{}", answer.outputs[place].name);
        }
        for place in 3..8 {
            assert_eq!(values(answer, place), negative, "{}", answer.outputs[place].name);
            assert_eq!(shape(answer, place), [rows, 3]);
        }
        assert_eq!((values(answer, 8), values(answer, 9)), (vec![4.0, 5.0], vec![4.0, 5.0]));
        assert_eq!((shape(answer, 10), values(answer, 10)), (&[1, rows, 3][..], negative));
    });
}

#[test]
fn folded_constants_are_in_every_response() {
    let models = Models::explicit();
    let mut graph = GraphBuilder::new("test");
    graph
        .input("x", FLOAT, &[Dim::from(2), Dim::from(3)])
        .initializer("one", Tensor::new(&[1], &[1.0_f32]).unwrap())
        .initializer("nothing", Tensor::new(&[1], &[0.0_f32]).unwrap())
        .node("Shape", &["x"], &["shape"], &[])
        .node("Add", &["one", "one"], &["two"], &[])
        .node("Mul", &["x", "one"], &["same"], &[])
        .node("Add", &["same", "nothing"], &["same_again"], &[])
        .output("shape", INT64, &[Dim::from(2)])
        .output("two", FLOAT, &[Dim::from(1)])
        .output("same", FLOAT, &[Dim::from(2), Dim::from(3)])
        .output("same_again", FLOAT, &[Dim::from(2), Dim::from(3)]);
    let model = load(&models, graph);
    for first in 0..3 {
        let answer = ask(&model, rows(first, [2, 3])).unwrap();
        let sizes = [2_i64, 3].map(i64::to_le_bytes).concat();
        assert_eq!((&*answer.outputs[0].data, values(&answer, 1)), (&*sizes, vec![2.0]));
        let wanted: Vec<f32> = (first..first + 6).map(|number| number as f32).collect();
        assert_eq!((values(&answer, 2), values(&answer, 3)), (wanted.clone(), wanted));
    }
}

#[test]
fn strings_pass_through() {
    let models = Models::explicit();
    let mut graph = GraphBuilder::new("test");
    graph
        .input("x", ElementType::String, &[Dim::from("batch")])
        .node("Identity", &["x"], &["y"], &[])
        .output("y", ElementType::String, &[Dim::from(5)])
        .output("x", ElementType::String, &[Dim::from("batch")]);
    let model = load(&models, graph);
    for words in [&["a", "", "ccc"][..], &["zz"], &["a", "", "ccc"]] {
        let mut data = Vec::new();
        for word in words {
            data.extend((word.len() as u32).to_le_bytes());
            data.extend(word.as_bytes());
        }
        let asked = request(tensor("x", DataType::Bytes, &[words.len()], data.clone()));
        let answer = ask(&model, asked).unwrap();
        for output in &answer.outputs {
            assert_eq!((&*output.shape, &*output.data), (&[words.len()][..], &*data));
        }
    }
}
