//! Tests optional inputs, which have a default in the graph.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::layers::Execution;
use skysail_engine::request::Request;
use skysail_engine::validate::InvalidRequest;
use skysail_graph::{Dim, GraphBuilder, Model as Graph, Tensor};
use std::sync::Arc;
use support::{
    FLOAT, Models, ask, ask_together, assert_close, batch_of, compressed, floats, graphs, request,
    values,
};

/// `y = x * scale + shift`, float32 `[batch, 2]`; the scale is 2 and the shift 0.
fn scaled() -> Graph {
    let mut graph = GraphBuilder::new("scaled");
    graph
        .input("x", FLOAT, &batch_of(&[2]))
        .optional_input("scale", &[Dim::from(1)], Tensor::new(&[1], &[2.0_f32]).unwrap())
        .optional_input("shift", &[Dim::Unknown], Tensor::new(&[1], &[0.0_f32]).unwrap())
        .node("Mul", &["x", "scale"], &["scaled"], &[])
        .node("Add", &["scaled", "shift"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[2]));
    graph.finish().unwrap()
}

fn asked(x: f32, scale: Option<f32>, shift: Option<&[f32]>) -> Request {
    let mut asked = request(floats("x", &[1, 2], &[x, 1.0]));
    // The order differs from the model's.
    asked.inputs.extend(shift.map(|shift| floats("shift", &[shift.len()], shift)));
    asked.inputs.extend(scale.map(|scale| floats("scale", &[1], &[scale])));
    asked
}

/// Checks outputs of many requests, one after the other and all at once.
fn expect_scaled(model: &Arc<Endpoint>) {
    let scale = |i: usize| [None, Some(3.0), Some(i as f32)][i % 3];
    let shift = |i: usize| [&[][..], &[5.0], &[1.0, -1.0], &[]][i % 4];
    let make = |i: usize| {
        let shift = Some(shift(i)).filter(|shift| !shift.is_empty());
        asked(i as f32, scale(i), shift)
    };
    let check = |i: usize, got: &[f32]| {
        let (scale, shift) = (scale(i).unwrap_or(2.0), shift(i));
        let first = shift.first().copied().unwrap_or(0.0);
        let second = shift.get(1).copied().unwrap_or(first);
        assert_eq!(got, [i as f32 * scale + first, scale + second], "{i}");
    };
    for i in 0..16 {
        check(i, &values(&ask(model, make(i)).unwrap(), 0));
    }
    for (i, answer) in ask_together(model, (0..60).map(make).collect()).iter().enumerate() {
        check(i, &values(answer, 0));
    }
}

fn optional_names(model: &Endpoint) -> Vec<&str> {
    model.signature().optional_inputs.iter().map(|spec| &*spec.name).collect()
}

#[test]
fn a_request_can_override_a_default() {
    let models = Models::explicit();
    let model = models.load_new("m", &scaled(), "").unwrap();
    assert_eq!(optional_names(&model), ["scale", "shift"]);
    assert_eq!(model.signature().inputs.len(), 1);
    expect_scaled(&model);
}

#[test]
fn defaults_work_with_packages_replicas_and_caches() {
    let models = Models::on_all_cores();
    expect_scaled(&models.load_package("package", &scaled(), "").unwrap());
    let shared = models.load_new("replicas", &scaled(), "replicas.count = 3").unwrap();
    expect_scaled(&shared);
    let cached = models.load_new("cached", &scaled(), "[cache]\nbytes_max = 2000000").unwrap();
    (0..2).for_each(|_| expect_scaled(&cached));
    let alone = models.load_new("alone", &scaled(), "max_batch_size = 0").unwrap();
    expect_scaled(&alone);
}

#[test]
fn only_requests_without_optional_inputs_share_runs() {
    let models = Models::explicit();
    let toml = "max_batch_size = 8\n[batching]\nmax_delay_us = 200000\npreferred_sizes = [8]";
    let model = models.load_new("m", &scaled(), toml).unwrap();
    let before = model.statistics().runs();
    ask_together(&model, (0..8).map(|i| asked(i as f32, None, None)).collect());
    assert_eq!(model.statistics().runs() - before, 1);
    let before = model.statistics().runs();
    ask_together(&model, (0..8).map(|i| asked(i as f32, Some(3.0), None)).collect());
    assert_eq!(model.statistics().runs() - before, 8);
}

#[test]
fn optional_inputs_are_validated() {
    let models = Models::explicit();
    let model = models.load_new("m", &scaled(), "").unwrap();
    let refused = |more: &[(&str, &[usize])]| {
        let mut asked = asked(1.0, None, None);
        for (name, shape) in more {
            let count = shape.iter().product();
            asked.inputs.push(floats(name, shape, &vec![1.0; count]));
        }
        match ask(&model, asked) {
            Err(Error::Invalid(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(refused(&[("scale", &[2])]), InvalidRequest::WrongShape { .. }));
    let twice = refused(&[("scale", &[1]), ("shift", &[1]), ("scale", &[1])]);
    assert_eq!(twice, InvalidRequest::DuplicateInput("scale".into()));
    let unknown = refused(&[("bias", &[1])]).to_string();
    assert!(unknown.contains("its inputs are 'x', 'scale', 'shift'"), "{unknown}");
}

/// A network of this IR version whose weights are all listed as inputs.
fn weights_as_inputs(ir_version: u8) -> Vec<u8> {
    let mut graph = GraphBuilder::new("dense");
    graph
        .input("x", FLOAT, &batch_of(&[2]))
        .optional_input("w", &[2.into(), 2.into()], Tensor::new(&[2, 2], &[1.0_f32; 4]).unwrap())
        .optional_input("b", &[Dim::from(2)], Tensor::new(&[2], &[1.0_f32; 2]).unwrap())
        .node("Gemm", &["x", "w", "b"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[2]));
    let mut bytes = graph.finish().unwrap().to_bytes().unwrap();
    assert_eq!(bytes[0], 8, "the version of the format comes first");
    bytes[1] = ir_version;
    bytes
}

#[test]
fn weights_listed_as_inputs_are_not_optional_inputs() {
    let models = Models::explicit();
    for ir_version in [3, 8] {
        models.write("m/1/model.onnx", weights_as_inputs(ir_version));
        let model = models.load("m").unwrap();
        assert_eq!(optional_names(&model), [""; 0], "{ir_version}");
        let answer = ask(&model, request(floats("x", &[1, 2], &[1.0, 2.0]))).unwrap();
        assert_eq!(values(&answer, 0), [4.0, 4.0]);
        let mut more = request(floats("x", &[1, 2], &[1.0, 2.0]));
        more.inputs.push(floats("b", &[2], &[0.0; 2]));
        assert!(matches!(ask(&model, more), Err(Error::Invalid(_))));
    }
}

/// A configuration of Triton's with an optional input.
fn says_optional(name: &str, dims: &str) -> String {
    format!(
        r#"{{"max_batch_size": 0, "input": [{{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2]}},
        {{"name": "{name}", "data_type": "TYPE_FP32", "dims": {dims}, "optional": true}}]}}"#
    )
}

#[test]
fn a_declared_optional_input_needs_a_default_in_the_graph() {
    let models = Models::explicit();
    models.add("m", &scaled());
    expect_scaled(&models.load_with("m", Some(&says_optional("scale", "[1]"))).unwrap());
    let error = models.load_with("m", Some(&says_optional("scale", "[3]"))).err().unwrap();
    assert!(error.contains("input 'scale' has dims [1] in the graph, not [3]"), "{error}");
    // A weight that the configuration declares is an optional input.
    models.write("w/1/model.onnx", weights_as_inputs(8));
    let model = models.load_with("w", Some(&says_optional("b", "[2]"))).unwrap();
    assert_eq!(optional_names(&model), ["b"]);
    let mut asked = request(floats("x", &[1, 2], &[1.0, 2.0]));
    asked.inputs.push(floats("b", &[2], &[0.0; 2]));
    assert_eq!(values(&ask(&model, asked).unwrap(), 0), [3.0, 3.0]);
}

#[test]
fn an_optional_input_without_a_default_is_rejected() {
    let models = Models::explicit();
    models.add("m", &graphs::add(1.0));
    let optional = r#"{"input": [{"name": "x", "dims": [-1, 2], "optional": true}]}"#;
    let error = models.load_with("m", Some(optional)).err().unwrap();
    assert!(error.contains("the graph has no default for it"), "{error}");
}

#[test]
fn a_sparse_layer_does_not_absorb_an_optional_input() {
    let weights = compressed::numbers(48 * 64, 5);
    let mut graph = GraphBuilder::new("sparse");
    graph
        .input("x", FLOAT, &batch_of(&[48]))
        .initializer("w", Tensor::new(&[48, 64], &weights).unwrap())
        .optional_input("shift", &[Dim::from(64)], Tensor::new(&[64], &[1.0_f32; 64]).unwrap())
        .node("MatMul", &["x", "w"], &["product"], &[])
        .node("Add", &["product", "shift"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[64]));
    let graph = compressed::pruned(&graph.finish().unwrap(), 0.1);
    let models = Models::explicit();
    let model = models.load_package("m", &graph, "compressed.execution = 'sparse'").unwrap();
    assert_eq!(model.model().layers().unwrap().count(Execution::Sparse), 1);
    assert_eq!(optional_names(&model), ["shift"]);
    let asked = || request(floats("x", &[1, 48], &compressed::numbers(48, 9)));
    let by_default = values(&ask(&model, asked()).unwrap(), 0);
    let mut given = asked();
    given.inputs.push(floats("shift", &[64], &[3.0; 64]));
    let wanted: Vec<f32> = by_default.iter().map(|y| y + 2.0).collect();
    assert_close(&values(&ask(&model, given).unwrap(), 0), &wanted, 1e-5);
}
