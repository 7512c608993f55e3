//! Tests which models are padded, and the reasons given for the others.

use super::*;
use crate::config::Fill;
use crate::executor::puppet::{bytes, echo, puppet};
use crate::signature::TensorSpec;
use crate::testing::{floats, spec};
use smallvec::smallvec;

/// A signature of numbers and their mask, both `[batch, ?]`, and an output.
fn signature() -> Signature {
    Signature {
        inputs: ["x", "mask"].map(|name| spec(name, DataType::Fp32, &[None, None])).into(),
        outputs: vec![spec("y", DataType::Fp32, &[None, None])],
        ..crate::testing::signature()
    }
}

fn named(signature: Signature, names: [&str; 2]) -> Signature {
    let named = |(spec, name): (TensorSpec, &str)| TensorSpec {
        dim_names: vec!["batch".into(), name.into()],
        ..spec
    };
    Signature { inputs: signature.inputs.into_iter().zip(names).map(named).collect(), ..signature }
}

fn batching() -> Batching {
    Batching { rows_max: 8, ..Batching::default() }
}

fn both() -> PaddingConfig {
    let fills = [("x".to_owned(), Fill::Integer(0)), ("mask".to_owned(), Fill::Float(0.0))];
    PaddingConfig { inputs: fills.into() }
}

/// Function from a row of numbers and their mask to a row of the output.
type Row = fn(&[f32], &[f32]) -> Vec<f32>;

/// An executor that applies a function to each row.
fn of_rows(row: Row) -> Box<dyn Executor> {
    puppet(move |inputs| {
        if inputs[0].shape != inputs[1].shape {
            return Err(ExecuteError::Request("sizes differ".into()));
        }
        let (x, mask) = (floats(&bytes(&inputs[0])), floats(&bytes(&inputs[1])));
        let size = inputs[0].shape[1];
        let rows: Vec<_> = x.chunks(size).zip(mask.chunks(size)).map(|(x, m)| row(x, m)).collect();
        let output = OutputTensor {
            name: "y".into(),
            datatype: DataType::Fp32,
            shape: smallvec![rows.len(), rows[0].len()],
            data: rows.concat().iter().flat_map(|number| number.to_le_bytes()).collect(),
        };
        Ok(smallvec![output])
    })
}

fn decided(row: Row) -> Result<Padding, String> {
    decide(&mut *of_rows(row), &signature(), &batching(), &both()).unwrap()
}

fn masked_sum(x: &[f32], mask: &[f32]) -> f32 {
    x.iter().zip(mask).map(|(x, mask)| x * mask).sum()
}

#[test]
fn only_outputs_that_follow_a_padded_axis_are_cut_back() {
    let padding = decided(|x, mask| vec![masked_sum(x, mask); 3]).unwrap();
    assert_eq!(padding.outputs, [Axes::from_slice(&[None, None])]);
    let padding = decided(|x, mask| x.iter().map(|one| one * masked_sum(x, mask)).collect());
    assert_eq!(padding.unwrap().outputs, [Axes::from_slice(&[None, Some(0)])]);
}

#[test]
fn a_model_whose_outputs_change_under_padding_is_not_padded() {
    let rows: [(Row, &str); 6] = [
        (|x, _| vec![x.iter().sum::<f32>() / x.len() as f32], "output 'y' is another"),
        (|x, _| x.iter().rev().copied().collect(), "output 'y' is another"),
        (|x, _| vec![x.len() as f32; x.len()], "output 'y' is another"),
        (|_, _| vec![f32::NAN], "output 'y' is another"),
        (|x, _| x[..x.len() / 2].to_vec(), "the size of dimension 1 of output 'y' varies"),
        (|x, _| vec![1.0; x.len() * 2], "the size of dimension 1 of output 'y' varies"),
    ];
    for (row, wanted) in rows {
        let why = decided(row).unwrap_err();
        assert!(why.contains("it changes its answer when padded"), "{why}");
        assert!(why.contains(wanted), "'{why}' should say '{wanted}'");
    }
}

#[test]
fn a_little_rounding_is_no_difference() {
    let off_by = |part: f32| {
        let row = move |inputs: &[BatchInput<'_>]| {
            let x = floats(&bytes(&inputs[0]));
            let factor = if inputs[0].shape[0] == 1 { 1.0 } else { 1.0 + part };
            let data = x.iter().flat_map(|x| (x * factor).to_le_bytes()).collect();
            let (name, shape) = ("y".into(), inputs[0].shape.clone());
            Ok(smallvec![OutputTensor { name, datatype: DataType::Fp32, shape, data }])
        };
        decide(&mut *puppet(row), &signature(), &batching(), &both()).unwrap().is_ok()
    };
    assert!(off_by(1e-6) && !off_by(1e-3));
}

#[test]
fn dimensions_of_different_names_are_tied_by_position() {
    let decided = |names| {
        let signature = named(signature(), names);
        let mut executor = of_rows(|x, mask| vec![masked_sum(x, mask)]);
        decide(&mut *executor, &signature, &batching(), &both()).unwrap()
    };
    for names in [["tokens", "tokens"], ["x_dim_1", "mask_dim_1"], ["", ""]] {
        assert_eq!(decided(names).unwrap().axes, 1, "{names:?}");
    }
}

#[test]
fn a_model_that_can_not_be_tested_is_not_padded() {
    let mut failing = puppet(|_| Err(ExecuteError::Request("no".into())));
    let why = decide(&mut *failing, &signature(), &batching(), &both()).unwrap().unwrap_err();
    assert_eq!(why, "it does not run on synthetic inputs: no");
    let why =
        decide(&mut *failing, &signature(), &Batching::default(), &both()).unwrap().unwrap_err();
    assert_eq!(why, "it runs every request alone");
    let mut alone_only = puppet(|inputs| match inputs[0].shape[0] {
        1 => Ok(echo(&inputs[..1])),
        _ => Err(ExecuteError::Request("not two".into())),
    });
    let why = decide(&mut *alone_only, &signature(), &batching(), &both()).unwrap().unwrap_err();
    assert_eq!(why, "it changes its answer when padded: not two");
}

#[test]
fn settings_that_do_not_fit_are_an_error() {
    let inputs = [("z".to_owned(), Fill::Integer(0))].into();
    let mut executor = of_rows(|x, _| x.to_vec());
    let error =
        decide(&mut *executor, &signature(), &batching(), &PaddingConfig { inputs }).unwrap_err();
    assert!(error.contains("padding.inputs.z"), "{error}");
}

#[test]
fn strings_are_not_cut_back() {
    let strings = |shape: &[usize]| OutputTensor {
        name: "s".into(),
        datatype: DataType::Bytes,
        shape: shape.into(),
        data: bytes::Bytes::new(),
    };
    let follow = |long: &[usize]| follow(&strings(&[1, 7]), &strings(long), &[[7, 13]]);
    assert_eq!(follow(&[1, 7]), Ok(smallvec![None, None]));
    assert!(follow(&[1, 13]).unwrap_err().contains("'s' holds strings"));
}
