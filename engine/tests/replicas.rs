//! Tests the number of replicas and threads, and that replicas with shared weights give the same
//! outputs.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{InputTensor, Request};
use skysail_engine::signature::TensorSpec;
use skysail_engine::tensor::DataType;
use skysail_graph::{Attribute, ElementType, GraphBuilder, Tensor, mlp};
use std::path::Path;
use std::sync::Arc;
use support::{CORES, FLOAT, Models, ask_together, batch_of, graphs, tensor};

#[test]
fn a_short_model_has_one_replica_of_one_thread() {
    let models = Models::on_all_cores();
    let model = models.load_new("add", &graphs::add(1.0), "").unwrap();
    assert_eq!((model.model().replicas(), model.model().threads()), (1, 1));
}

#[test]
fn configured_replicas_and_threads_are_used() {
    let models = Models::on_all_cores();
    let long = mlp(&[512, 2048, 2048, 512], 7).unwrap();
    for (name, toml, wanted) in [
        ("count", "replicas.count = 1", (1, CORES)),
        ("many", "replicas.count = 5", (5, 1)),
        ("threads", "replicas.threads = 1", (CORES, 1)),
        ("both", "replicas = { count = 2, threads = 3 }", (2, 3)),
        ("branches", "replicas = { count = 2, threads = 2, inter_op_threads = 2 }", (2, 2)),
    ] {
        let model = models.load_new(name, &long, toml).unwrap();
        assert_eq!((model.model().replicas(), model.model().threads()), wanted, "{name}");
    }
}

/// A convolution into which the runtime folds a normalisation, whose layout it changes, and which it
/// does not pack.
fn convolution() -> skysail_graph::Model {
    let values = |count: u32| (0..count).map(|i| (i % 13) as f32 / 13.0 - 0.4).collect::<Vec<_>>();
    let floats = |shape: &[u64]| {
        let count = u32::try_from(shape.iter().product::<u64>()).unwrap();
        Tensor::new(shape, &values(count)).unwrap()
    };
    let ones = || Tensor::new(&[32], &[1.0_f32; 32]).unwrap();
    let pads = [("pads", Attribute::Ints(vec![1; 4]))];
    let mut graph = GraphBuilder::new("convolution");
    graph
        .input("x", FLOAT, &batch_of(&[16, 8, 8]))
        .initializer("w", floats(&[32, 16, 3, 3]))
        .initializer("scale", floats(&[32]))
        .initializer("bias", floats(&[32]))
        .initializer("mean", floats(&[32]))
        .initializer("variance", ones())
        .node("Conv", &["x", "w"], &["c"], &pads)
        .node("BatchNormalization", &["c", "scale", "bias", "mean", "variance"], &["n"], &[])
        .node("Relu", &["n"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[32, 8, 8]));
    graph.finish().unwrap()
}

/// A product with half-precision weights, which optimisation converts to single precision.
fn halves() -> skysail_graph::Model {
    let halves: Vec<u8> =
        (0..64 * 64_u32).flat_map(|i| (0x3000 + i as u16 % 999).to_le_bytes()).collect();
    let mut graph = GraphBuilder::new("halves");
    graph
        .input("x", FLOAT, &batch_of(&[64]))
        .initializer("h", Tensor::from_bytes(ElementType::Float16, &[64, 64], halves).unwrap())
        .node("Cast", &["h"], &["w"], &[("to", Attribute::Int(1))])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[64]));
    graph.finish().unwrap()
}

/// Outputs of a model for requests that all of its replicas take part in.
fn answers(model: &Arc<Endpoint>) -> Vec<Vec<u8>> {
    let input = |spec: &TensorSpec, seed: usize| -> InputTensor {
        let shape: Vec<usize> = spec.dims.iter().map(|dim| dim.unwrap_or(1)).collect();
        let count = shape.iter().product::<usize>();
        let value = |i: usize| ((i * 7 + seed) % 97) as f32 / 97.0;
        let data = match spec.datatype {
            DataType::Fp32 => (0..count).flat_map(|i| value(i).to_le_bytes()).collect(),
            other => {
                let mut one = vec![0; other.element_bytes().unwrap()];
                one[0] = 1;
                one.repeat(count)
            }
        };
        tensor(&spec.name, spec.datatype, &shape, data)
    };
    let request = |seed| {
        let inputs = model.signature().inputs.iter().map(|spec| input(spec, seed)).collect();
        Request { inputs, ..Request::default() }
    };
    let responses = ask_together(model, (0..12).map(request).collect());
    let outputs = responses.into_iter().flat_map(|response| response.outputs);
    outputs.map(|output| output.data.to_vec()).collect()
}

/// Loads a file with one replica and with three, and compares their outputs. Replicas of one thread
/// share a session, and those with threads of their own the weights.
fn check(models: &Models, name: &str, file: &Path) {
    let load = |count: usize, threads: usize| {
        let name = format!("{name}-{count}-{threads}");
        models.link(&name, file);
        // Without batching, all requests run in the same way on every replica.
        let replicas = format!("replicas = {{ count = {count}, threads = {threads} }}");
        let toml = format!("max_batch_size = 0\n{replicas}");
        models.write(&format!("{name}/model.toml"), toml).load(&name).unwrap()
    };
    for threads in [1, 2] {
        let (one, three) = (load(1, threads), load(3, threads));
        assert_eq!((one.model().replicas(), three.model().replicas()), (1, 3));
        assert_eq!(answers(&three), answers(&one), "{name} on {threads} threads");
    }
}

#[test]
fn replicas_with_shared_weights_give_the_same_outputs() {
    let models = Models::explicit();
    let mlp = mlp(&[64, 128, 8], 7).unwrap();
    for (name, model) in [
        ("mlp", &mlp),
        ("convolution", &convolution()),
        ("halves", &halves()),
        ("embedding", &graphs::embedding()),
        ("nothing to share", &graphs::add(1.0)),
    ] {
        models.add(name, model);
        check(&models, name, &models.path(&format!("{name}/1/model.onnx")));
    }
}

#[test]
fn external_weights_are_shared_too() {
    let models = Models::explicit();
    let mut model = mlp(&[64, 128, 8], 7).unwrap();
    let weight = model.graph().initializer("fc0.weight").unwrap().bytes().unwrap().into_owned();
    for name in ["mlp-1", "mlp-3"] {
        models.write(&format!("{name}/1/weights"), &weight);
    }
    model.move_initializer("fc0.weight", "weights");
    let load = |count: usize| {
        let toml = format!("replicas = {{ count = {count}, threads = 1 }}");
        models.load_new(&format!("mlp-{count}"), &model, &toml).unwrap()
    };
    assert_eq!(answers(&load(3)), answers(&load(1)));
}

#[test]
fn real_models_give_the_same_outputs_from_shared_weights() {
    let models = Models::explicit();
    // A convolution net, a quantized one whose kernels can not share packed weights, and trees.
    for name in ["resnet20-cifar10", "shufflenet-v2-int8", "sklearn-breast-cancer-gbdt"] {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
        let file = Path::new(data).join(name).join("model.onnx");
        match file.is_file() {
            true => check(&models, name, &file),
            false => println!("skipped: there is no {}", file.display()),
        }
    }
}
