//! Tests real models, if their files are available: loading, batching, and outputs of the whole
//! example and of its rows.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{OutputTensor, Request};
use skysail_engine::signature::TensorSpec;
use skysail_engine::tensor::DataType;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::npy::{self, Array};
use support::{Models, ask, ask_together, assert_close, tensor, values};

/// Models that do not batch, as their first dimension is fixed.
const ALONE: [&str; 11] = [
    "edge-0-dim-output",
    "edge-big-fanout",
    "edge-float16",
    "light-resnet50",
    "light-shufflenet",
    "light-squeezenet",
    "mnist-cnn",
    "ort-mul-1",
    "shufflenet-v2-int8",
    // Its state has the batch dimension second.
    "silero-vad-16k",
    "ultraface-rfb-320",
];

/// Models with an output that no tensor protocol carries.
const REFUSED: [&str; 2] = ["edge-sklearn-randomforest", "ort-logreg-iris"];

/// Folders of real models.
fn folders() -> Vec<PathBuf> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
    let Ok(folders) = fs::read_dir(data) else {
        println!("skipped: there is no folder {data}");
        return Vec::new();
    };
    folders
        .map(|folder| folder.unwrap().path())
        .filter(|f| f.join("model.onnx").is_file())
        .collect()
}

/// Arrays of a model's first example: `input_0.npy` and so on.
fn arrays(folder: &Path, side: &str) -> Vec<Array> {
    let file = |index| folder.join(format!("test_data_set_0/{side}_{index}.npy"));
    (0..).map_while(|index: usize| npy::read(&file(index))).collect()
}

fn request(model: &Endpoint, arrays: &[Array]) -> Request {
    let input = |(spec, array): (&TensorSpec, &Array)| {
        tensor(&spec.name, array.datatype, &array.shape, array.data.clone())
    };
    let inputs = model.signature().inputs.iter().zip(arrays).map(input).collect();
    Request { inputs, ..Request::default() }
}

fn assert_same(got: &OutputTensor, wanted: &Array, tolerance: f32) {
    assert_eq!((got.datatype, &got.shape[..]), (wanted.datatype, &wanted.shape[..]));
    let floats = |data: &[u8]| -> Vec<f32> {
        data.as_chunks().0.iter().map(|&element| f32::from_le_bytes(element)).collect()
    };
    match got.datatype {
        DataType::Fp32 => assert_close(&floats(&got.data), &floats(&wanted.data), tolerance),
        _ => assert_eq!(got.data, wanted.data),
    }
}

/// Sends the example whole, and row by row in shared runs.
fn check_example(name: &str, model: &Arc<Endpoint>, inputs: &[Array], outputs: &[Array]) {
    // This model's weights were rounded after the expected outputs were computed.
    let tolerance = if name == "all-minilm-l6-v2" { 1e-2 } else { 1e-4 };
    let whole = ask(model, request(model, inputs)).unwrap();
    for (got, wanted) in whole.outputs.iter().zip(outputs) {
        assert_same(got, wanted, tolerance);
    }
    if !model.batching().is_on() {
        return;
    }
    let rows = inputs[0].shape[0];
    let row = |row| request(model, &inputs.iter().map(|input| input.row(row)).collect::<Vec<_>>());
    for (row, response) in ask_together(model, (0..rows).map(row).collect()).iter().enumerate() {
        for (got, wanted) in response.outputs.iter().zip(outputs) {
            assert_same(got, &wanted.row(row), tolerance);
        }
    }
}

fn check(models: &Models, folder: &Path) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    models.link(name, &folder.join("model.onnx"));
    let loaded = models.load(name);
    if REFUSED.contains(&name) {
        let error = loaded.err().unwrap();
        assert!(error.contains("zipmap=False"), "{name}: {error}");
        return;
    }
    let model = loaded.unwrap();
    assert_eq!(model.batching().is_on(), !ALONE.contains(&name), "{name}");
    let inputs = arrays(folder, "input");
    if inputs.len() == model.signature().inputs.len() {
        check_example(name, &model, &inputs, &arrays(folder, "output"));
    }
}

#[test]
fn real_models_load_and_give_the_expected_outputs() {
    let models = Models::explicit();
    for folder in folders() {
        println!("{}", folder.display());
        check(&models, &folder);
    }
}

/// A request for all-MiniLM of one text of this many tokens.
fn text(tokens: usize, salt: usize) -> Request {
    let ids = |at: usize| 1000 + (at * 7919 + salt * 104_729) as i64 % 20_000;
    let whole =
        |of: &dyn Fn(usize) -> i64| (0..tokens).flat_map(|at| of(at).to_le_bytes()).collect();
    let inputs: [(&str, Vec<u8>); 3] = [
        ("input_ids", whole(&ids)),
        ("attention_mask", whole(&|_| 1)),
        ("token_type_ids", whole(&|_| 0)),
    ];
    let inputs = inputs.map(|(name, data)| tensor(name, DataType::Int64, &[1, tokens], data));
    Request { inputs: inputs.into_iter().collect(), ..Request::default() }
}

#[test]
fn texts_of_mixed_lengths_share_runs_of_a_language_model() {
    let Some(folder) = folders().into_iter().find(|f| f.ends_with("all-minilm-l6-v2")) else {
        return println!("skipped: there is no all-minilm-l6-v2");
    };
    let models = Models::explicit();
    let fills = "{ input_ids = 0, attention_mask = 0, token_type_ids = 0 }";
    models.write("minilm/model.toml", format!("padding.inputs = {fills}"));
    let model = models.link("minilm", &folder.join("model.onnx")).load("minilm").unwrap();
    let lengths = [3, 4, 5, 7, 8, 9, 10, 17, 18, 20, 33, 40];
    let texts = || lengths.iter().enumerate().map(|(i, &length)| text(length, i)).collect();
    let alone: Vec<_> = Vec::into_iter(texts()).map(|text| ask(&model, text).unwrap()).collect();
    let runs = model.statistics().runs();
    let together = ask_together(&model, texts());
    let runs = model.statistics().runs() - runs;
    assert!(runs < lengths.len() as u64, "{runs} runs");
    for (together, alone) in together.iter().zip(&alone) {
        for (place, (got, wanted)) in together.outputs.iter().zip(&alone.outputs).enumerate() {
            assert_eq!(got.shape, wanted.shape);
            assert_close(&values(together, place), &values(alone, place), 1e-5);
        }
    }
}
