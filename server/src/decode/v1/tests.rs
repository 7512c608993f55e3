//! Tests of decoding V1 requests.

use super::*;
use skysail_engine::tensor::DataType;

fn spec(name: &str, datatype: DataType, dims: &[Option<usize>]) -> TensorSpec {
    let dims = dims.iter().copied().collect();
    TensorSpec {
        name: name.into(),
        datatype,
        dims,
        dim_names: vec![],
        any_rank: false,
        reshape: None,
    }
}

fn signature(inputs: Vec<TensorSpec>) -> Signature {
    Signature { inputs, ..Signature::default() }
}

/// One input of rows of two numbers.
fn pairs() -> Signature {
    signature(vec![spec("x", DataType::Int8, &[None, Some(2)])])
}

/// Two inputs by name.
fn named() -> Signature {
    signature(vec![
        spec("age", DataType::Int8, &[None, Some(1)]),
        spec("name", DataType::Bytes, &[None]),
    ])
}

/// Shape and data of each input, and the instances.
type Read = (Vec<(Vec<usize>, Vec<u8>)>, Instances);

fn read(json: &str, signature: &Signature) -> Result<Read, String> {
    let decoded = decode(json.as_bytes(), signature).map_err(|error| error.to_string())?;
    let inputs = decoded.request.inputs.iter();
    let inputs = inputs.map(|input| (input.shape.to_vec(), input.data.contiguous().to_vec()));
    Ok((inputs.collect(), decoded.instances))
}

#[test]
fn instances_are_rows_of_the_only_input() {
    let expected = || (vec![(vec![2, 2], vec![1, 2, 3, 4])], Instances::Rows(2));
    for json in [
        r#"{"instances": [[1, 2], [3, 4]]}"#,
        r#"{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}"#,
        r#"{"inputs": [[1, 2], [3, 4]]}"#,
        r#"{"inputs": {"x": [[1, 2], [3, 4]]}, "signature_name": "serving_default"}"#,
    ] {
        assert_eq!(read(json, &pairs()), Ok(expected()), "{json}");
    }
    let none = read(r#"{"instances": []}"#, &pairs()).unwrap();
    assert_eq!(none, (vec![(vec![0], vec![])], Instances::Rows(0)));
}

#[test]
fn columns_have_names_and_the_ranks_of_the_model() {
    let json = r#"{"instances": [{"age": 3, "name": "a"}, {"name": {"b64": "/w"}, "age": 4}]}"#;
    let (inputs, instances) = read(json, &named()).unwrap();
    assert_eq!(inputs[0], (vec![2, 1], vec![3, 4]));
    assert_eq!(inputs[1], (vec![2], b"\x01\0\0\0a\x01\0\0\0\xff".to_vec()));
    assert_eq!(instances, Instances::Rows(2));
}

#[test]
fn one_instance_may_be_the_whole_input() {
    let whole = signature(vec![spec("x", DataType::Int8, &[Some(3)])]);
    let (inputs, instances) = read(r#"{"instances": [[1, 2, 3]]}"#, &whole).unwrap();
    assert_eq!((inputs[0].0.as_slice(), instances), (&[3][..], Instances::One));
    let (inputs, instances) = read(r#"{"instances": [1, 2, 3]}"#, &whole).unwrap();
    assert_eq!((inputs[0].0.as_slice(), instances), (&[3][..], Instances::Rows(3)));
}

#[test]
fn base64_is_a_value_and_no_object_of_names() {
    let texts = signature(vec![spec("s", DataType::Bytes, &[None])]);
    let (inputs, _) = read(r#"{"instances": [{"b64": "/w=="}, "a"]}"#, &texts).unwrap();
    assert_eq!(inputs[0], (vec![2], b"\x01\0\0\0\xff\x01\0\0\0a".to_vec()));
}

#[test]
fn every_mistake_has_its_own_message() {
    let pairs = |json: &str| read(json, &pairs()).unwrap_err();
    let named = |json: &str| read(json, &named()).unwrap_err();
    for (message, wanted) in [
        (pairs("[]"), "the body must be an object with 'instances'"),
        (pairs("{}"), "neither 'instances' nor 'inputs'"),
        (pairs(r#"{"instances": null}"#), "neither 'instances' nor 'inputs'"),
        (pairs(r#"{"instances": 3}"#), "'instances' must be a list, not 3"),
        (pairs(r#"{"instances": [[1, 2]], "inputs": []}"#), "once only"),
        (pairs(r#"{"instances": [[1, 2], [3]]}"#), "'instances': lists inside each other must"),
        (pairs(r#"{"instances": [1, [2]]}"#), "equal lengths"),
        (pairs(r#"{"instances": [[1], 2]}"#), "equal lengths"),
        (pairs(r#"{"instances": [[], 2]}"#), "equal lengths"),
        (pairs(r#"{"instances": [["a", 2]]}"#), "must be a number for INT8, not \"a\""),
        (pairs(r#"{"instances": [{"z": 1}]}"#), "instances[0]: the model has no input 'z'"),
        (named(r#"{"instances": [1, 2]}"#), "objects by name, as the model has the inputs 'age'"),
        (named(r#"{"inputs": [1, 2]}"#), "objects by name"),
        (named(r#"{"instances": [{"age": 1}, 2]}"#), "instances[1]: it must be an object"),
        (named(r#"{"instances": [{"age": 1}, {}]}"#), "instances[1]: it has no 'age'"),
        (
            named(r#"{"instances": [{"age": 1}, {"age": 1, "name": "a"}]}"#),
            "instances[1]: 'name' is not in the instances before",
        ),
        (named(r#"{"instances": [{"age": 1, "age": 1}]}"#), "'age' stands there twice"),
        (named(r#"{"inputs": {"age": [1], "age": [1]}}"#), "'age' stands in 'inputs' twice"),
        (named(r#"{"inputs": {"age": ["a"]}}"#), "input 'age': an element"),
        (named(r#"{"instances": [{"age": 1}"#), "can not be read"),
    ] {
        assert!(message.contains(wanted), "'{message}' should say '{wanted}'");
    }
}
