//! Tests which requests without elements run, and which are rejected.

use super::*;
use crate::batching::Batching;
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
        ..Signature::default()
    }
}

fn batching() -> Batching {
    Batching { rows_max: 8, larger_requests_run_alone: true, ..Batching::default() }
}

fn request(rows: usize, any: usize) -> ValidRequest {
    let input = |name: &str, shape: [usize; 2]| InputTensor {
        name: name.into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&shape),
        data: vec![0; shape[0] * shape[1] * 4].into(),
    };
    let inputs = [input("x", [rows, any]), input("m", [rows, 3])].into_iter().collect();
    validate(Request { inputs, ..Request::default() }, &signature(), &batching()).unwrap()
}

fn with_trials(survived: &[ZeroDims], crashed: &[ZeroDims]) -> ZeroElements {
    let [survived, crashed] = [survived, crashed].map(|dims| dims.iter().cloned().collect());
    ZeroElements { trials: Arc::new(OnceLock::from(Some(ZeroTrials { survived, crashed }))) }
}

#[track_caller]
fn assert_rejected(zero_elements: &ZeroElements, request: &ValidRequest, words: &[&str]) {
    let error = zero_elements.outputs_without_run(request, &signature()).unwrap_err();
    let NoAnswer::Invalid(error) = error else { panic!("{error:?}") };
    let error = error.to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn without_trials_everything_runs() {
    for request in [request(1, 2), request(0, 2), request(0, 0)] {
        assert!(
            ZeroElements::default().outputs_without_run(&request, &signature()).unwrap().is_none()
        );
    }
}

#[test]
fn while_the_trials_go_on_only_inputs_with_elements_run() {
    let zero_elements = ZeroElements { trials: Arc::default() };
    let run = |request| zero_elements.outputs_without_run(&request, &signature());
    assert!(matches!(run(request(2, 2)), Ok(None)));
    assert!(matches!(run(request(0, 2)), Err(NoAnswer::NotYet)));
    drop(zero_elements.trials.set(Some(ZeroTrials::default())));
    assert!(matches!(run(request(0, 2)), Err(NoAnswer::Invalid(_))));
}

#[test]
fn only_dimensions_that_survived_a_trial_run() {
    let rows = vec![(0, 0), (1, 0)];
    let zero_elements = with_trials(std::slice::from_ref(&rows), &[vec![(0, 1)]]);
    assert!(zero_elements.outputs_without_run(&request(2, 2), &signature()).unwrap().is_none());
    assert!(zero_elements.outputs_without_run(&request(0, 2), &signature()).unwrap().is_none());
    assert_rejected(
        &zero_elements,
        &request(2, 0),
        &["'x' has shape [2,0]", "a trial of that ended"],
    );
}

#[test]
fn dimensions_not_tried_together_are_rejected() {
    let zero_elements = with_trials(&[vec![(0, 0), (1, 0)], vec![(0, 1)]], &[]);
    assert!(zero_elements.outputs_without_run(&request(2, 0), &signature()).unwrap().is_none());
    assert_rejected(&zero_elements, &request(0, 0), &["'x' has shape [0,0]", "no trial has shown"]);
}

#[test]
fn unproven_shapes_give_no_outputs() {
    assert_rejected(&with_trials(&[], &[]), &request(0, 2), &["no trial has shown"]);
    assert!(proven_outputs(&request(0, 2), &signature()).is_none());
}

#[test]
fn outputs_proven_to_be_empty_need_no_run() {
    let model = skysail_graph::mlp(&[4, 3, 2], 7).unwrap();
    let (inputs, outputs) = (model.graph().inputs(), model.graph().outputs());
    let signature = Signature {
        inputs: vec![spec(&inputs[0].name, DataType::Fp32, &[None, Some(4)])],
        outputs: vec![spec(&outputs[0].name, DataType::Fp32, &[None, Some(2)])],
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
    let request = validate(request, &signature, &batching()).unwrap();
    let outputs = with_trials(&[], &[]).outputs_without_run(&request, &signature).unwrap().unwrap();
    assert_eq!((&outputs[0].shape[..], outputs[0].data.len()), (&[0, 2][..], 0));
}
