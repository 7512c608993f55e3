//! Tests the runs of a warm-up, and its errors.

use super::super::synthetic::OPEN_DIM;
use super::*;
use crate::config::WarmUpInput;
use crate::executor::puppet::{Ran, bytes, puppet};
use crate::executor::{ExecuteError, Executor};
use crate::request::Outputs;
use crate::tensor::{DataType, Shape};
use crate::testing::{signature, spec};
use std::sync::{Arc, Mutex};

fn failing() -> Box<dyn Executor> {
    puppet(|_| -> Ran { Err(ExecuteError::Request("no".into())) })
}

/// Shape and bytes of every input of every run.
type Recorded = Arc<Mutex<Vec<Vec<(Shape, Vec<u8>)>>>>;

fn recording() -> (Box<dyn Executor>, Recorded) {
    let recorded = Recorded::default();
    let runs = Arc::clone(&recorded);
    let executor = puppet(move |inputs| {
        let run = inputs.iter().map(|input| (input.shape.clone(), bytes(input))).collect();
        runs.lock().unwrap().push(run);
        Ok(Outputs::new())
    });
    (executor, recorded)
}

fn input(dims: &[usize], data: WarmUpData) -> WarmUpInput {
    WarmUpInput { datatype: None, dims: dims.into(), data }
}

fn batching() -> Batching {
    Batching { rows_max: 8, ..Batching::default() }
}

/// Two inputs: floats `x` `[batch, any]` and strings `s` `[batch]`.
fn two_inputs() -> Signature {
    let inputs =
        vec![spec("x", DataType::Fp32, &[None, None]), spec("s", DataType::Bytes, &[None])];
    Signature { inputs, ..signature() }
}

#[test]
fn configured_runs_are_made_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("warmup")).unwrap();
    std::fs::write(folder.path().join("warmup/two"), [7; 16]).unwrap();
    let zeros = WarmUp { rows: 3, count: 2, ..WarmUp::default() };
    let file = WarmUp {
        rows: 2,
        inputs: [("x".into(), input(&[2], WarmUpData::File("two".into())))].into(),
        ..WarmUp::default()
    };
    let (mut executor, recorded) = recording();
    let wanted = [zeros, file];
    run_configured(&mut *executor, &two_inputs(), &batching(), &wanted, folder.path()).unwrap();
    let recorded = recorded.lock().unwrap();
    let shape = |sizes: &[usize]| Shape::from_slice(sizes);
    let x = (shape(&[3, OPEN_DIM]), vec![0; 3 * OPEN_DIM * 4]);
    assert_eq!(recorded[0], [x, (shape(&[3]), vec![0; 12])]);
    assert_eq!(recorded[1], recorded[0]);
    assert_eq!(recorded[2], [(shape(&[2, 2]), vec![7; 16]), (shape(&[2]), vec![0; 8])]);
    assert_eq!(recorded.len(), 3);
}

#[test]
fn a_sample_of_one_row_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("warmup")).unwrap();
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.path().join("warmup").join(name), bytes);
    write("x", &[7; 8]).unwrap();
    write("s", b"\x02\0\0\0ab").unwrap();
    write("three", &[7; 12]).unwrap();
    write("text", b"hello").unwrap();
    let run = |executor: &mut dyn Executor, x: &str, s: &str| {
        let file = |dims: &[usize], name: &str| input(dims, WarmUpData::File(name.into()));
        let inputs = [("x".into(), file(&[2], x)), ("s".into(), file(&[], s))].into();
        let wanted = WarmUp { rows: 3, inputs, ..WarmUp::default() };
        run_configured(executor, &two_inputs(), &batching(), &[wanted], folder.path())
    };
    let (mut executor, recorded) = recording();
    run(&mut *executor, "x", "s").unwrap();
    let shape = |sizes: &[usize]| Shape::from_slice(sizes);
    let texts = b"\x02\0\0\0ab".repeat(3);
    assert_eq!(recorded.lock().unwrap()[0], [(shape(&[3, 2]), vec![7; 24]), (shape(&[3]), texts)]);
    for (x, s, wanted) in [
        (
            "three",
            "s",
            "input 'x' 'three': it has 12 bytes: one row needs 8 bytes, and 3 rows need 24",
        ),
        ("x", "text", "input 's' 'text': its 5 bytes are no BYTES elements"),
        ("x", "missing", "warmup/missing"),
    ] {
        let error = run(&mut *executor, x, s).unwrap_err();
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
}

#[test]
fn an_optional_input_is_given_if_it_is_named() {
    let optional_inputs = vec![spec("scale", DataType::Fp32, &[Some(1)])];
    let signature = Signature { optional_inputs, ..two_inputs() };
    let scale = WarmUpInput { datatype: Some(DataType::Fp32), ..input(&[1], WarmUpData::Random) };
    let wanted = WarmUp { inputs: [("scale".into(), scale.clone())].into(), ..WarmUp::default() };
    let (mut executor, _) = recording();
    let folder = Path::new(".");
    let error = run_configured(&mut *executor, &signature, &batching(), &[wanted], folder);
    assert!(error.unwrap_err().contains("takes no inputs that have a default"));
    let scale = WarmUpInput { datatype: Some(DataType::Int64), ..scale };
    let wanted = WarmUp { inputs: [("scale".into(), scale)].into(), ..WarmUp::default() };
    let error = run_configured(&mut *executor, &signature, &batching(), &[wanted], folder);
    let wanted = "input 'scale' is FP32 in the graph, and its data_type INT64";
    assert!(error.unwrap_err().contains(wanted));
}

#[test]
fn a_configured_run_that_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |executor: &mut dyn Executor, rows: usize, name: &str, data: WarmUpInput| {
        let inputs = [(name.to_owned(), data)].into();
        let wanted = WarmUp { name: "first".into(), rows, inputs, ..WarmUp::default() };
        run_configured(executor, &two_inputs(), &batching(), &[wanted], folder.path()).unwrap_err()
    };
    let (mut fine, recorded) = recording();
    let zero = |dims: &[usize]| input(dims, WarmUpData::Zero);
    let file = |name: &str| input(&[2], WarmUpData::File(name.into()));
    let cases = [
        (refusal(&mut *fine, 1, "z", zero(&[])), "no input 'z'"),
        (refusal(&mut *fine, 1, "x", zero(&[2, 2])), "'x' does not take the shape [1, 2, 2]"),
        (refusal(&mut *fine, 1, "x", file("none")), "warmup/none"),
        (refusal(&mut *fine, 1, "x", file("../two")), "'../two'"),
        (refusal(&mut *fine, 9, "x", zero(&[2])), "9 rows"),
        (refusal(&mut *fine, 8, "x", zero(&[1 << 60])), "too large"),
        (refusal(&mut *failing(), 1, "x", zero(&[2])), "no"),
    ];
    for (error, wanted) in cases {
        assert!(error.starts_with("warm-up 'first': "), "{error}");
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
    assert!(recorded.lock().unwrap().is_empty());
}
