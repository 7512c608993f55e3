//! Ragged batches: requests of unlike shapes share a run, joined flat, and each gets its own answer.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::json;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};
use std::sync::Mutex;
use support::Server;
use support::models::{Models, add};

const FLOAT: ElementType = ElementType::Float32;

/// A graph of texts, whose tokens `x` lie one after the other, and of images, whose pixels do.
///
/// Of each text it gives the sum of its tokens times its `scale`, what was counted of it, and the
/// length of the batch's longest. Of all tokens it gives the doubles, and of each image its shape.
fn ragged() -> Model {
    let (int, all, batch) = (ElementType::Int32, Dim::from("all"), Dim::from("batch"));
    let unnamed = || vec![Dim::Unknown];
    let mut graph = GraphBuilder::new("ragged");
    graph
        .input("bounds", int, &unnamed())
        .input("x", FLOAT, std::slice::from_ref(&all))
        .input("counts", FLOAT, &unnamed())
        .input("scale", FLOAT, std::slice::from_ref(&batch))
        .input("longest", FLOAT, &unnamed())
        .input("image", FLOAT, &unnamed())
        .input("sizes", int, &[Dim::Unknown, Dim::from(2)])
        .input("flat_sizes", int, &unnamed())
        .input("ends", int, &unnamed())
        .initializer("zero", Tensor::new(&[1], &[0.0_f32]).unwrap())
        .initializer("two", Tensor::new(&[], &[2.0_f32]).unwrap())
        .initializer("axis", Tensor::new(&[], &[0_i64]).unwrap())
        .initializer("first", Tensor::new(&[1], &[0_i64]).unwrap())
        .initializer("second", Tensor::new(&[1], &[1_i64]).unwrap())
        .initializer("last", Tensor::new(&[1], &[-1_i64]).unwrap())
        .initializer("end", Tensor::new(&[1], &[i64::MAX]).unwrap())
        .initializer("pairs", Tensor::new(&[2], &[-1_i64, 2]).unwrap())
        .node("CumSum", &["x", "axis"], &["upto"], &[])
        .node("Concat", &["zero", "upto"], &["before"], &[("axis", Attribute::Int(0))])
        .node("Gather", &["before", "bounds"], &["at_bounds"], &[])
        .node("Slice", &["at_bounds", "second", "end"], &["at_ends"], &[])
        .node("Slice", &["at_bounds", "first", "last"], &["at_starts"], &[])
        .node("Sub", &["at_ends", "at_starts"], &["sums"], &[])
        .node("Mul", &["sums", "scale"], &["sum"], &[])
        .node("Mul", &["counts", "two"], &["twice_counted"], &[])
        .node("Mul", &["x", "two"], &["doubled"], &[])
        .node("Shape", &["longest"], &["length"], &[])
        .node("Shape", &["counts"], &["texts"], &[])
        .node("Expand", &["length", "texts"], &["lengths"], &[])
        .node("Reshape", &["flat_sizes", "pairs"], &["paired"], &[])
        .node("Sub", &["sizes", "paired"], &["nothing"], &[])
        .node("Add", &["sizes", "nothing"], &["size"], &[])
        .node("Neg", &["image"], &["negative"], &[])
        .node("Neg", &["ends"], &["minus_ends"], &[])
        .output("sum", FLOAT, &[batch])
        .output("twice_counted", FLOAT, &unnamed())
        .output("doubled", FLOAT, &[all])
        .output("lengths", ElementType::Int64, &unnamed())
        .output("size", int, &[Dim::Unknown, Dim::from(2)])
        .output("negative", FLOAT, &unnamed())
        .output("minus_ends", int, &unnamed());
    graph.finish().unwrap()
}

const RAGGED: &str = r#"
    max_batch_size: 8
    input [ { name: "x" data_type: TYPE_FP32 dims: -1 allow_ragged_batch: true },
            { name: "image" data_type: TYPE_FP32 dims: [ -1, -1 ] allow_ragged_batch: true },
            { name: "scale" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } } ]
    output [ { name: "doubled" data_type: TYPE_FP32 dims: -1 },
             { name: "negative" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
    batch_input [
      { kind: BATCH_ELEMENT_COUNT target_name: "counts" data_type: TYPE_FP32 source_input: "x" },
      { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_INT32
        source_input: "x" },
      { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "bounds"
        data_type: TYPE_INT32 source_input: "x" },
      { kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "longest" data_type: TYPE_FP32
        source_input: "x" },
      { kind: BATCH_ITEM_SHAPE target_name: "sizes" data_type: TYPE_INT32 source_input: "image" },
      { kind: BATCH_ITEM_SHAPE_FLATTEN target_name: "flat_sizes" data_type: TYPE_INT32
        source_input: "image" } ]
    batch_output [
      { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "doubled" source_input: "x" },
      { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "negative" source_input: "image" } ]
    instance_group { count: 1 }
    dynamic_batching { preferred_batch_size: 3 max_queue_delay_microseconds: 20000000 }
    model_warmup { name: "w" batch_size: 1 inputs { key: "x" value {
        data_type: TYPE_FP32 dims: 5 random_data: true } } }
"#;

#[test]
fn requests_of_unlike_shapes_share_a_ragged_batch() {
    let models = Models::empty();
    models.add("ragged", &ragged()).write("ragged/config.pbtxt", RAGGED);
    let server = Server::start(models.path());
    let metadata = server.get("/v2/models/ragged").json();
    let inputs: Vec<_> = metadata["inputs"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["x", "scale", "image"]);
    assert_eq!(
        (&inputs[0]["shape"], &inputs[2]["shape"]),
        (&json!([-1, -1]), &json!([-1, -1, -1]))
    );
    assert_eq!(metadata["outputs"][5]["shape"], json!([-1, -1, -1]));
    let config = server.get("/v2/models/ragged/config").json();
    assert_eq!(config["batch_input"][5]["kind"], "BATCH_ITEM_SHAPE_FLATTEN");
    let ends = Mutex::new(Vec::new());
    // A batch of three waits for no other, and one of two for much longer than the test.
    std::thread::scope(|scope| {
        for (length, [height, width]) in [(3, [2, 5]), (4, [1, 1]), (5, [3, 2])] {
            let (server, ends) = (&server, &ends);
            scope.spawn(move || {
                let x: Vec<f64> = (0..length).map(|at| f64::from(at + length)).collect();
                let image: Vec<f64> = (0..height * width).map(f64::from).collect();
                let request = json!({"inputs": [
                    {"name": "x", "datatype": "FP32", "shape": [1, length], "data": x},
                    {"name": "image", "datatype": "FP32", "shape": [1, height, width], "data": image},
                    {"name": "scale", "datatype": "FP32", "shape": [1, 1], "data": [length]},
                ]});
                let answer = server.infer("ragged", request.to_string()).json();
                let output = |index: usize| {
                    let output = &answer["outputs"][index];
                    (output["shape"].clone(), output["data"].clone())
                };
                let sum = x.iter().sum::<f64>() * f64::from(length);
                assert_eq!(output(0), (json!([1]), json!([sum])), "{answer}");
                assert_eq!(output(1), (json!([1]), json!([2.0 * f64::from(length)])));
                let doubled: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
                assert_eq!(output(2), (json!([1, length]), json!(doubled)));
                assert_eq!(output(3), (json!([1]), json!([5])));
                assert_eq!(output(4), (json!([1, 2]), json!([height, width])));
                let negative: Vec<f64> = image.iter().map(|x| -x).collect();
                assert_eq!(output(5), (json!([1, height, width]), json!(negative)));
                let end = -output(6).1[0].as_i64().unwrap();
                ends.lock().unwrap().push((end, i64::from(length)));
            });
        }
    });
    // The requests have any order in the batch, and each ends where the next begins.
    let mut ends = ends.into_inner().unwrap();
    ends.sort_unstable();
    let starts = [0].into_iter().chain(ends.iter().map(|(end, _)| *end));
    assert!(
        ends.iter().zip(starts).all(|((end, length), start)| end - start == *length),
        "{ends:?}"
    );
    assert_eq!(server.metric("nv_inference_exec_count", &["model=\"ragged\""]), 1.0);
    let request = |rows: usize, length: usize| {
        let numbers = |name: &str, shape: &[usize]| {
            let data = vec![1; shape.iter().product()];
            json!({"name": name, "datatype": "FP32", "shape": shape, "data": data})
        };
        let inputs = [
            numbers("x", &[rows, length]),
            numbers("image", &[rows, 1, 2]),
            numbers("scale", &[rows, 1]),
        ];
        json!({"inputs": inputs}).to_string()
    };
    server.infer("ragged", request(1, 0)).expect_error(400, "without elements, and is not run");
    // Three rows are one item.
    let error = "'twice_counted' has shape [1] for a batch of 3 rows";
    server.infer("ragged", request(3, 2)).expect_error(500, error);
}

#[test]
fn a_graph_that_takes_no_ragged_batch_is_refused() {
    let models = Models::empty();
    models.add("rows", &add(1.0)).write(
        "rows/config.pbtxt",
        "max_batch_size: 4 input { name: 'x' dims: 2 allow_ragged_batch: true }",
    );
    models.add("misnamed", &ragged());
    models.write("misnamed/config.pbtxt", RAGGED.replace("\"ends\"", "\"edges\""));
    let server = Server::start_unready(models.path(), &[]);
    let reason = server.wait_for_state("rows", "1", "UNAVAILABLE");
    assert!(reason.contains("allows ragged batches, and is FP32"), "{reason}");
    let reason = server.wait_for_state("misnamed", "1", "UNAVAILABLE");
    assert!(reason.contains("batch_input makes 'edges'"), "{reason}");
}
