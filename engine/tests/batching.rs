//! Tests which models batch by default, and that batching does not change outputs.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use ort::session::Session;
use ort::value::Tensor;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Response;
use skysail_engine::tensor::{DataType, push_bytes_element};
use skysail_graph::{Dim, ElementType};
use std::sync::Arc;
use support::{
    FLOAT, Models, ask, ask_together, assert_close, batch_of, environment, floats, graphs, request,
    shipped, tensor, values,
};

/// Loads a model without any settings.
fn load(models: &Models, model: &skysail_graph::Model) -> Arc<Endpoint> {
    models.add("m", model).load("m").unwrap()
}

fn batches(model: &skysail_graph::Model) -> bool {
    let models = Models::explicit();
    let model = load(&models, model);
    // Without a configured size, larger requests are accepted.
    assert_eq!(model.batching().is_on(), model.batching().larger_requests_run_alone);
    model.batching().is_on()
}

#[test]
fn independent_rows_share_runs() {
    assert!(batches(&graphs::softmax(1)));
    assert!(batches(&graphs::add(1.0)));
    assert!(batches(&graphs::embedding()));
}

#[test]
fn dependent_rows_run_alone() {
    assert!(!batches(&graphs::softmax(0)));
    assert!(!batches(&graphs::times_rows()));
    assert!(!batches(&graphs::nonzero()));
    assert!(!batches(&graphs::reshaped_to_one_row()));
}

#[test]
fn models_without_an_open_first_dimension_run_alone() {
    assert!(!batches(&graphs::same(FLOAT, &[Dim::from(4), Dim::from(2)])));
    assert!(!batches(&graphs::same(FLOAT, &[Dim::from(1), Dim::Unknown])));
    assert!(!batches(&graphs::same(FLOAT, &[])));
}

#[test]
fn requests_of_a_model_that_does_not_batch_run_alone() {
    let models = Models::explicit();
    let model = load(&models, &graphs::softmax(0));
    let requests = (0..10).map(|i| request(floats("x", &[1, 3], &[i as f32; 3]))).collect();
    for response in ask_together(&model, requests) {
        assert_eq!(values(&response, 0), [1.0; 3]);
        assert_eq!(response.stages.batch_rows(), 1);
    }
    assert_eq!(model.statistics().runs(), 10);
}

/// Images for `digits`, each different.
fn images(rows: usize, salt: usize) -> Vec<f32> {
    (0..rows * 64).map(|i| ((i * 7 + salt * 13) % 17) as f32 / 16.0).collect()
}

/// Labels and probabilities of a response of `digits`.
fn digits_answer(response: &Response) -> (Vec<i64>, Vec<f32>) {
    let labels = response.outputs[0].data.as_chunks().0;
    (labels.iter().map(|&label| i64::from_le_bytes(label)).collect(), values(response, 1))
}

#[test]
fn digits_gives_the_same_outputs_as_the_runtime_alone() {
    let models = Models::explicit();
    models.write("digits/1/model.onnx", std::fs::read(shipped("digits/1/model.onnx")).unwrap());
    let model = models.load("digits").unwrap();
    assert!(model.batching().is_on());
    let rows = |i: usize| [1, 1, 3, 0, 1, 2, 90][i % 7];
    let ask_for = |i: usize| request(floats("input", &[rows(i), 64], &images(rows(i), i)));
    let responses = ask_together(&model, (0..70).map(ask_for).collect());
    assert!(model.statistics().runs() < 60, "{} runs", model.statistics().runs());
    let file = shipped("digits/1/model.onnx");
    let mut alone = Session::builder(&environment()).unwrap().commit_from_file(file).unwrap();
    for (i, response) in responses.iter().enumerate() {
        let (labels, probabilities) = digits_answer(response);
        assert_eq!(response.outputs[1].shape.as_slice(), [rows(i), 10]);
        if rows(i) == 0 {
            assert!(labels.is_empty() && probabilities.is_empty());
            continue;
        }
        let input = Tensor::from_array(([rows(i), 64], images(rows(i), i))).unwrap();
        let outputs = alone.run(ort::inputs!["input" => input]).unwrap();
        let (_, wanted) = outputs["label"].try_extract_tensor::<i64>().unwrap();
        assert_eq!(labels, wanted);
        let (_, wanted) = outputs["probabilities"].try_extract_tensor::<f32>().unwrap();
        assert_close(&probabilities, wanted, 1e-6);
    }
}

#[test]
fn only_texts_of_one_length_share_runs() {
    let models = Models::explicit();
    let model = load(&models, &graphs::embedding());
    // The output is the mean of the embeddings of this many tokens.
    let text = |i: usize| -> Vec<i64> { (0..=i % 3).map(|at| ((i + at) % 5) as i64).collect() };
    let ask_for = |i: usize| {
        let tokens = text(i);
        let data = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        request(tensor("x", DataType::Int64, &[1, tokens.len()], data))
    };
    let responses = ask_together(&model, (0..30).map(ask_for).collect());
    for (i, response) in responses.iter().enumerate() {
        let tokens = text(i);
        let mean = tokens.iter().sum::<i64>() as f32 / tokens.len() as f32;
        assert_close(&values(response, 0), &[mean, mean * 10.0], 1e-6);
    }
    assert!(model.statistics().runs() < 30, "{} runs", model.statistics().runs());
    // A token outside of the table fails alone.
    let bad = request(tensor("x", DataType::Int64, &[1, 1], 99_i64.to_le_bytes().to_vec()));
    assert!(ask(&model, bad).unwrap_err().to_string().contains("failed on this input"));
}

#[test]
fn strings_share_runs_too() {
    let models = Models::explicit();
    let model = load(&models, &graphs::same(ElementType::String, &batch_of(&[2])));
    assert!(model.batching().is_on());
    let data = |i: usize| {
        let mut data = Vec::new();
        for element in 0..2 * (i % 4) {
            push_bytes_element(&mut data, "äx".repeat((i + element) % 3).as_bytes());
        }
        data
    };
    let ask_for = |i| request(tensor("x", DataType::Bytes, &[i % 4, 2], data(i)));
    let responses = ask_together(&model, (0..40).map(ask_for).collect());
    for (i, response) in responses.iter().enumerate() {
        assert_eq!(response.outputs[0].data, data(i));
        assert_eq!(response.outputs[0].shape.as_slice(), [i % 4, 2]);
    }
    assert!(model.statistics().runs() < 20, "{} runs", model.statistics().runs());
}

#[test]
fn every_datatype_passes_unchanged() {
    let models = Models::explicit();
    for datatype in DataType::ALL.into_iter().filter(|datatype| *datatype != DataType::Bytes) {
        // Rows have a known or an unknown size.
        for (name, last) in [("known", Dim::from(3)), ("unknown", Dim::Unknown)] {
            let name = format!("{name}-{datatype}");
            let graph = graphs::same(datatype.graph_element(), &[Dim::from("batch"), last]);
            let model = models.add(&name, &graph).load(&name).unwrap();
            assert!(model.batching().is_on(), "{datatype}");
            let bytes = 2 * 3 * datatype.element_bytes().unwrap();
            let data: Vec<u8> = match datatype {
                DataType::Bool => vec![1, 0, 0, 1, 1, 0],
                _ => (0..bytes).map(|i| i as u8).collect(),
            };
            let input = || request(tensor("x", datatype, &[2, 3], data.clone()));
            for response in ask_together(&model, vec![input(), input(), input()]) {
                assert_eq!(response.outputs[0].data, data, "{datatype}");
                assert_eq!(response.outputs[0].datatype, datatype);
            }
        }
    }
}
