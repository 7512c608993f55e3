//! Which models share runs, and what warming up says when it fails.

use super::*;
use crate::batch::Outputs;
use crate::config::WarmUpInput;
use crate::executor::Executor;
use crate::executor::puppet::{Ran, bytes, echo, puppet};
use crate::testing::{signature, spec};
use smallvec::smallvec;
use std::sync::{Arc, Mutex};

/// Rows as bytes.
type Table = Vec<Vec<u8>>;

/// A model of rows.
type Mixer = fn(Table) -> Table;

/// One input and one output of this datatype and, but for the rows, shape.
fn like(datatype: DataType, rest: &[Option<usize>]) -> Signature {
    let dims = [&[None], rest].concat();
    Signature {
        inputs: vec![spec("x", datatype, &dims)],
        outputs: vec![spec("y", datatype, &dims)],
        ..Signature::default()
    }
}

/// What `rows` says of a model that makes the rows of its output from those of its input.
fn verdict(signature: &Signature, model: impl Fn(Table) -> Table + Send + 'static) -> Rows {
    let output = signature.outputs[0].clone();
    let mut executor = puppet(move |inputs| {
        let all = bytes(&inputs[0]);
        let table = model(all.chunks(all.len() / inputs[0].shape[0]).map(<[u8]>::to_vec).collect());
        let mut shape = inputs[0].shape.clone();
        shape[0] = table.len();
        let (name, datatype) = (output.name.clone(), output.datatype);
        let outputs = [OutputTensor { name, datatype, shape, data: table.concat().into() }];
        Ok(Outputs::from_iter(outputs))
    });
    rows(&mut *executor, signature)
}

/// Ways in which a row's output depends on other rows, or on their number.
const MIXERS: [(&str, Mixer); 9] = [
    ("reversed", |table| table.into_iter().rev().collect()),
    ("the first for all", |table| vec![table[0].clone(); table.len()]),
    ("the last for all", |table| vec![table[table.len() - 1].clone(); table.len()]),
    ("the one before", |mut table| {
        table.rotate_right(1);
        table
    }),
    ("in order", |mut table| {
        table.sort();
        table
    }),
    ("the largest so far", |mut table| {
        (1..table.len()).for_each(|i| table[i] = table[i].clone().max(table[i - 1].clone()));
        table
    }),
    ("the smallest so far", |mut table| {
        (1..table.len()).for_each(|i| table[i] = table[i].clone().min(table[i - 1].clone()));
        table
    }),
    ("one row for all", |mut table| {
        table.truncate(1);
        table
    }),
    ("twice as many", |table| [table.clone(), table].concat()),
];

#[test]
fn rows_that_touch_each_other_do_not_share_runs() {
    for datatype in DataType::ALL {
        for rest in [&[][..], &[Some(1)], &[Some(3)], &[None]] {
            let signature = like(datatype, rest);
            assert_eq!(verdict(&signature, |table| table), Rows::Independent, "{datatype}");
            for (name, mixer) in MIXERS {
                let verdict = verdict(&signature, mixer);
                assert!(matches!(verdict, Rows::NotIndependent(_)), "{datatype} {rest:?}: {name}");
            }
        }
    }
}

#[test]
fn small_numbers_are_compared_as_closely_as_large_ones() {
    for scale in [1e-9_f32, 1e-4, 1.0, 1e6] {
        let each = |table: &Table, f: &dyn Fn(f32) -> f32| -> Table {
            let value = |row: &Vec<u8>| f32::from_le_bytes(row[..4].try_into().unwrap());
            table.iter().map(|row| f(value(row)).to_le_bytes().to_vec()).collect()
        };
        let alone = move |table: Table| each(&table, &|x| x * scale);
        let by_the_sum = move |table: Table| {
            let sum: f32 =
                table.iter().map(|row| f32::from_le_bytes(row[..4].try_into().unwrap())).sum();
            each(&table, &|x| x / sum * scale)
        };
        let signature = like(DataType::Fp32, &[Some(1)]);
        assert_eq!(verdict(&signature, alone), Rows::Independent, "{scale}");
        assert_ne!(verdict(&signature, by_the_sum), Rows::Independent, "{scale}");
    }
}

#[test]
fn a_little_rounding_is_no_difference() {
    // The more rows, the more the last bits differ, as with kernels for each size.
    let rounding = |table: Table| {
        let factor = 1.0 + 1e-6 * table.len() as f32;
        let value = |row: &Vec<u8>| f32::from_le_bytes(row[..4].try_into().unwrap());
        table.iter().map(|row| (value(row) * factor).to_le_bytes().to_vec()).collect()
    };
    assert_eq!(verdict(&like(DataType::Fp32, &[]), rounding), Rows::Independent);
}

#[test]
fn a_fixed_first_dimension_is_named() {
    for (inputs, outputs, named) in [(Some(1), None, "'x'"), (None, Some(1), "'y'")] {
        let mut signature = like(DataType::Fp32, &[]);
        signature.inputs[0].dims = smallvec![inputs];
        signature.outputs[0].dims = smallvec![outputs];
        let Rows::NotIndependent(why) = verdict(&signature, |table| table) else { panic!() };
        assert!(why.contains(named), "{why}");
    }
    let mut scalar = like(DataType::Fp32, &[]);
    scalar.outputs[0].dims = smallvec![];
    assert_ne!(verdict(&scalar, |table| table), Rows::Independent);
}

fn failing() -> Box<dyn Executor> {
    puppet(|_| -> Ran { Err(ExecuteError::Failed("no".into())) })
}

#[test]
fn when_made_up_inputs_do_not_run_the_names_of_dimensions_decide() {
    let named = |x: &str, y: &str| {
        let mut signature = like(DataType::Fp32, &[]);
        signature.inputs[0].dim_names = vec![x.into()];
        signature.outputs[0].dim_names = vec![y.into()];
        rows(&mut *failing(), &signature)
    };
    assert_eq!(named("batch", "batch"), Rows::Independent);
    assert_ne!(named("batch", "other"), Rows::Independent);
    assert_ne!(named("", ""), Rows::Independent);
    assert_ne!(rows(&mut *failing(), &like(DataType::Fp32, &[])), Rows::Independent);
}

#[test]
fn a_model_that_runs_on_one_row_only_does_not_share_runs() {
    let mut signature = like(DataType::Fp32, &[]);
    signature.inputs[0].dim_names = vec!["batch".into()];
    signature.outputs[0].dim_names = vec!["batch".into()];
    let mut executor = puppet(|inputs| match inputs[0].shape[0] {
        1 => Ok(echo(inputs)),
        rows => Err(ExecuteError::Failed(format!("not with {rows}"))),
    });
    let Rows::NotIndependent(why) = rows(&mut *executor, &signature) else { panic!() };
    assert!(why.contains("not with 4"), "{why}");
}

/// What an executor was fed: the shape and the bytes of every input of every run.
type Fed = Arc<Mutex<Vec<Vec<(Shape, Vec<u8>)>>>>;

fn watched() -> (Box<dyn Executor>, Fed) {
    let fed = Fed::default();
    let seen = Arc::clone(&fed);
    let executor = puppet(move |inputs| {
        let run = inputs.iter().map(|input| (input.shape.clone(), bytes(input))).collect();
        seen.lock().unwrap().push(run);
        Ok(Outputs::new())
    });
    (executor, fed)
}

fn input(dims: &[usize], data: WarmUpData) -> WarmUpInput {
    WarmUpInput { dims: dims.into(), data }
}

/// Two inputs: floats `x` `[batch, any]` and strings `s` `[batch]`.
fn two_inputs() -> Signature {
    let inputs =
        vec![spec("x", DataType::Fp32, &[None, None]), spec("s", DataType::Bytes, &[None])];
    Signature { inputs, ..signature(8) }
}

#[test]
fn configured_runs_are_made_as_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("warmup")).unwrap();
    std::fs::write(folder.path().join("warmup/two"), [7; 16]).unwrap();
    let zeros = WarmUp { rows: 3, count: 2, ..WarmUp::default() };
    let file = WarmUp {
        rows: 2,
        inputs: [("x".into(), input(&[2], WarmUpData::File("two".into())))].into(),
        ..WarmUp::default()
    };
    let (mut executor, fed) = watched();
    let wanted = [zeros, file];
    configured(&mut *executor, &two_inputs(), &wanted, folder.path()).unwrap();
    let fed = fed.lock().unwrap();
    let shape = |sizes: &[usize]| Shape::from_slice(sizes);
    let x = (shape(&[3, OPEN_DIM]), vec![0; 3 * OPEN_DIM * 4]);
    assert_eq!(fed[0], [x, (shape(&[3]), vec![0; 12])]);
    assert_eq!(fed[1], fed[0]);
    assert_eq!(fed[2], [(shape(&[2, 2]), vec![7; 16]), (shape(&[2]), vec![0; 8])]);
    assert_eq!(fed.len(), 3);
}

#[test]
fn a_configured_run_that_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |executor: &mut dyn Executor, rows: usize, name: &str, data: WarmUpInput| {
        let inputs = [(name.to_owned(), data)].into();
        let wanted = WarmUp { name: "first".into(), rows, inputs, ..WarmUp::default() };
        configured(executor, &two_inputs(), &[wanted], folder.path()).unwrap_err()
    };
    let (mut fine, fed) = watched();
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
    assert!(fed.lock().unwrap().is_empty());
}
