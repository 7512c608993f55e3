//! Tests that padded requests of different sizes share runs, and get the same outputs as alone.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{Request, Response};
use skysail_engine::tensor::DataType;
use skysail_graph::{Dim, ElementType};
use std::sync::Arc;
use support::{
    FLOAT, Models, ask, ask_together, assert_close, floats, graphs, request, tensor, values,
};

const MASKED: &str = "padding.inputs = { x = 0, mask = 0 }";

/// Loads a model of texts whose mask has dimensions of these names.
fn masked(models: &Models, mask_dims: [&str; 2]) -> Arc<Endpoint> {
    models.load_new("m", &graphs::masked_embedding(mask_dims), MASKED).unwrap()
}

/// A request of `rows` texts of this many tokens, different for each salt.
fn text(rows: usize, tokens: usize, salt: usize) -> Request {
    let ids = (0..rows * tokens).flat_map(|at| ((at + salt) as i64 % 5).to_le_bytes()).collect();
    let mask = (0..rows * tokens).flat_map(|_| 1_i64.to_le_bytes()).collect();
    let inputs = [("x", ids), ("mask", mask)];
    let inputs = inputs.map(|(name, data)| tensor(name, DataType::Int64, &[rows, tokens], data));
    Request { inputs: inputs.into_iter().collect(), ..Request::default() }
}

fn assert_embedded(response: &Response, rows: usize, tokens: usize, salt: usize) {
    let embed = |at: usize| ((at + salt) % 5) as f32;
    let embedded: Vec<f32> =
        (0..rows * tokens).flat_map(|at| [embed(at), 10.0 * embed(at)]).collect();
    assert_eq!(response.outputs[0].shape.as_slice(), [rows, tokens, 2]);
    assert_eq!(values(response, 0), embedded);
    let sum = |row: usize| (row * tokens..(row + 1) * tokens).map(embed).sum::<f32>();
    let sums: Vec<f32> = (0..rows).flat_map(|row| [sum(row), 10.0 * sum(row)]).collect();
    assert_eq!(response.outputs[1].shape.as_slice(), [rows, 1, 2]);
    assert_close(&values(response, 1), &sums, 1e-6);
}

#[test]
fn texts_of_different_lengths_share_runs() {
    let models = Models::explicit();
    let model = masked(&models, ["batch", "tokens"]);
    let sizes = |i: usize| (1 + i % 2, 9 + i % 2);
    let asks = (0..24).map(|i| text(sizes(i).0, sizes(i).1, i)).collect();
    for (i, response) in ask_together(&model, asks).iter().enumerate() {
        assert_embedded(response, sizes(i).0, sizes(i).1, i);
    }
    assert!(model.statistics().runs() < 12, "{} runs", model.statistics().runs());
}

#[test]
fn very_different_lengths_run_apart() {
    let models = Models::explicit();
    let model = masked(&models, ["batch", "tokens"]);
    let lengths = [1, 3, 5, 6, 7, 9, 30, 32, 100, 0];
    let asks = (0..40).map(|i| text(1, lengths[i % 10], i)).collect();
    for (i, response) in ask_together(&model, asks).iter().enumerate() {
        assert_embedded(response, 1, lengths[i % 10], i);
        // 5 to 7 share runs, and so do 30 and 32.
        assert!(response.stages.batch_rows() <= 12);
    }
    assert!(model.statistics().runs() < 40, "{} runs", model.statistics().runs());
}

#[test]
fn an_invalid_request_does_not_become_valid_by_padding() {
    let models = Models::explicit();
    let model = masked(&models, ["batch", "tokens"]);
    let mut wrong = text(1, 9, 0);
    wrong.inputs[1] = text(1, 10, 0).inputs.remove(1);
    let asks = [text(1, 9, 1), text(1, 10, 2), wrong, text(1, 9, 3)];
    let tickets = asks.map(|ask| model.submit(ask).unwrap());
    let answers = tickets.map(support::block_on);
    assert!(matches!(answers.each_ref().map(Result::is_ok), [true, true, false, true]));
}

#[test]
fn generated_dimension_names_do_not_matter() {
    let models = Models::explicit();
    let model = masked(&models, ["mask_dim_0", "mask_dim_1"]);
    assert!(model.batching().padding.is_some());
    let asks = (0..24).map(|i| text(1, 9 + i % 2, i)).collect();
    for (i, response) in ask_together(&model, asks).iter().enumerate() {
        assert_embedded(response, 1, 9 + i % 2, i);
    }
    assert!(model.statistics().runs() < 12, "{} runs", model.statistics().runs());
}

#[test]
fn a_model_whose_outputs_change_is_not_padded() {
    let models = Models::explicit();
    // The output is the mean of all tokens, including padding.
    let model = models.load_new("m", &graphs::embedding(), "padding.inputs.x = 0").unwrap();
    assert!(model.batching().is_on() && model.batching().padding.is_none());
    let ids = |i: usize| (0..9 + i % 2).flat_map(|_| 3_i64.to_le_bytes()).collect();
    let asks = (0..10).map(|i| request(tensor("x", DataType::Int64, &[1, 9 + i % 2], ids(i))));
    for response in ask_together(&model, asks.collect()) {
        assert_close(&values(&response, 0), &[3.0, 30.0], 1e-6);
    }
    // A mask of ones makes the padding count.
    let model = models
        .load_new(
            "wrong",
            &graphs::masked_embedding(["batch", "tokens"]),
            "padding.inputs = { x = 3, mask = 1 }",
        )
        .unwrap();
    assert!(model.batching().padding.is_none());
}

#[test]
fn every_datatype_is_padded_in_every_dimension() {
    let types = [
        (ElementType::Bool, DataType::Bool),
        (ElementType::UInt8, DataType::Uint8),
        (ElementType::Int64, DataType::Int64),
        (ElementType::Float16, DataType::Fp16),
        (ElementType::Float64, DataType::Fp64),
    ];
    let models = Models::explicit();
    for (element, datatype) in types {
        let name = datatype.name();
        let dims = [Dim::from("batch"), Dim::Unknown, Dim::from(2), Dim::Unknown];
        let graph = graphs::same(element, &dims);
        let model = models.load_new(name, &graph, "padding.inputs.x = 1").unwrap();
        let shape = |i: usize| [1 + i % 3, 5 + i % 2, 2, 7 + i % 2];
        let data = |i: usize| -> Vec<u8> {
            let bytes = shape(i).iter().product::<usize>() * datatype.element_bytes().unwrap();
            (0..bytes).map(|at| (at + i) as u8 % 2).collect()
        };
        let asks = (0..30).map(|i| request(tensor("x", datatype, &shape(i), data(i)))).collect();
        for (i, response) in ask_together(&model, asks).iter().enumerate() {
            assert_eq!(response.outputs[0].shape.as_slice(), shape(i), "{name}");
            assert_eq!(response.outputs[0].data, data(i), "{name}");
        }
        assert!(model.statistics().runs() < 30, "{name}: {}", model.statistics().runs());
    }
}

#[test]
fn padding_that_does_not_fit_the_graph_fails_the_load() {
    let models = Models::explicit();
    let refusal = |toml: &str| {
        models.load_new("m", &graphs::masked_embedding(["batch", "tokens"]), toml).err().unwrap()
    };
    for (toml, wanted) in [
        ("padding.inputs.ids = 0", "padding.inputs.ids"),
        ("padding.inputs.x = 0", "padding.inputs leaves out 'mask'"),
        ("padding.inputs = { x = 0, mask = 0.5 }", "padding.inputs.mask"),
        ("padding.outputs.y = 0", "outputs"),
    ] {
        let error = refusal(toml);
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
    let fixed = graphs::same(FLOAT, &support::batch_of(&[3]));
    let error = models.load_new("fixed", &fixed, "padding.inputs.x = 0").err().unwrap();
    assert!(error.contains("padding.inputs.x: no dimension but the first is open"), "{error}");
    // A model that does not batch does not pad.
    let alone = "max_batch_size = 0\npadding.inputs.x = 0";
    let open = graphs::same(FLOAT, &[Dim::from("batch"), Dim::Unknown]);
    let model = models.load_new("alone", &open, alone).unwrap();
    assert!(model.batching().padding.is_none());
    assert!(ask(&model, request(floats("x", &[1, 3], &[0.0; 3]))).is_ok());
}
