//! Tests that cutting undoes padding for every request of every batch.

use super::*;
use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::execute::run_job;
use crate::executor::BatchInput;
use crate::executor::puppet::{bytes, puppet};
use crate::request::{InputTensor, OutputTensor, Request};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape, elements};
use crate::testing::{block_on, endpoint, spec};
use crate::validate::validate;
use proptest::prelude::*;
use skysail_policy::inline_run::RunOn;
use std::collections::HashSet;

#[test]
fn buckets_double_and_then_grow_by_quarters() {
    let mut buckets: Vec<usize> = (0..=64).map(bucket).collect();
    buckets.dedup();
    assert_eq!(buckets, [0, 1, 2, 4, 8, 16, 20, 24, 28, 32, 40, 48, 56, 64]);
}

proptest! {
    #[test]
    fn a_bucket_is_little_larger_than_its_sizes(size in 1..=usize::MAX / 2) {
        let bucket = bucket(size);
        prop_assert!(bucket >= size);
        let more_max = if size < 16 { size - 1 } else { size / 4 };
        prop_assert!(bucket - size <= more_max);
        prop_assert_eq!(super::bucket(bucket), bucket);
    }
}

/// A shape, a larger shape, bytes of an element, and data.
fn arrays() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, usize, Vec<u8>)> {
    let sizes = prop::collection::vec((0..4_usize, 0..3_usize), 0..5);
    (sizes, prop::sample::select(vec![1, 2, 4, 8])).prop_flat_map(|(sizes, element_bytes)| {
        let shape: Vec<usize> = sizes.iter().map(|(size, _)| *size).collect();
        let wanted = sizes.iter().map(|(size, more)| size + more).collect::<Vec<_>>();
        let data = prop::collection::vec(any::<u8>(), elements(&shape).unwrap() * element_bytes);
        (Just(shape), Just(wanted), Just(element_bytes), data)
    })
}

/// All indices of a shape, in order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let Some((last, outer)) = shape.split_last() else { return vec![vec![]] };
    let inside = |index: &Vec<usize>| (0..*last).map(|at| [&index[..], &[at]].concat()).collect();
    indices(outer).iter().flat_map(|index| -> Vec<_> { inside(index) }).collect()
}

proptest! {
    #[test]
    fn cutting_undoes_padding(
        (shape, wanted, element_bytes, data) in arrays(),
        fill in any::<[u8; 8]>(),
    ) {
        let fill = &fill[..element_bytes];
        let padded = pad(&data, &shape, &wanted, fill);
        prop_assert_eq!(cut(&padded, &wanted, &shape, element_bytes), data.clone());
        let mut own = data.chunks(element_bytes);
        let indices = indices(&wanted);
        prop_assert_eq!(padded.len(), indices.len() * element_bytes);
        for (index, element) in indices.iter().zip(padded.chunks(element_bytes)) {
            let is_own = index.iter().zip(&shape).all(|(at, size)| at < size);
            prop_assert_eq!(element, if is_own { own.next().unwrap() } else { fill });
        }
    }
}

/// A datatype with elements of this many bytes.
fn datatype(element_bytes: usize) -> DataType {
    match element_bytes {
        1 => DataType::Uint8,
        2 => DataType::Fp16,
        4 => DataType::Int32,
        _ => DataType::Fp64,
    }
}

/// Inputs `x` `[batch, a, 2, b]` and `v` `[batch, b]`, and outputs `[batch, a, 2, b]`,
/// `[batch, b, a]` and `[batch]`.
fn padded_model(datatype: DataType, fill: u8) -> (Signature, Batching) {
    let element_bytes = datatype.element_bytes().unwrap();
    let input = |axes: &[Option<usize>]| {
        Some(PaddedInput { axes: axes.into(), fill: smallvec![fill; element_bytes] })
    };
    let padding = Padding {
        inputs: vec![input(&[None, Some(0), None, Some(1)]), input(&[None, Some(1)])],
        outputs: vec![
            smallvec![None, Some(0), None, Some(1)],
            smallvec![None, Some(1), Some(0)],
            smallvec![None],
        ],
        axes: 2,
    };
    let signature = Signature {
        inputs: vec![
            spec("x", datatype, &[None, None, Some(2), None]),
            spec("v", datatype, &[None, None]),
        ],
        outputs: vec![
            spec("y0", datatype, &[None, None, Some(2), None]),
            spec("y1", datatype, &[None, None, None]),
            spec("y2", DataType::Int64, &[None]),
        ],
        ..Signature::default()
    };
    let padding = Some(padding.into());
    (signature, Batching { rows_max: 64, padding, ..Batching::default() })
}

/// Outputs `x`, then each element of `v` repeated by the size of axis `a`. The third output counts
/// the elements in each row of `x` other than `fill`.
fn run(signature: &Signature, inputs: &[BatchInput<'_>], fill: u8) -> Vec<OutputTensor> {
    let (x, v) = (bytes(&inputs[0]), bytes(&inputs[1]));
    let element_bytes = signature.inputs[0].datatype.element_bytes().unwrap();
    let [rows, a, _, b] = inputs[0].shape[..] else { panic!() };
    let fill = vec![fill; element_bytes];
    let transposed = v.chunks(element_bytes).flat_map(|element| element.repeat(a)).collect();
    let row_bytes = a * 2 * b * element_bytes;
    let own = |row: usize| {
        let row = &x[row * row_bytes..(row + 1) * row_bytes];
        row.chunks(element_bytes).filter(|element| *element != fill).count() as i64
    };
    let counts = (0..rows).flat_map(|row| own(row).to_le_bytes()).collect();
    let shapes = [Shape::from_slice(&[rows, a, 2, b]), Shape::from_slice(&[rows, b, a])];
    let shapes = shapes.into_iter().chain([Shape::from_slice(&[rows])]);
    let output = |((spec, shape), data): ((&TensorSpec, Shape), Vec<u8>)| OutputTensor {
        name: spec.name.clone(),
        datatype: spec.datatype,
        shape,
        data: data.into(),
    };
    signature.outputs.iter().zip(shapes).zip([x, transposed, counts]).map(output).collect()
}

/// A request: its rows, the sizes of its axes, and the byte that fills all its elements.
type Member = (usize, usize, usize, u8);

fn inputs(signature: &Signature, (rows, a, b, byte): Member) -> Vec<InputTensor> {
    let shapes = [Shape::from_slice(&[rows, a, 2, b]), Shape::from_slice(&[rows, b])];
    let input = |(spec, shape): (&TensorSpec, Shape)| {
        let bytes = elements(&shape).unwrap() * spec.datatype.element_bytes().unwrap();
        let (name, datatype) = (spec.name.to_string(), spec.datatype);
        InputTensor { name, datatype, shape, data: vec![byte; bytes].into() }
    };
    signature.inputs.iter().zip(shapes).map(input).collect()
}

proptest! {
    #[test]
    fn a_padded_request_gets_the_same_outputs_as_alone(
        members in prop::collection::vec((0..3_usize, 0..30_usize, 0..30_usize, 1..255_u8), 1..9),
        element_bytes in prop::sample::select(vec![1, 2, 4, 8]),
        fill in prop::sample::select(vec![0, 255]),
    ) {
        let (signature, batching) = padded_model(datatype(element_bytes), fill);
        let runner = signature.clone();
        let executor = puppet(move |inputs| Ok(run(&runner, inputs, fill).into()));
        let endpoint = endpoint((signature.clone(), batching), vec![executor], ModelConfig::default());
        let tickets: Vec<_> = members.iter().map(|member| {
            let inputs = inputs(&signature, *member).into_iter().collect();
            endpoint.submit(Request { inputs, ..Request::default() }).unwrap()
        }).collect();
        endpoint.model().queue().close();
        while let Some(mut job) = endpoint.model().queue().next_job() {
            run_job(endpoint.model(), &mut job, RunOn::Caller);
            endpoint.model().queue().finish(job);
        }
        for (ticket, member) in tickets.into_iter().zip(&members) {
            let alone = inputs(&signature, *member);
            let alone: Vec<BatchInput<'_>> = alone.iter().map(|input| {
                BatchInput { shape: input.shape.clone(), parts: [&input.data].into_iter().collect(), members: vec![] }
            }).collect();
            let response = block_on(ticket).unwrap();
            for (got, wanted) in response.outputs.iter().zip(run(&signature, &alone, fill)) {
                prop_assert_eq!(&got.shape, &wanted.shape);
                prop_assert_eq!(&got.data, &wanted.data);
            }
        }
        // Rows without elements run alone.
        let (empty, full): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(|m| m.1 == 0 || m.2 == 0);
        let batch_keys: HashSet<_> = full.iter().map(|m| (bucket(m.1), bucket(m.2))).collect();
        prop_assert_eq!(endpoint.statistics().runs(), (batch_keys.len() + empty.len()) as u64);
    }
}

#[test]
fn contradictory_inputs_do_not_share_runs_with_others() {
    let (signature, batching) = padded_model(DataType::Uint8, 0);
    let batch_key = |a: usize, x_b: usize, v_b: usize| {
        let (x, v) = (inputs(&signature, (1, a, x_b, 7)), inputs(&signature, (1, a, v_b, 7)));
        let inputs = x.into_iter().take(1).chain(v.into_iter().skip(1)).collect();
        validate(Request { inputs, ..Request::default() }, &signature, &batching).unwrap().batch_key
    };
    // Padded to one size they would become valid.
    assert_eq!(batch_key(2, 9, 9), batch_key(2, 10, 10));
    assert_ne!(batch_key(2, 9, 10), batch_key(2, 10, 10));
    assert_ne!(batch_key(2, 9, 10), batch_key(2, 10, 9));
    assert_ne!(batch_key(2, 9, 9), batch_key(2, 17, 17));
    assert_ne!(batch_key(0, 9, 9), batch_key(1, 9, 9));
}
