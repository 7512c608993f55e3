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

/// `y` is `x` with so many columns more, for x of float32 `[batch, 2]`.
fn wider(columns: u64) -> Model {
    let mut graph = GraphBuilder::new("wider");
    graph
        .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)])
        .initializer("pads", Tensor::new(&[4], &[0, 0, 0, columns as i64]).unwrap())
        .node("Pad", &["x", "pads"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::Unknown]);
    graph.finish().unwrap()
}

/// `y` is the first column of x, and nobody can tell before it runs.
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

/// An executor of `model` that takes the shapes of `proof` for its own.
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

/// The columns of the answer to rows of ones.
fn columns(executor: &mut OrtExecutor, rows: usize) -> usize {
    let data = Payload::from([1.0_f32.to_le_bytes(); 2].concat().repeat(rows));
    let input = BatchInput { shape: smallvec![rows, 2], parts: SmallVec::from_slice(&[&data]) };
    let outputs = executor.execute(&[input], &Stop::default()).unwrap().outputs;
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
fn a_proven_output_has_a_buffer_that_is_used_again() {
    let mut executor = executor(&wider(3), &wider(3));
    for rows in [1, 4, 1] {
        assert_eq!(columns(&mut executor, rows), 5);
        assert!(executor.relies_on_proofs && has_bound(&executor));
    }
}

#[test]
fn a_proof_that_is_wrong_costs_no_answer() {
    let mut executor = executor(&picked(), &wider(3));
    for rows in [1, 4, 1] {
        assert_eq!(columns(&mut executor, rows), 1);
        assert!(!executor.relies_on_proofs && !has_bound(&executor));
    }
}
