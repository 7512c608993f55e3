//! Tests the effect of a model's settings, and errors of settings that do not fit its graph.

mod support;

use skysail_engine::Error;
use skysail_engine::validate::InvalidRequest;
use skysail_graph::Dim;
use std::sync::Arc;
use support::{FLOAT, Models, ask, ask_together, batch_of, floats, graphs, request, values};

#[test]
fn a_configured_batch_size_limits_batches_and_requests() {
    let models = Models::explicit();
    let model = models.load_new("add", &graphs::add(1.0), "max_batch_size = 4").unwrap();
    assert_eq!(model.batching().rows_max, 4);
    let one = |i: usize| request(floats("x", &[1, 2], &[i as f32, 0.0]));
    for (i, response) in ask_together(&model, (0..30).map(one).collect()).iter().enumerate() {
        assert_eq!(values(response, 0), [i as f32 + 1.0, 1.0]);
    }
    assert!(model.statistics().batches().keys().all(|&rows| rows <= 4));
    let error = ask(&model, request(floats("x", &[5, 2], &[0.0; 10]))).unwrap_err();
    assert!(matches!(error, Error::Invalid(InvalidRequest::TooManyRows { rows: 5, limit: 4 })));
}

#[test]
fn batching_can_be_switched_off() {
    let models = Models::explicit();
    let model = models.load_new("add", &graphs::add(1.0), "max_batch_size = 0").unwrap();
    let three = || request(floats("x", &[3, 2], &[0.0; 6]));
    for response in ask_together(&model, vec![three(), three()]) {
        assert_eq!(response.outputs[0].shape.as_slice(), [3, 2]);
    }
    assert_eq!(model.statistics().runs(), 2);
}

#[test]
fn a_configured_batch_size_needs_an_open_first_dimension() {
    let models = Models::explicit();
    let fixed = graphs::same(FLOAT, &[Dim::from(4), Dim::from(2)]);
    let error = models.load_new("fixed", &fixed, "max_batch_size = 8").err().unwrap();
    assert!(error.contains("max_batch_size is 8"), "{error}");
    assert!(error.contains("the first dimension of 'x' is not open in the graph ([4,2])"));
    let scalar = graphs::same(FLOAT, &[]);
    let error = models.load_new("scalar", &scalar, "max_batch_size = 1").err().unwrap();
    assert!(error.contains("set it to 0"), "{error}");
    assert!(models.load_new("fine", &fixed, "max_batch_size = 0").is_ok());
}

#[test]
fn declared_tensors_are_checked() {
    let models = Models::explicit();
    let open = graphs::same(FLOAT, &[Dim::from("batch"), Dim::from(3), Dim::Unknown]);
    models.add("m", &open);
    let load = |rows: usize, input: &str, output: &str| {
        let json = format!(
            r#"{{"max_batch_size": {rows}, "input": [{{{input}}}], "output": [{{{output}}}]}}"#
        );
        models.load_with("m", Some(&json)).map(drop)
    };
    let (x, y) = (r#""name": "x""#, r#""name": "y""#);
    let with = |name: &str, dims: &str| format!(r#"{name}, "dims": [{dims}]"#);
    assert_eq!(load(8, x, y), Ok(()));
    assert_eq!(load(8, &with(x, "3, -1"), &with(y, "-1, 7")), Ok(()));
    assert_eq!(load(0, &with(x, "-1, 3, 5"), y), Ok(()));
    let refused = [
        (load(8, &with(x, "4, -1"), y), "input 'x' has dims [3,-1] after the batch dimension"),
        (load(8, &with(x, "-1, 3, -1"), y), "not [-1,3,-1]"),
        (load(0, &with(x, "3, -1"), y), "input 'x' has dims [-1,3,-1] in the graph, not [3,-1]"),
        (load(8, x, &with(y, "3")), "output 'y' has dims"),
        (load(8, r#""name": "z""#, y), "input 'z', and the graph has none"),
        (load(8, x, r#""name": "x""#), "output 'x', and the graph has none"),
        (load(8, &format!(r#"{x}, "data_type": "TYPE_INT8""#), y), "input 'x' is FP32"),
    ];
    for (result, wanted) in refused {
        let error = result.unwrap_err();
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
}

#[test]
fn there_are_as_many_replicas_as_configured() {
    let models = Models::explicit();
    for (name, count, replicas) in [("one", 1, 1), ("three", 3, 3)] {
        let toml = format!("[replicas]\ncount = {count}\nthreads = 1");
        let model = models.load_new(name, &graphs::add(2.0), &toml).unwrap();
        assert_eq!(model.model().replicas(), replicas);
        let asks: Vec<_> = (0..20).map(|_| request(floats("x", &[1, 2], &[0.5; 2]))).collect();
        for response in ask_together(&model, asks) {
            assert_eq!(values(&response, 0), [2.5; 2]);
        }
    }
}

#[test]
fn a_failed_warm_up_fails_the_load_and_is_named() {
    let models = Models::explicit();
    let load = |name: &str, warm_up: &str| {
        let toml = format!("[[warm_up]]\nname = 'first'\n{warm_up}");
        models.load_new(name, &graphs::embedding(), &toml).map(|model| Arc::clone(model.name()))
    };
    assert!(load("fine", "inputs.x = { dims = [3], data = 'random' }").is_ok());
    let error = load("name", "inputs.q = {}").unwrap_err();
    assert!(error.contains("warm-up 'first': the model has no input 'q'"), "{error}");
    let error = load("dims", "inputs.x = { dims = [1, 1] }").unwrap_err();
    assert!(error.contains("warm-up 'first': input 'x' does not take the shape"), "{error}");
    // First a token outside of the table, then fewer bytes than the input needs.
    models.write("token/warmup/tokens", 7_i64.to_le_bytes());
    let error = load("token", "inputs.x = { dims = [1], data.file = 'tokens' }").unwrap_err();
    assert!(error.contains("warm-up 'first': ") && error.contains("indices"), "{error}");
    models.write("short/warmup/tokens", [0; 7]);
    let error = load("short", "inputs.x = { dims = [1], data.file = 'tokens' }").unwrap_err();
    assert!(
        error.contains("warm-up 'first': ") && error.contains("it has 7 bytes: one row needs 8"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_model_fails_the_load() {
    let models = Models::explicit();
    models.write("text/1/model.onnx", "not a model");
    let error = models.load("text").err().unwrap();
    assert!(error.contains("ONNX Runtime can not load it"), "{error}");
    models.write("empty/1/other.onnx", "");
    let error = models.load("empty").err().unwrap();
    assert!(error.contains("no VERSION/model.onnx or model.sky that fits"), "{error}");
    models.write("bad/model.toml", "max_batch = 1");
    let error = models.load("bad").err().unwrap();
    assert!(error.contains("max_batch"), "{error}");
    assert!(models.load("absent").err().unwrap().contains("no folder 'absent'"));
    assert!(models.load("../absent").err().unwrap().contains("no folder"));
    let of_batches = graphs::same(FLOAT, &batch_of(&[1]));
    let error = models.load_new("file", &of_batches, "file = '../x'").err().unwrap();
    assert!(error.contains("'../x'"), "{error}");
}
