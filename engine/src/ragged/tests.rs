//! Every member of a ragged batch gets what it would have got alone.

use super::executor::RaggedExecutor;
use super::*;
use crate::batching::Batching;
use crate::config::{
    BatchInputKind, ExpectedTensor, MadeInput, ModelConfig, RaggedConfig, ScatteredOutput,
};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::executor::puppet::{Ran, bytes, puppet};
use crate::executor::{BatchInput, Executor};
use crate::load::{synthetic, trial_run};
use crate::replica::ClassId;
use crate::request::{InputTensor, OutputTensor, Request};
use crate::signature::{ProvenShapes, Signature, TensorSpec};
use crate::tensor::DataType;
use crate::testing::{block_on, endpoint, floats, run_waiting, spec};
use proptest::prelude::*;
use std::sync::Arc;

/// A graph that takes the ends of texts, all their tokens, and the scale of each text. It gives the
/// scaled sum of each text, and all tokens doubled.
fn graph() -> Signature {
    Signature {
        inputs: vec![
            spec("ends", DataType::Int32, &[None]),
            spec("tokens", DataType::Fp32, &[None]),
            spec("scale", DataType::Fp32, &[None]),
        ],
        outputs: vec![
            spec("sum", DataType::Fp32, &[None]),
            spec("doubled", DataType::Fp32, &[None]),
        ],
        ..Signature::default()
    }
}

fn declared(name: &str, dims: &[i64]) -> ExpectedTensor {
    let (name, dims) = (name.into(), Some(dims.into()));
    ExpectedTensor { name, datatype: None, dims, reshape: None, optional: false }
}

/// Tokens of texts in lines of two.
fn config() -> ModelConfig {
    let ends = MadeInput {
        name: "ends".into(),
        kind: BatchInputKind::AccumulatedCount,
        datatype: DataType::Int32,
        source: "tokens".into(),
    };
    let doubled = ScatteredOutput { name: "doubled".into(), source: "tokens".into() };
    ModelConfig {
        max_batch_size: Some(64),
        expected_inputs: vec![declared("tokens", &[-1, 2])],
        expected_outputs: vec![declared("doubled", &[-1, 2])],
        ragged: Some(RaggedConfig {
            inputs: std::iter::once("tokens".into()).collect(),
            made: vec![ends],
            scattered: vec![doubled],
        }),
        ..ModelConfig::default()
    }
}

fn plan() -> RaggedPlan {
    RaggedPlan::read(&config(), &graph()).unwrap().unwrap()
}

fn output(name: &str, values: &[f32]) -> OutputTensor {
    let (name, datatype) = (name.into(), DataType::Fp32);
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into();
    OutputTensor { name, datatype, shape: smallvec![values.len()], data }
}

/// Runs the graph.
fn run(inputs: &[BatchInput<'_>]) -> Ran {
    let [ends, tokens, scale] = inputs else { panic!("{inputs:?}") };
    let ends: Vec<usize> =
        bytes(ends).as_chunks().0.iter().map(|&end| i32::from_le_bytes(end) as usize).collect();
    assert_eq!(
        (&inputs[0].shape[..], &inputs[2].shape[..]),
        (&[ends.len()][..], &[ends.len()][..])
    );
    assert_eq!(tokens.shape[..], [*ends.last().unwrap()]);
    let (tokens, scale) = (floats(&bytes(tokens)), floats(&bytes(scale)));
    let mut start = 0;
    let sums: Vec<f32> = ends
        .into_iter()
        .zip(scale)
        .map(|(end, scale)| {
            tokens[std::mem::replace(&mut start, end)..end].iter().sum::<f32>() * scale
        })
        .collect();
    let doubled: Vec<f32> = tokens.iter().map(|token| 2.0 * token).collect();
    Ok([output("sum", &sums), output("doubled", &doubled)].into_iter().collect())
}

fn executor(plan: &RaggedPlan) -> Box<dyn Executor> {
    let (inputs, required) = (Arc::clone(&plan.inputs), plan.signature.inputs.len());
    Box::new(RaggedExecutor { inner: puppet(run), inputs, required })
}

fn served(plan: &RaggedPlan) -> (Signature, Batching) {
    let ragged = Some(Arc::clone(&plan.ragged));
    ((*plan.signature).clone(), Batching { rows_max: 64, ragged, ..Batching::default() })
}

/// An endpoint of the plan, whose runs are known to be short.
fn serve(plan: &RaggedPlan, executor: Box<dyn Executor>) -> Arc<Endpoint> {
    let endpoint = endpoint(served(plan), vec![executor], config());
    for rows in [1, 64] {
        endpoint.model().queue().observe(ClassId::default(), rows, 1.0);
    }
    endpoint
}

fn input(name: &str, shape: &[usize], values: &[f32]) -> InputTensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let (name, shape) = (name.into(), Shape::from_slice(shape));
    InputTensor { name, datatype: DataType::Fp32, shape, data: data.into() }
}

/// Tokens of a text of this many lines.
fn tokens(lines: usize, first: f32) -> Vec<f32> {
    (0..2 * lines).map(|at| first + at as f32).collect()
}

fn text(lines: usize, first: f32, scale: f32) -> Request {
    let tokens = input("tokens", &[1, lines, 2], &tokens(lines, first));
    Request { inputs: smallvec![tokens, input("scale", &[1], &[scale])], ..Request::default() }
}

#[test]
fn requests_bring_no_input_that_is_made() {
    let plan = plan();
    let dims = |specs: &[TensorSpec]| -> Vec<(String, Vec<i64>)> {
        specs.iter().map(|it| (it.name.to_string(), it.wire_dims().collect())).collect()
    };
    let signature = &plan.signature;
    let wanted = [("tokens".to_owned(), vec![-1, -1, 2]), ("scale".to_owned(), vec![-1])];
    assert_eq!(dims(&signature.inputs), wanted);
    assert_eq!(dims(&signature.outputs)[1], ("doubled".to_owned(), vec![-1, -1, 2]));
    assert_eq!(signature.proven, ProvenShapes::default());
    let endpoint = serve(&plan, executor(&plan));
    let mut wrong = text(2, 1.0, 1.0);
    wrong.inputs.push(input("ends", &[1], &[4.0]));
    assert!(matches!(endpoint.submit(wrong), Err(Error::Invalid(_))));
    let mut wrong = text(2, 1.0, 1.0);
    wrong.inputs[0] = input("tokens", &[1, 1, 4], &tokens(2, 1.0));
    assert!(matches!(endpoint.submit(wrong), Err(Error::Invalid(_))));
}

proptest! {
    #[test]
    fn texts_of_any_length_share_one_run(
        texts in prop::collection::vec((1_usize..7, -9_i8..9, 1_i8..4), 1..20)
    ) {
        let plan = plan();
        let endpoint = serve(&plan, executor(&plan));
        let numbers = texts.iter().map(|&(lines, first, scale)| (lines, f32::from(first), f32::from(scale)));
        let tickets: Vec<_> = numbers
            .clone()
            .map(|(lines, first, scale)| endpoint.submit(text(lines, first, scale)).unwrap())
            .collect();
        run_waiting(&endpoint);
        for ((lines, first, scale), ticket) in numbers.zip(tickets) {
            let response = block_on(ticket).unwrap();
            let tokens = tokens(lines, first);
            let [sum, doubled] = &response.outputs[..] else { panic!() };
            prop_assert_eq!((&sum.shape[..], floats(&sum.data)),
                (&[1][..], vec![tokens.iter().sum::<f32>() * scale]));
            let twice: Vec<f32> = tokens.iter().map(|token| 2.0 * token).collect();
            prop_assert_eq!((&doubled.shape[..], floats(&doubled.data)), (&[1, lines, 2][..], twice));
        }
        prop_assert_eq!(endpoint.statistics().runs(), 1);
    }
}

#[test]
fn a_request_of_several_rows_is_one_item() {
    let plan = plan();
    let (shape, data) = (Shape::from_slice(&[2, 3, 2]), vec![0; 48].into());
    let (scale, scales) = (Shape::from_slice(&[2]), vec![0; 8].into());
    let inner = puppet(|inputs| {
        assert_eq!(
            (bytes(&inputs[0]), &inputs[1].shape[..]),
            (12_i32.to_le_bytes().to_vec(), &[12][..])
        );
        Ok([output("sum", &[1.0, 2.0]), output("doubled", &[0.0; 12])].into_iter().collect())
    });
    let inputs = Arc::clone(&plan.inputs);
    let mut executor = RaggedExecutor { inner, inputs, required: 2 };
    let row = vec![(shape, data), (scale, scales)];
    trial_run::run(&mut executor, &[&row]).unwrap();
}

#[test]
fn trial_runs_are_of_rows() {
    let plan = plan();
    let mut executor = executor(&plan);
    let row = synthetic::row(&plan.signature, 1).unwrap();
    for rows in [1, 5] {
        let outputs = trial_run::run(&mut *executor, &vec![&row; rows]).unwrap();
        assert_eq!(outputs[0].shape[..], [rows]);
        assert_eq!(outputs[1].shape[..], [rows * synthetic::OPEN_DIM * 2]);
    }
}

#[test]
fn an_output_that_can_not_be_divided_is_an_error() {
    let plan = plan();
    let inner =
        puppet(|_| Ok([output("sum", &[1.0]), output("doubled", &[1.0; 5])].into_iter().collect()));
    let inputs = Arc::clone(&plan.inputs);
    let executor = Box::new(RaggedExecutor { inner, inputs, required: 2 });
    let endpoint = serve(&plan, executor);
    let ticket = endpoint.submit(text(3, 1.0, 1.0)).unwrap();
    run_waiting(&endpoint);
    let error = block_on(ticket).unwrap_err().to_string();
    assert!(error.contains("'doubled' has shape [5], and its batch_output needs"), "{error}");
}

/// A change of the graph or of the configuration.
type Change<'a> = &'a dyn Fn(&mut Signature, &mut ModelConfig);

#[test]
fn a_graph_that_does_not_fit_is_named() {
    let changed = |change: Change<'_>| {
        let (mut graph, mut config) = (graph(), config());
        change(&mut graph, &mut config);
        RaggedPlan::read(&config, &graph).unwrap_err()
    };
    let cases: [(Change<'_>, &str); 8] = [
        (
            &|graph, _| graph.inputs[1].dims.push(None),
            "input 'tokens' allows ragged batches, and is FP32 [-1,-1] in the graph",
        ),
        (&|graph, _| graph.inputs[1].datatype = DataType::Bytes, "is BYTES [-1] in the graph"),
        (&|graph, _| graph.inputs[1].dims[0] = Some(8), "is FP32 [8] in the graph"),
        (&|graph, _| drop(graph.inputs.remove(1)), "input 'tokens' allows ragged batches, and"),
        (&|graph, _| drop(graph.inputs.remove(0)), "batch_input makes 'ends', and the graph has"),
        (
            &|graph, _| graph.inputs[0].datatype = DataType::Int64,
            "input 'ends' is INT64 in the graph, and the data_type of its batch_input is INT32",
        ),
        (
            &|_, config| {
                let made = &mut config.ragged.as_mut().unwrap().made[0];
                made.kind = BatchInputKind::ItemShape;
            },
            "input 'ends' has the dimensions [-1] in the graph, and its batch_input [-1,2]",
        ),
        (
            &|_, config| config.expected_outputs[0].dims = Some(vec![-1, 2, -1]),
            "output 'doubled' has dims [-1,2,-1], and its batch_output takes their sizes from input",
        ),
    ];
    for (change, wanted) in cases {
        let error = changed(change);
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
}
