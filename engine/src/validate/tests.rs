//! Tests which requests are rejected, with their messages, and which are valid.

use super::*;
use crate::testing::spec;
use bytes::Bytes;
use proptest::prelude::*;
use smallvec::smallvec;

fn signature() -> Signature {
    Signature {
        inputs: vec![
            spec("x", DataType::Fp32, &[None, Some(2)]),
            spec("s", DataType::Bytes, &[None]),
        ],
        outputs: vec![spec("y", DataType::Fp32, &[None])],
        ..Signature::default()
    }
}

/// Batches of up to four rows; larger requests are rejected.
fn batching() -> Batching {
    Batching { rows_max: 4, ..Batching::default() }
}

/// Batches of up to four rows; larger requests run alone.
fn larger_alone() -> Batching {
    Batching { larger_requests_run_alone: true, ..batching() }
}

fn tensor(name: &str, datatype: DataType, shape: &[usize], bytes: usize) -> InputTensor {
    let data = vec![0; bytes].into();
    InputTensor { name: name.into(), datatype, shape: shape.into(), data }
}

fn request(rows: usize) -> Request {
    Request {
        inputs: smallvec![
            tensor("s", DataType::Bytes, &[rows], 4 * rows),
            tensor("x", DataType::Fp32, &[rows, 2], 8 * rows),
        ],
        ..Request::default()
    }
}

fn refusal(request: Request) -> String {
    validate(request, &signature(), &batching()).unwrap_err().to_string()
}

#[test]
fn puts_inputs_into_the_models_order() {
    let admitted = validate(request(3), &signature(), &batching()).unwrap();
    assert_eq!(admitted.rows, 3);
    assert_eq!(admitted.inputs[0].shape.as_slice(), [3, 2]);
    assert_eq!(admitted.inputs[1].data.len(), 12);
}

#[test]
fn no_rows_at_all_are_fine() {
    assert_eq!(validate(request(0), &signature(), &batching()).unwrap().rows, 0);
}

#[test]
fn requests_whose_rows_have_no_elements_share_no_run() {
    let inputs = vec![spec("x", DataType::Fp32, &[None, None])];
    let signature = Signature { inputs, ..signature() };
    let batch_key = |rows: usize, size: usize| {
        let inputs = smallvec![tensor("x", DataType::Fp32, &[rows, size], 4 * rows * size)];
        validate(Request { inputs, ..Request::default() }, &signature, &batching())
            .unwrap()
            .batch_key
    };
    assert_eq!(batch_key(1, 2), batch_key(3, 2));
    assert_eq!(batch_key(0, 2), batch_key(3, 2));
    assert_ne!(batch_key(1, 0), batch_key(1, 0));
}

#[test]
fn every_misfit_has_its_own_message() {
    let with = |change: fn(&mut Request)| {
        let mut request = request(2);
        change(&mut request);
        refusal(request)
    };
    let cases = [
        (with(|r| r.inputs[0].name = "z".into()), "no input 'z'; its inputs are 'x', 's'"),
        (with(|r| drop(r.inputs.pop())), "input 'x' is missing"),
        (with(|r| r.inputs.push(r.inputs[0].clone())), "'s' stands in the request twice"),
        (with(|r| r.outputs = vec!["q".into()]), "no output 'q'; its outputs are 'y'"),
        (with(|r| r.outputs = vec!["y".into(), "y".into()]), "'y' is asked for twice"),
        (with(|r| r.inputs[1].datatype = DataType::Int32), "INT32, and the model takes FP32"),
        (with(|r| r.inputs[1].shape = smallvec![2, 3]), "shape [2,3], and the model takes [-1,2]"),
        (with(|r| r.inputs[1].data = vec![0; 15].into()), "brings 15 bytes, and its shape"),
        (with(|r| r.inputs[0].data = vec![0; 7].into()), "1 whole BYTES elements in 7 bytes"),
        (with(|r| r.inputs[0] = tensor("s", DataType::Bytes, &[1], 4)), "'s' has 1 rows"),
        (refusal(request(5)), "batch-size must be <= 4: the request has 5 rows"),
    ];
    for (message, wanted) in cases {
        assert!(message.contains(wanted), "'{message}' should say '{wanted}'");
    }
}

/// One input without fixed sizes.
fn open(datatype: DataType, dims: usize) -> Signature {
    Signature { inputs: vec![spec("x", datatype, &vec![None; dims])], ..signature() }
}

fn validate_one(
    input: InputTensor,
    signature: &Signature,
    batching: &Batching,
) -> Result<ValidRequest, InvalidRequest> {
    validate(Request { inputs: smallvec![input], ..Request::default() }, signature, batching)
}

#[test]
fn a_shape_that_is_too_large_is_refused() {
    let open = open(DataType::Fp64, 2);
    let too_large = [
        [usize::MAX, 3],
        [usize::MAX / 8, 2],
        [usize::MAX, 1],
        // No elements at all, and yet rows that the model would have to give something for.
        [usize::MAX, 0],
        [0, EMPTY_ELEMENTS_MAX + 1],
    ];
    for shape in too_large {
        let error = validate_one(tensor("x", DataType::Fp64, &shape, 0), &open, &larger_alone())
            .unwrap_err();
        assert_eq!(error, InvalidRequest::TooManyElements("x".into()), "{shape:?}");
    }
    let empty = tensor("x", DataType::Fp64, &[EMPTY_ELEMENTS_MAX, 0], 0);
    assert_eq!(validate_one(empty, &open, &larger_alone()).unwrap().rows, EMPTY_ELEMENTS_MAX);
}

#[test]
fn a_larger_request_passes_only_where_it_may_run_alone() {
    let signature = open(DataType::Int8, 1);
    let nine = || tensor("x", DataType::Int8, &[9], 9);
    assert_eq!(validate_one(nine(), &signature, &larger_alone()).unwrap().rows, 9);
    let error = validate_one(nine(), &signature, &batching()).unwrap_err();
    assert_eq!(error, InvalidRequest::TooManyRows { rows: 9, limit: 4 });
    // Without batching the first dimension is like the others.
    let alone = Batching::default();
    assert_eq!(validate_one(nine(), &signature, &alone).unwrap().rows, 1);
}

#[test]
fn a_scalar_has_no_dimensions_and_one_element() {
    let (signature, alone) = (open(DataType::Fp16, 0), Batching::default());
    let scalar = tensor("x", DataType::Fp16, &[], 2);
    assert_eq!(validate_one(scalar, &signature, &alone).unwrap().rows, 1);
    for (shape, bytes) in [(&[][..], 0), (&[1][..], 2)] {
        validate_one(tensor("x", DataType::Fp16, shape, bytes), &signature, &alone).unwrap_err();
    }
}

#[test]
fn outputs_keep_the_order_in_which_they_are_asked_for() {
    let output = |name| spec(name, DataType::Fp32, &[None]);
    let signature =
        Signature { outputs: ["a", "b", "c"].map(output).into(), ..open(DataType::Bool, 1) };
    let wanting = |names: &[&str]| Request {
        inputs: smallvec![tensor("x", DataType::Bool, &[1], 1)],
        outputs: names.iter().map(|&name| name.into()).collect(),
        ..Request::default()
    };
    let places = |names| validate(wanting(names), &signature, &batching()).unwrap().outputs;
    assert_eq!(places(&["c", "a"]).as_slice(), [2, 0]);
    assert!(places(&[]).is_empty());
}

#[test]
fn lengths_of_strings_are_checked_to_the_last_byte() {
    let signature = open(DataType::Bytes, 1);
    let send = |pieces: &[&'static [u8]], count: usize| {
        let mut input = tensor("x", DataType::Bytes, &[count], 0);
        input.data = Payload::default();
        pieces.iter().for_each(|&piece| input.data.push(Bytes::from_static(piece)));
        validate_one(input, &signature, &batching())
    };
    // Two strings, the second of two bytes, in one piece and torn inside a length and a letter.
    assert!(send(&[b"\0\0\0\0\x02\0\0\0\xC3\xA9"], 2).is_ok());
    assert!(send(&[b"\0\0\0", b"\0\x02\0", b"\0\0\xC3", b"\xA9"], 2).is_ok());
    let wrong: [(&[u8], usize); 6] = [
        (b"\0\0\0\0", 2),
        (b"\0\0\0\0", 0),
        (b"", 1),
        (b"\0\0\0", 1),
        (b"\x01\0\0\0ab", 1),
        (b"\xFF\xFF\xFF\xFFab", 1),
    ];
    for (bytes, count) in wrong {
        let error = send(&[bytes], count).unwrap_err();
        assert!(matches!(error, InvalidRequest::WrongBytesElements { .. }), "{bytes:?}: {error}");
    }
}

proptest! {
    #[test]
    fn whatever_is_let_in_fits(
        shape in prop::collection::vec(prop_oneof![0..5_usize, any::<usize>()], 0..4),
        data in prop::collection::vec(0..6_u8, 0..64),
        (sent, taken) in (0..14_usize, 0..14_usize),
        rows_max in 0..3_usize,
    ) {
        let (sent, taken) = (DataType::ALL[sent], DataType::ALL[taken]);
        let batches = rows_max > 0;
        let signature = open(taken, shape.len().max(usize::from(batches)));
        let batching = Batching { rows_max, ..larger_alone() };
        let input = InputTensor {
            name: "x".into(),
            datatype: sent,
            shape: shape.as_slice().into(),
            data: data.clone().into(),
        };
        let Ok(admitted) = validate_one(input, &signature, &batching) else { return Ok(()) };
        prop_assert_eq!(sent, taken);
        let count = elements(&shape).unwrap();
        match sent.element_bytes() {
            Some(element_bytes) => prop_assert_eq!(count * element_bytes, data.len()),
            None => prop_assert_eq!(crate::tensor::bytes_elements(&data).count(), count),
        }
        prop_assert_eq!(admitted.rows, if batches { shape[0] } else { 1 });
        prop_assert!(admitted.rows <= EMPTY_ELEMENTS_MAX);
    }
}
