//! Tests that packages give the same outputs as their models, for every execution of layers.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_compression::{DynamicSettings, quantize_dynamic};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::layers::Execution;
use skysail_graph::{Model as Graph, mlp};
use std::sync::Arc;
use support::compressed::{compressed, convolutions, numbers, products, pruned, sequences};
use support::{Models, ask, ask_together, assert_close, floats, request, values};

const SPARSE: &str = "compressed.execution = 'sparse'";

const INT8: &str = "compressed.int8 = 'always'";

/// A request with rows of synthetic numbers.
fn rows(model: &Endpoint, count: usize, seed: u32) -> skysail_engine::request::Request {
    let input = &model.signature().inputs[0];
    let mut shape = vec![count];
    shape.extend(input.dims.iter().skip(1).map(|dim| dim.unwrap()));
    let x = numbers(shape.iter().product(), seed);
    request(floats(&input.name, &shape, &x))
}

fn answers(model: &Arc<Endpoint>, count: usize) -> Vec<f32> {
    values(&ask(model, rows(model, count, count as u32)).unwrap(), 0)
}

/// Number of layers of a package with this execution.
fn count(model: &Endpoint, execution: Execution) -> usize {
    model.model().layers().unwrap().count(execution)
}

/// Loads a model and its package, which must have this many sparse layers, and compares outputs.
fn check(models: &Models, name: &str, graph: &Graph, sparse: usize) {
    let plain = models.load_new(&format!("{name}-plain"), graph, "").unwrap();
    let package = models.load_package(name, graph, SPARSE).unwrap();
    assert_eq!(
        count(&package, Execution::Sparse),
        sparse,
        "{name}: {:#?}",
        package.model().layers()
    );
    assert_eq!(plain.signature().inputs, package.signature().inputs);
    assert!(plain.model().layers().is_none());
    for rows in [1, 3, 17] {
        assert_close(&answers(&package, rows), &answers(&plain, rows), 1e-5);
    }
}

#[test]
fn sparse_layers_give_the_same_outputs_as_dense_ones() {
    let models = Models::explicit();
    check(&models, "mlp", &compressed(&mlp(&[64, 128, 96, 10], 7).unwrap(), 0.2, 4), 2);
    check(&models, "products", &compressed(&products(), 0.2, 4), 3);
    check(&models, "convolutions", &compressed(&convolutions(), 0.2, 4), 4);
    check(&models, "sequences", &compressed(&sequences(), 0.2, 4), 1);
}

#[test]
fn weights_of_many_values_can_be_sparse_too() {
    let models = Models::explicit();
    check(&models, "products", &pruned(&products(), 0.2), 3);
    check(&models, "convolutions", &compressed(&convolutions(), 0.2, 8), 4);
}

#[test]
fn measurements_are_reported_and_decide() {
    let models = Models::explicit();
    let graph = compressed(&mlp(&[256, 512, 512, 10], 7).unwrap(), 0.05, 4);
    let plain = models.load_new("plain", &graph, "").unwrap();
    let package = models.load_package("package", &graph, "max_batch_size = 8").unwrap();
    let layers = package.model().layers().unwrap();
    let names: Vec<_> = layers.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["fc0.weight", "fc1.weight", "fc2.weight"]);
    for layer in &layers.layers {
        assert!((layer.density - 0.05).abs() < 0.01, "{layer}");
        let batches: Vec<_> = layer.times.iter().map(|times| times.batch).collect();
        assert!([1, 4, 8].starts_with(&batches) && !batches.is_empty(), "{layer}");
        let slower = layer.times.iter().any(|times| times.sparse_us > times.dense_us);
        assert!(!slower || layer.execution == Execution::Dense, "{layer}");
    }
    assert_close(&answers(&package, 7), &answers(&plain, 7), 1e-5);
}

#[test]
fn a_sparse_layer_keeps_no_dense_weights() {
    let models = Models::explicit();
    let graph = compressed(&mlp(&[512, 1024, 16], 7).unwrap(), 0.1, 4);
    let bytes = |execution: &str| {
        let toml = format!("max_batch_size = 1\ncompressed.execution = '{execution}'");
        let package = models.load_package(execution, &graph, &toml).unwrap();
        let layers = package.model().layers().unwrap();
        assert_eq!(layers.dense_bytes, 4 * (512 * 1024 + 1024 * 16 + 1024 + 16));
        layers.weights_bytes
    };
    let (sparse, dense) = (bytes("sparse"), bytes("dense"));
    assert!(sparse < dense / 2, "{sparse} of {dense} bytes");
}

#[test]
fn replicas_and_threads_share_sparse_weights() {
    let models = Models::on_all_cores();
    let graph = compressed(&convolutions(), 0.2, 4);
    let plain = models.load_new("plain", &graph, "").unwrap();
    let requests = |model: &Endpoint| (0..24).map(|i| rows(model, 1 + i % 3, i as u32)).collect();
    let expected = ask_together(&plain, requests(&plain));
    for (name, settings) in [
        ("two", "replicas = { count = 2, threads = 1 }"),
        ("three", "replicas = { count = 3, threads = 2 }"),
        ("pool", "replicas.count = 1"),
        ("basic", "replicas.graph_optimization = -1"),
    ] {
        let toml = format!("{settings}\n[[warm_up]]\ninputs.x = {{ data = 'random' }}\n{SPARSE}");
        let toml = toml.replace(&format!("\n{SPARSE}"), "");
        let package = models.load_package(name, &graph, &format!("{SPARSE}\n{toml}")).unwrap();
        assert_eq!(count(&package, Execution::Sparse), 4);
        for (got, wanted) in ask_together(&package, requests(&package)).iter().zip(&expected) {
            assert_close(&values(got, 0), &values(wanted, 0), 1e-5);
        }
    }
}

#[test]
fn settings_apply_to_all_layers_or_to_one() {
    let models = Models::explicit();
    let graph = compressed(&products(), 0.2, 4);
    let executions = |toml: &str| -> Result<Vec<Execution>, String> {
        let package = models.load_package("m", &graph, toml)?;
        Ok(package.model().layers().unwrap().layers.iter().map(|layer| layer.execution).collect())
    };
    use Execution::{Dense, Sparse};
    assert_eq!(executions("compressed.execution = 'dense'"), Ok(vec![Dense; 3]));
    let but_one = "[compressed]\nexecution = 'sparse'\nlayers = { plain = 'dense' }";
    assert_eq!(executions(but_one), Ok(vec![Sparse, Dense, Sparse]));
    let only = "[compressed]\nexecution = 'dense'\nlayers = { plain = 'sparse' }";
    assert_eq!(executions(only), Ok(vec![Dense, Sparse, Dense]));
    let error = executions("[compressed]\nlayers = { plian = 'dense' }").unwrap_err();
    assert!(error.contains("'plian'") && error.contains("near it: 'plain'"), "{error}");
}

#[test]
fn a_layer_that_can_not_be_sparse_has_a_reason() {
    let models = Models::explicit();
    let load = |toml: &str| models.load_package("m", &mlp(&[64, 64, 10], 7).unwrap(), toml);
    let error = load("[compressed]\nlayers = { 'fc0.weight' = 'sparse' }").err().unwrap();
    assert!(error.contains("'fc0.weight' sparse, and too many of its weights are not"), "{error}");
    // A setting for all layers applies to those that can be sparse.
    let package = load(SPARSE).unwrap();
    assert_eq!((count(&package, Execution::Dense), count(&package, Execution::Sparse)), (2, 0));
}

#[test]
fn quantized_layers_stay_quantized() {
    let models = Models::explicit();
    let mut graph = mlp(&[64, 128, 10], 7).unwrap();
    quantize_dynamic(&mut graph, &DynamicSettings::default()).unwrap();
    let plain = models.load_new("plain", &graph, "").unwrap();
    let toml = format!("{SPARSE}\n{INT8}");
    let package = models.load_package("package", &graph, &toml).unwrap();
    assert_eq!(count(&package, Execution::Int8), 2, "{:#?}", package.model().layers());
    for rows in [1, 3, 40] {
        assert_close(&answers(&package, rows), &answers(&plain, rows), 1e-5);
    }
}

#[test]
fn quantized_layers_run_as_floats_where_these_are_not_slower() {
    let models = Models::explicit();
    let floats = mlp(&[64, 128, 10], 7).unwrap();
    let mut graph = floats.clone();
    quantize_dynamic(&mut graph, &DynamicSettings::default()).unwrap();
    let load = |choice: &str| {
        let toml = format!("compressed.int8 = '{choice}'");
        models.load_package(choice, &graph, &toml).unwrap()
    };
    let (always, never, auto) = (load("always"), load("never"), load("auto"));
    let counts = |model: &Endpoint| (count(model, Execution::Int8), count(model, Execution::Dense));
    assert_eq!((counts(&always), counts(&never)), ((2, 0), (0, 2)));
    let reason = never.model().layers().unwrap().layers[0].why.clone();
    assert_eq!(reason, "floats are configured");
    // Measuring chooses one form for all layers.
    let chosen = if count(&auto, Execution::Int8) == 2 { &always } else { &never };
    assert_eq!(counts(&auto), counts(chosen));
    let original = models.load_new("original", &floats, "").unwrap();
    for rows in [1, 3, 40] {
        assert_close(&answers(&auto, rows), &answers(chosen, rows), 1e-6);
        // Only the weights are rounded, to a scale for each output.
        assert_close(&answers(&never, rows), &answers(&original, rows), 2e-2);
    }
}

#[test]
fn a_quantized_row_does_not_depend_on_others_in_its_batch() {
    let models = Models::explicit();
    let mut graph = mlp(&[64, 128, 10], 7).unwrap();
    quantize_dynamic(&mut graph, &DynamicSettings::default()).unwrap();
    let package = models.load_package("package", &graph, INT8).unwrap();
    let plain = models.load_new("plain", &graph, "").unwrap();
    let x = numbers(64, 5);
    for (model, what) in [(&package, "package"), (&plain, "plain")] {
        let alone = ask(model, request(floats("input", &[1, 64], &x))).unwrap();
        for stranger in [0.0, 1e4, -1e-4, f32::NAN, f32::INFINITY] {
            for place in [0, 4] {
                let mut rows = vec![stranger; 64 * 5];
                rows[place * 64..(place + 1) * 64].copy_from_slice(&x);
                let together = ask(model, request(floats("input", &[5, 64], &rows))).unwrap();
                let own = &values(&together, 0)[place * 10..(place + 1) * 10];
                assert_close(own, &values(&alone, 0), 1e-6);
                let other = values(&together, 0)[(place + 1) % 5 * 10];
                assert_eq!(other.is_nan(), !stranger.is_finite(), "{what}, {stranger}");
            }
        }
    }
}

#[test]
fn a_package_without_layers_serves() {
    let models = Models::explicit();
    let package = models.load_package("add", &support::graphs::add(2.0), SPARSE).unwrap();
    assert_eq!(package.model().layers().unwrap().layers, []);
    assert_eq!(package.model().file_name(), "model.sky");
    let response = ask(&package, request(floats("x", &[1, 2], &[1.0, 2.0]))).unwrap();
    assert_eq!(values(&response, 0), [3.0, 4.0]);
}
