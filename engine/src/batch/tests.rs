//! Every member of a batch gets what it would have got alone.

use super::Outputs;
use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::executor::BatchInput;
use crate::executor::puppet::{bytes, puppet};
use crate::replica::ClassId;
use crate::request::{InputTensor, OutputTensor, Request, Response};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape, bytes_elements, elements, push_bytes_element};
use crate::testing::{block_on, endpoint, run_waiting, spec};
use proptest::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Deterministic data of this shape.
fn data(datatype: DataType, shape: &[usize], seed: u64) -> Vec<u8> {
    let mut data = Vec::new();
    for element in 0..elements(shape).unwrap() {
        push_element(&mut data, datatype, digest(&(seed, element)));
    }
    data
}

fn push_element(data: &mut Vec<u8>, datatype: DataType, value: u64) {
    match datatype {
        DataType::Bytes => {
            let letters = b"abcdef";
            push_bytes_element(data, &letters[..(value % 7) as usize]);
        }
        _ => data.extend_from_slice(&value.to_le_bytes()[..datatype.element_bytes().unwrap()]),
    }
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The shape of so many rows. No dimension is open but the first.
fn shape_for(spec: &TensorSpec, rows: usize) -> Shape {
    let rest = spec.dims[1..].iter().map(|dim| dim.unwrap());
    std::iter::once(spec.dims[0].unwrap_or(rows)).chain(rest).collect()
}

/// The bytes of each row of an input.
fn split_rows(spec: &TensorSpec, input: &BatchInput<'_>) -> Vec<Vec<u8>> {
    let (all, rows) = (bytes(input), input.shape[0]);
    let row_elements = elements(&input.shape[1..]).unwrap();
    let Some(element_bytes) = spec.datatype.element_bytes() else {
        let elements: Vec<&[u8]> = bytes_elements(&all).collect();
        return elements.chunks(row_elements).map(|row| row.join(&b'|')).collect();
    };
    assert_eq!(all.len(), rows * row_elements * element_bytes);
    all.chunks(row_elements * element_bytes).map(<[u8]>::to_vec).collect()
}

/// A model each of whose output rows is a digest of the same row of all inputs.
fn run(signature: &Signature, inputs: &[BatchInput<'_>]) -> Outputs {
    let rows = inputs[0].shape[0];
    let split: Vec<_> =
        signature.inputs.iter().zip(inputs).map(|(s, input)| split_rows(s, input)).collect();
    let output = |(index, spec): (usize, &TensorSpec)| {
        let shape = shape_for(spec, rows);
        let mut data = Vec::new();
        for row in 0..rows {
            let seen: Vec<&Vec<u8>> = split.iter().map(|input| &input[row]).collect();
            for element in 0..elements(&shape[1..]).unwrap() {
                push_element(&mut data, spec.datatype, digest(&(&seen, index, element)));
            }
        }
        OutputTensor { name: spec.name.clone(), datatype: spec.datatype, shape, data: data.into() }
    };
    signature.outputs.iter().enumerate().map(output).collect()
}

/// Tensors that one member of a batch sends.
#[derive(Clone, Debug)]
struct Member {
    rows: usize,
    seed: u64,
    /// Places of the outputs that it asks for, each at most once.
    outputs: Vec<usize>,
}

impl Member {
    fn request(&self, signature: &Signature) -> Request {
        let input = |(index, spec): (usize, &TensorSpec)| {
            let shape = shape_for(spec, self.rows);
            let data = data(spec.datatype, &shape, self.seed + index as u64).into();
            InputTensor { name: spec.name.to_string(), datatype: spec.datatype, shape, data }
        };
        let inputs = signature.inputs.iter().enumerate().map(input);
        let outputs = self.outputs.iter().map(|&place| signature.outputs[place].name.to_string());
        Request {
            // In the order that is not the model's.
            inputs: inputs.rev().collect(),
            outputs: outputs.collect(),
            ..Request::default()
        }
    }

    /// Outputs of the model for this member alone.
    fn alone(&self, signature: &Signature) -> Vec<OutputTensor> {
        let mut request = self.request(signature);
        request.inputs.reverse();
        let input = |input: &'_ InputTensor| input.shape.clone();
        let inputs: Vec<BatchInput<'_>> = request
            .inputs
            .iter()
            .map(|i| BatchInput {
                shape: input(i),
                parts: [&i.data].into_iter().collect(),
                members: vec![],
            })
            .collect();
        let all = run(signature, &inputs);
        match self.outputs.as_slice() {
            [] => all.into_vec(),
            wanted => wanted.iter().map(|&place| all[place].clone()).collect(),
        }
    }
}

fn datatypes() -> impl Strategy<Value = DataType> {
    prop::sample::select(vec![DataType::Fp32, DataType::Int64, DataType::Bytes, DataType::Bool])
}

/// Named tensors of rows; `widths` are the numbers of elements of a row.
fn specs(
    prefix: &'static str,
    count: std::ops::Range<usize>,
    widths: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<TensorSpec>> {
    prop::collection::vec((datatypes(), widths), count).prop_map(move |tensors| {
        let tensors = tensors.into_iter().enumerate();
        let named = |(index, (datatype, width)): (usize, (DataType, usize))| {
            spec(&format!("{prefix}{index}"), datatype, &[None, Some(width)])
        };
        tensors.map(named).collect()
    })
}

fn members(outputs: usize) -> impl Strategy<Value = Vec<Member>> {
    let wanted = prop::sample::subsequence((0..outputs).collect::<Vec<_>>(), 0..=outputs);
    let member = (0..5_usize, any::<u32>(), wanted.prop_shuffle())
        .prop_map(|(rows, seed, outputs)| Member { rows, seed: seed.into(), outputs });
    prop::collection::vec(member, 1..9)
}

fn cases() -> impl Strategy<Value = (Signature, Vec<Member>)> {
    (specs("x", 1..4, 1..4), specs("y", 1..5, 0..4)).prop_flat_map(|(inputs, outputs)| {
        let members = members(outputs.len());
        let signature = Signature { inputs, outputs, ..Signature::default() };
        (Just(signature), members)
    })
}

fn same(response: &Response, wanted: &[OutputTensor]) {
    let plain = |o: &OutputTensor| (o.name.clone(), o.datatype, o.shape.clone(), o.data.clone());
    let got: Vec<_> = response.outputs.iter().map(plain).collect();
    assert_eq!(got, wanted.iter().map(plain).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn a_member_gets_what_it_would_have_got_alone((signature, members) in cases()) {
        let runner = Arc::new(signature.clone());
        let executor = puppet(move |inputs| Ok(run(&runner, inputs)));
        let batching = Batching { rows_max: 64, ..Batching::default() };
        let endpoint = endpoint((signature.clone(), batching), vec![executor], ModelConfig::default());
        endpoint.model().queue().observe(ClassId::default(), 1, 1.0);
        let submit = |member: &Member| endpoint.submit(member.request(&signature)).unwrap();
        let tickets: Vec<_> = members.iter().map(submit).collect();
        run_waiting(&endpoint);
        for (ticket, member) in tickets.into_iter().zip(&members) {
            same(&block_on(ticket).unwrap(), &member.alone(&signature));
        }
        prop_assert_eq!(endpoint.statistics().runs(), 1, "they ran together");
        let rows: usize = members.iter().map(|m| m.rows).sum();
        prop_assert_eq!(endpoint.statistics().rows(), rows as u64);
    }
}
