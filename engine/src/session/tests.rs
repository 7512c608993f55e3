//! Tests outputs whose proven shape is right, or wrong.

use super::OrtExecutor;
use crate::executor::{BatchInput, Executor, Stop};
use crate::payload::Payload;
use crate::signature::ProvenShapes;
use crate::testing::floats;
use ort::session::Session;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// A model whose output is `x` with more columns; `x` is float32 `[batch, 2]`.
fn wider(columns: u64) -> Model {
    let mut graph = GraphBuilder::new("wider");
    graph
        .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)])
        .initializer("pads", Tensor::new(&[4], &[0, 0, 0, columns as i64]).unwrap())
        .node("Pad", &["x", "pads"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::Unknown]);
    graph.finish().unwrap()
}

/// A model whose output is the first column of `x`, which no proof can show.
fn picked() -> Model {
    let mut graph = GraphBuilder::new("picked");
    graph
        .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)])
        .initializer("numbers", Tensor::new(&[2], &[1_i64, 0]).unwrap())
        .node("Cast", &["numbers"], &["is_wanted"], &[("to", Attribute::Int(9))])
        .node("Compress", &["x", "is_wanted"], &["y"], &[("axis", Attribute::Int(1))])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::Unknown]);
    graph.finish().unwrap()
}

/// An executor of `model` that relies on the proven shapes of `proof`.
fn executor(model: &Model, proof: &Model) -> OrtExecutor {
    let environment = skysail_onnxruntime::load(Some(1)).unwrap();
    let mut builder = Session::builder(&environment).unwrap();
    let session = builder.commit_from_memory(&model.to_bytes().unwrap()).unwrap();
    let mut executor = OrtExecutor::first(session).unwrap();
    let mut signature = executor.signature().clone();
    signature.proven = ProvenShapes {
        any_rows: proof.output_shapes(false).into(),
        same_rows: proof.output_shapes(true).into(),
    };
    executor.set_signature(&Arc::new(signature));
    executor
}

/// Rows of ones.
fn ones(rows: usize) -> Payload {
    Payload::from([1.0_f32.to_le_bytes(); 2].concat().repeat(rows))
}

/// The input of a batch.
fn batch(data: &Payload, rows: usize) -> BatchInput<'_> {
    let parts = SmallVec::from_slice(&[data]);
    BatchInput { shape: smallvec![rows, 2], parts, members: vec![] }
}

/// Runs rows of ones, and returns the number of output columns.
fn columns(executor: &mut OrtExecutor, rows: usize) -> usize {
    let data = ones(rows);
    let outputs = executor.execute(&[batch(&data, rows)], &Stop::default()).unwrap().outputs;
    let (shape, values) = (&outputs[0].shape, floats(&outputs[0].data));
    assert_eq!((shape[0], values.len()), (rows, shape[0] * shape[1]));
    let is_right =
        |row: &[f32]| row.iter().enumerate().all(|(at, y)| *y == if at < 2 { 1.0 } else { 0.0 });
    assert!(values.chunks(shape[1]).all(is_right));
    shape[1]
}

fn has_bound(executor: &OrtExecutor) -> bool {
    executor.plans.any_binds()
}

#[test]
fn buffers_of_large_batches_are_given_back_and_those_of_small_ones_stay() {
    let mut executor = executor(&wider(2), &wider(2));
    for rows in [1, 1 << 18] {
        assert_eq!(columns(&mut executor, rows), 4);
    }
    assert!(executor.plans.bytes() > super::IDLE_PLAN_BYTES_MAX);
    let row = ones(1);
    executor.shrink(&[batch(&row, 1)]);
    assert_eq!(executor.plans.bytes(), 8 + 16);
    assert_eq!(columns(&mut executor, 1 << 18), 4);
}

#[test]
fn executors_run_one_session_at_once_and_each_has_its_own_outputs() {
    let mut first = executor(&wider(3), &wider(3));
    let (session, signature) = (Arc::clone(first.session()), Arc::clone(&first.signature));
    let mut others: Vec<OrtExecutor> = (0..3)
        .map(|_| OrtExecutor::new(Arc::clone(&session), Arc::clone(&signature)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for (index, executor) in others.iter_mut().chain([&mut first]).enumerate() {
            scope.spawn(move || {
                for run in 0..500 {
                    assert_eq!(columns(executor, 1 + (run * (index + 3)) % 50), 5);
                }
            });
        }
    });
}

#[test]
fn a_proven_output_has_a_reused_buffer() {
    let mut executor = executor(&wider(3), &wider(3));
    for rows in [1, 4, 1] {
        assert_eq!(columns(&mut executor, rows), 5);
        assert!(executor.relies_on_proofs && has_bound(&executor));
    }
}

#[test]
fn a_wrong_proof_does_not_fail_a_run() {
    let mut executor = executor(&picked(), &wider(3));
    for rows in [1, 4, 1] {
        assert_eq!(columns(&mut executor, rows), 1);
        assert!(!executor.relies_on_proofs && !has_bound(&executor));
    }
}
