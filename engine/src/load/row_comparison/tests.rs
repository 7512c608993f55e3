//! Tests which models the comparison refutes.

use super::*;
use crate::executor::puppet::{Ran, bytes, echo, puppet};
use crate::request::OutputTensor;
use crate::testing::spec;

/// Rows as bytes.
type Table = Vec<Vec<u8>>;

/// A model as a function of its rows.
type Mixer = fn(Table) -> Table;

/// A signature of one input and one output of this datatype and row shape.
fn like(datatype: DataType, rest: &[Option<usize>]) -> Signature {
    let dims = [&[None], rest].concat();
    Signature {
        inputs: vec![spec("x", datatype, &dims)],
        outputs: vec![spec("y", datatype, &dims)],
        ..Signature::default()
    }
}

/// The difference found for a model that maps input rows to output rows.
fn verdict(
    signature: &Signature,
    model: impl Fn(Table) -> Table + Send + 'static,
) -> Option<String> {
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
    difference(&mut *executor, signature, 256)
}

/// Models in which a row's output depends on other rows, or on their number.
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
fn dependent_rows_are_found_in_every_datatype() {
    for datatype in DataType::ALL {
        for rest in [&[][..], &[Some(1)], &[Some(3)], &[None]] {
            let signature = like(datatype, rest);
            assert_eq!(verdict(&signature, |table| table), None, "{datatype}");
            for (name, mixer) in MIXERS {
                let found = verdict(&signature, mixer);
                assert!(found.is_some(), "{datatype} {rest:?}: {name}");
            }
        }
    }
}

#[test]
fn small_numbers_are_compared_relative_to_their_size() {
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
        assert_eq!(verdict(&signature, alone), None, "{scale}");
        assert_ne!(verdict(&signature, by_the_sum), None, "{scale}");
    }
}

#[test]
fn a_little_rounding_is_no_difference() {
    // The last bits differ more with more rows, as with kernels that depend on the batch size.
    let rounding = |table: Table| {
        let factor = 1.0 + 1e-6 * table.len() as f32;
        let value = |row: &Vec<u8>| f32::from_le_bytes(row[..4].try_into().unwrap());
        table.iter().map(|row| (value(row) * factor).to_le_bytes().to_vec()).collect()
    };
    assert_eq!(verdict(&like(DataType::Fp32, &[]), rounding), None);
}

#[test]
fn dependence_that_only_some_values_show_is_found() {
    // One model shows it for values above one, such as pixels; the other for negative values.
    let by_largest = |table: Table| {
        let value = |row: &Vec<u8>| f32::from_le_bytes(row[..4].try_into().unwrap());
        let largest = table.iter().map(value).fold(1.0, f32::max);
        table.iter().map(|row| (value(row) / largest).to_le_bytes().to_vec()).collect()
    };
    let by_sign = |table: Table| {
        let value = |row: &Vec<u8>| f32::from_le_bytes(row[..4].try_into().unwrap());
        let any = table.iter().any(|row| value(row) < 0.0);
        let changed = |x: f32| if any { x + 1.0 } else { x };
        table.iter().map(|row| changed(value(row)).to_le_bytes().to_vec()).collect()
    };
    let signature = like(DataType::Fp32, &[]);
    assert_ne!(verdict(&signature, by_largest), None);
    assert_ne!(verdict(&signature, by_sign), None);
}

#[test]
fn dependence_that_only_large_batches_show_is_found() {
    let from_nine = |mut table: Table| {
        if table.len() > 9 {
            table.reverse();
        }
        table
    };
    assert_ne!(verdict(&like(DataType::Fp32, &[Some(2)]), from_nine), None);
}

#[test]
fn a_rounding_step_is_no_difference() {
    // Imitates kernels that depend on the batch size: a number near a step falls to its other side.
    let stepping = |table: Table| {
        let last = u8::from(table.len() > 1);
        table.into_iter().map(|row| [&row[..row.len() - 1], &[last]].concat()).collect()
    };
    assert_eq!(verdict(&like(DataType::Int32, &[Some(2)]), stepping), None);
}

#[test]
fn a_model_that_fails_on_synthetic_inputs_is_not_refuted() {
    let mut executor = puppet(|_| -> Ran { Err(ExecuteError::Request("no".into())) });
    assert_eq!(difference(&mut *executor, &like(DataType::Fp32, &[]), 256), None);
}

#[test]
fn a_model_that_runs_on_one_row_only_is_refuted() {
    let signature = like(DataType::Fp32, &[]);
    let mut executor = puppet(|inputs| match inputs[0].shape[0] {
        1 => Ok(echo(inputs)),
        rows => Err(ExecuteError::Request(format!("not with {rows}"))),
    });
    let why = difference(&mut *executor, &signature, 256).unwrap();
    assert!(why.contains("not with 4"), "{why}");
}
