//! Requests without elements: which run, and which are refused.

use super::*;
use crate::request::{InputTensor, Request};
use crate::signature::ProvenShapes;
use crate::tensor::{DataType, Shape};
use crate::testing::spec;
use crate::validate::validate;

/// Two inputs of `[rows, any]` and `[rows, 3]`.
fn signature() -> Signature {
    Signature {
        inputs: vec![
            spec("x", DataType::Fp32, &[None, None]),
            spec("m", DataType::Fp32, &[None, Some(3)]),
        ],
        outputs: vec![spec("y", DataType::Fp32, &[None, None])],
        batch_rows_max: 8,
        larger_requests_run_alone: true,
        ..Signature::default()
    }
}

fn request(rows: usize, any: usize) -> ValidRequest {
    let input = |name: &str, shape: [usize; 2]| InputTensor {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&shape),
        data: vec![0; shape[0] * shape[1] * 4].into(),
    };
    let inputs = [input("x", [rows, any]), input("m", [rows, 3])].into_iter().collect();
    validate(Request { inputs, ..Request::default() }, &signature()).unwrap()
}

fn tried(lived: &[Places], ended: &[Places]) -> Empty {
    let [lived, ended] = [lived, ended].map(|places| places.iter().cloned().collect());
    Empty { zeros: Some(Zeros { lived, ended }) }
}

#[track_caller]
fn refused(empty: &Empty, request: &ValidRequest, words: &[&str]) {
    let error = empty.answer(request, &signature()).unwrap_err().to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn without_trials_everything_runs() {
    for request in [request(1, 2), request(0, 2), request(0, 0)] {
        assert!(Empty::default().answer(&request, &signature()).unwrap().is_none());
    }
}

#[test]
fn only_what_a_trial_lived_through_runs() {
    let rows = vec![(0, 0), (1, 0)];
    let empty = tried(std::slice::from_ref(&rows), &[vec![(0, 1)]]);
    assert!(empty.answer(&request(2, 2), &signature()).unwrap().is_none());
    assert!(empty.answer(&request(0, 2), &signature()).unwrap().is_none());
    refused(&empty, &request(2, 0), &["'x' has shape [2,0]", "a trial of that ended"]);
}

#[test]
fn dimensions_that_were_not_zero_together_are_refused() {
    let empty = tried(&[vec![(0, 0), (1, 0)], vec![(0, 1)]], &[]);
    assert!(empty.answer(&request(2, 0), &signature()).unwrap().is_none());
    refused(&empty, &request(0, 0), &["'x' has shape [0,0]", "no trial has shown"]);
}

#[test]
fn shapes_that_are_not_proven_answer_nothing() {
    refused(&tried(&[], &[]), &request(0, 2), &["no trial has shown"]);
    assert!(outputs(&request(0, 2), &signature()).is_none());
}

#[test]
fn outputs_that_are_proven_to_be_empty_are_given_without_a_run() {
    let model = skysail_graph::mlp(&[4, 3, 2], 7).unwrap();
    let (inputs, outputs) = (model.graph().inputs(), model.graph().outputs());
    let signature = Signature {
        inputs: vec![spec(&inputs[0].name, DataType::Fp32, &[None, Some(4)])],
        outputs: vec![spec(&outputs[0].name, DataType::Fp32, &[None, Some(2)])],
        batch_rows_max: 8,
        proven: ProvenShapes { same_rows: model.output_shapes(true).into(), ..Default::default() },
        ..Signature::default()
    };
    let input = InputTensor {
        name: inputs[0].name.clone(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[0, 4]),
        data: Vec::new().into(),
    };
    let request = Request { inputs: [input].into_iter().collect(), ..Request::default() };
    let request = validate(request, &signature).unwrap();
    let answer = tried(&[], &[]).answer(&request, &signature).unwrap().unwrap();
    assert_eq!((&answer[0].shape[..], answer[0].data.len()), (&[0, 2][..], 0));
}
