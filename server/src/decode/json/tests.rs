//! Tests of decoding JSON requests.

use super::*;
use skysail_engine::parameters::ParameterValue;

fn error(json: &str) -> String {
    decode(json.as_bytes()).unwrap_err().to_string()
}

/// A request with these fields in its only input.
fn input_with(fields: &str) -> String {
    format!("{{\"inputs\": [{{\"name\": \"x\", {fields}}}]}}")
}

#[test]
fn keys_may_have_any_order() {
    let json = r#"{"outputs": [{"name": "y", "parameters": {"binary_data": true}}],
        "inputs": [{"data": [[1, 2]], "extra": {}, "shape": [1, 2], "datatype": "INT8",
        "name": "x \"q\""}], "id": "7", "parameters": {"timeout": 5}}"#;
    let decoded = decode(json.as_bytes()).unwrap();
    let input = &decoded.request.inputs[0];
    assert_eq!((input.name.as_str(), input.shape.as_slice()), ("x \"q\"", &[1, 2][..]));
    assert_eq!(&*input.data.contiguous(), [1, 2]);
    assert_eq!((decoded.id.as_str(), decoded.request.timeout_us), ("7", Some(5)));
    assert!(decoded.is_binary(0));
}

#[test]
fn every_mistake_has_its_own_message() {
    let input = input_with;
    let cases = [
        (error("{"), "can not be read"),
        (error("[]"), "the body must be an object with 'inputs', not []"),
        (error(""), "can not be read"),
        (error("{}"), "no 'inputs'"),
        (error(r#"{"inputs": null}"#), "no 'inputs'"),
        (error(r#"{"instances": [1]}"#), "/v1/models/NAME:predict"),
        (error(r#"{"inputs": {}}"#), "'inputs' must be a list of objects, not {}"),
        (error(r#"{"inputs": [7]}"#), "inputs[0] must be an object, not 7"),
        (error(r#"{"inputs": [{"shape": [1]}]}"#), "inputs[0] has no 'name'"),
        (error(r#"{"id": 7, "inputs": []}"#), "'id' must be a text, not 7"),
        (error(r#"{"inputs": [], "outputs": [{}]}"#), "outputs[0] has no 'name'"),
        (error(r#"{"inputs": [], "outputs": [{"name": 1}]}"#), "outputs[0]: 'name' must be a text"),
        (error(&input("\"shape\": [1], \"data\": [1]")), "input 'x' has no 'datatype'"),
        (error(&input("\"datatype\": \"INT8\", \"data\": [1]")), "input 'x' has no 'shape'"),
        (error(&input("\"shape\": [1], \"datatype\": \"INT8\"")), "no 'data'"),
        (
            error(&input("\"shape\": [-1], \"datatype\": \"INT8\", \"data\": []")),
            "input 'x': 'shape' must be a list of natural numbers, not [-1]",
        ),
        (error(&input("\"shape\": \"-1\"")), "natural numbers, not \"-1\""),
        (error(&input("\"shape\": [[1]]")), "natural numbers, not [[1]]"),
        (error(&input("\"shape\": [1.0]")), "natural numbers, not [1.0]"),
        (error(&input("\"shape\": [1], \"datatype\": \"FLOAT\"")), "'FLOAT' is not one of"),
        (error(&input("\"datatype\": 7")), "'datatype' must be a text"),
        (
            error(&input(r#""shape": [1], "datatype": "INT8", "data": ["a"]"#)),
            "input 'x': an element of 'data' must be a number for INT8, not \"a\"",
        ),
        (
            error(&input(r#""parameters": {"binary_data_size": "4"}"#)),
            "input 'x': parameter 'binary_data_size' must be a natural number, not \"4\"",
        ),
        (error(r#"{"inputs": [], "parameters": 3}"#), "'parameters' must be an object, not 3"),
        (
            error(r#"{"inputs": [], "parameters": {"timeout": "soon"}}"#),
            "parameter 'timeout' must be a natural number, not \"soon\"",
        ),
        (error(r#"{"inputs": [], "inputs": []}"#), "'inputs' stands there twice"),
        (error(&input("\"name\": \"x\"")), "'name' stands there twice"),
        (error(&input("\"data\": [], \"data\": []")), "'data' stands there twice"),
    ];
    for (message, wanted) in cases {
        assert!(message.contains(wanted), "'{message}' should say '{wanted}'");
    }
}

#[test]
fn custom_parameters_of_every_owner_are_kept() {
    let json = r#"{"parameters": {"tenant": "blue", "headers": {"a": [1, NaN]}, "weight": 0.5,
        "timeout": null}, "inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1],
        "parameters": {"content_type": "np"}}],
        "outputs": [{"name": "y", "parameters": {"content_type": null}}]}"#;
    let decoded = decode(json.as_bytes()).unwrap();
    let expected = [
        (ParameterOwner::Request, "tenant", ParameterValue::Text("blue")),
        (ParameterOwner::Request, "headers", ParameterValue::Json("{\"a\": [1, NaN]}")),
        (ParameterOwner::Request, "weight", ParameterValue::Float(0.5)),
        (ParameterOwner::Input(0), "content_type", ParameterValue::Text("np")),
        (ParameterOwner::Output(0), "content_type", ParameterValue::Null),
    ];
    assert!(decoded.request.parameters.iter().eq(expected), "{}", decoded.request.parameters);
}

#[test]
fn null_means_absent() {
    let json = r#"{"id": null, "parameters": null, "outputs": null, "inputs": [{"name": "x",
        "shape": [1], "datatype": "INT8", "parameters": null, "data": [1]}], "more": null}"#;
    let decoded = decode(json.as_bytes()).unwrap();
    assert!(decoded.id.is_empty() && decoded.request.outputs.is_empty());
    assert!(decoded.request.parameters.is_empty());
    let data = input_with(r#""shape": [1], "datatype": "INT8", "data": null"#);
    assert!(error(&data).contains("no 'data'"));
    assert!(error(&input_with(r#""shape": null"#)).contains("no 'shape'"));
}

#[test]
fn base64_is_taken_when_the_input_says_so() {
    let data = r#""data": [{"b64": "aGk="}], "shape": [1], "datatype": "BYTES""#;
    let asked = format!("{data}, \"parameters\": {{\"b64\": true}}");
    let decoded = decode(input_with(&asked).as_bytes()).unwrap();
    assert_eq!(&*decoded.request.inputs[0].data.contiguous(), b"\x02\0\0\0hi");
    let message = error(&input_with(data));
    assert!(message.contains("input 'x'") && message.contains("\"b64\": true"), "{message}");
}

#[test]
fn a_huge_shape_reserves_no_memory() {
    let fields = InputFields { shape: Some([1 << 40].into_iter().collect()), ..Default::default() };
    assert_eq!(fields.expected_bytes(DataType::Fp64, 100), 51 * 8);
    let fields = InputFields { shape: Some([usize::MAX, 2].into_iter().collect()), ..fields };
    assert_eq!(fields.expected_bytes(DataType::Fp64, 100), 0);
}

#[test]
fn an_unsupported_parameter_keeps_its_kind_of_error() {
    let json = r#"{"inputs": [], "parameters": {"sequence_id": 7}}"#;
    assert!(matches!(decode(json.as_bytes()), Err(Error::Unsupported(_))));
}

#[test]
fn an_input_in_shared_memory_has_no_data() {
    let place = r#""parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 1}"#;
    let fields = format!(r#""datatype": "INT8", "shape": [1], {place}"#);
    let decoded = decode(input_with(&fields).as_bytes()).unwrap();
    assert_eq!(decoded.places.unwrap().inputs[0].1.region, "r");
    let both = format!("{fields}, \"data\": [1]");
    let error = decode(input_with(&both).as_bytes()).unwrap_err().to_string();
    assert!(error.contains("data and parameter shared_memory_region: one only"), "{error}");
}

#[test]
fn invalid_utf8_is_an_error_with_the_reason() {
    assert!(decode(b"{\"id\": \"\xff\"}").unwrap_err().to_string().contains("not UTF-8"));
}
