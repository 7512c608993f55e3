//! Tests that every mistake is told with its line and field, in the words of the schema.

use super::*;
use crate::config::BatchInputKind;

/// Asserts that each text has an error that says this.
fn check(cases: &[(&str, &str)], read: fn(&str, &str) -> Read) {
    for (text, wanted) in cases {
        let error = read(text, "m").unwrap_err();
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
}

#[test]
fn a_field_that_is_not_there_or_there_twice() {
    let cases = [
        (
            "# a\nmax_batch_siez: 4",
            "line 2: there is no field 'max_batch_siez': perhaps max_batch_size",
        ),
        (
            "input {\n scope: 3 }",
            "line 2: input[0]: there is no field 'scope'; the fields here are name, ",
        ),
        ("max_batch_size: 4\nmax_batch_size: 8", "line 2: max_batch_size: it stands there twice"),
        ("input {}", "line 1: input[0]: needs a name"),
        (
            "input [ { name: 'x' },\n { name: 'x' } ]",
            "line 2: input[1].name: is 'x', as another input",
        ),
        (
            "dynamic_batching {}\nsequence_batching {}",
            "line 2: sequence_batching: it and dynamic_batching exclude",
        ),
        ("parameters { value { string_value: '1' } }", "line 1: parameters: an entry needs a key"),
    ];
    check(&cases, from_text);
}

#[test]
fn a_value_of_another_kind() {
    let cases = [
        (
            "max_batch_size: 99999999999",
            "line 1: max_batch_size: is 99999999999, and must be a whole number from -2147483648",
        ),
        ("max_batch_size: 1.5", "line 1: max_batch_size: is 1.5, and must be a whole number"),
        ("max_batch_size: '4'", "line 1: max_batch_size: is \"4\", and must be a whole number"),
        ("max_batch_size { }", "max_batch_size: is a group of fields, and must be a whole number"),
        ("name: m", "line 1: name: is m, and must be a text in quotes"),
        (
            "response_cache: true",
            "response_cache: is true, and must be a group of fields; the fields here are enable",
        ),
        (
            "input [\n{ name: 'x'\n data_type: FP32 } ]",
            "line 3: input[0].data_type: is FP32, and must be one of TYPE_INVALID, TYPE_BOOL, ",
        ),
        (
            "instance_group {\nkind: \"KIND_CPU\" }",
            "line 2: instance_group[0].kind: is \"KIND_CPU\" in quotes, and its values have none",
        ),
        (
            "input { name: 'x' dims: [ 3,\n 8 8 ] }",
            "line 2: input.dims: a `,` is missing before `8`",
        ),
        ("input { name: 'x' dims: [ 3,\n x ] }", "line 2: input[0].dims[1]: is x, and must be"),
        ("parameters: 3", "line 1: parameters: is 3: each entry is a group"),
    ];
    check(&cases, from_text);
}

#[test]
fn a_value_that_is_not_served() {
    let cases = [
        ("name: 'other'", "line 1: name: is 'other', and the folder's name is 'm'"),
        ("\n\nbackend: 'pytorch'", "line 3: backend: is 'pytorch', and only ONNX"),
        ("max_batch_size: -1", "line 1: max_batch_size: is -1: at least 0"),
        ("input { name: 'x' dims: [ 3,\n -2 ] }", "line 1: input[0].dims: -2 is no size"),
        ("\nsequence_batching {}", "line 2: sequence_batching: sequences are not supported"),
        ("ensemble_scheduling {}", "line 1: ensemble_scheduling: ensembles are not supported"),
        (
            "model_repository_agents {\n agents { name: 'c' } }",
            "line 1: model_repository_agents: they would",
        ),
        ("instance_group {\n count: -1 }", "line 2: instance_group[0].count: is -1: at least 0"),
        (
            "instance_group { count: 9999 }",
            "instance_group[0].count: makes 9999 instances: set the counts to 1024",
        ),
        ("instance_group { passive: true }", "line 1: instance_group: all are passive"),
        (
            "model_warmup { inputs { key: 'x' value { dims: -1 } } }",
            "line 1: model_warmup[0].inputs[\"x\"].dims: -1 is no size",
        ),
        (
            "version_policy { specific { versions: -1 } }",
            "version_policy.specific.versions: -1 is no version",
        ),
        (
            "\nmodel_operations { op_library_filename: '../x.so' }",
            "line 2: model_operations.op_library_filename[0]: is '../x.so', and must be",
        ),
        (
            "metric_tags { key: 'a-b' value: 'c' }",
            "line 1: metric_tags[\"a-b\"]: the name of a label",
        ),
        (
            "parameters {\n key: 'intra_op_thread_count' value { string_value: 'many' } }",
            "parameters[\"intra_op_thread_count\"]: is 'many', and must be a number from 0 to 1024",
        ),
        (
            "output { name: 'y' label_filename: '../x' }",
            "output[0].label_filename: is '../x', and must be",
        ),
    ];
    check(&cases, from_text);
}

#[test]
fn batching_that_contradicts_itself() {
    let cases = [
        (
            "max_batch_size: 4 dynamic_batching {\n preferred_batch_size: [ 2,\n8 ] }",
            "line 3: dynamic_batching.preferred_batch_size[1]: is 8, and max_batch_size is 4",
        ),
        (
            "dynamic_batching { preferred_batch_size: -4 }",
            "line 1: dynamic_batching.preferred_batch_size[0]: is -4: at least 1",
        ),
        (
            "dynamic_batching { priority_levels: 3 }",
            "dynamic_batching.default_priority_level: is level 0: the levels are 1 to 3",
        ),
        (
            "dynamic_batching { default_priority_level: 3 }",
            "default_priority_level: needs priority_levels",
        ),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value {} } }",
            "dynamic_batching.priority_queue_policy: needs priority_levels",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 1\n priority_queue_policy { key: 3 value {} } }",
            "line 2: dynamic_batching.priority_queue_policy: is level 3: the levels are 1 to 2",
        ),
    ];
    check(&cases, from_text);
}

#[test]
fn a_mistake_in_json_has_its_field() {
    let cases = [
        (
            r#"{"input": [{"name": "x", "data_type": "FP32"}]}"#,
            "input[0].data_type: is FP32, and must be one of",
        ),
        (
            r#"{"max_batch_size": "many"}"#,
            "max_batch_size: is \"many\", and must be a whole number",
        ),
        (r#"{"max_batch_size": true}"#, "max_batch_size: is true, and must be"),
        (r#"{"maxbatchsize": 4}"#, "there is no field 'maxbatchsize': perhaps max_batch_size"),
        (
            r#"{"input": {"name": "x"}}"#,
            "input: is a group of fields, and must be a list in brackets",
        ),
        (r#"{"parameters": [1]}"#, "parameters: is a list: must be an object"),
        (
            r#"{"dynamic_batching": {"priority_queue_policy": {"x": {}}}}"#,
            "priority_queue_policy: a key is \"x\"",
        ),
        ("{\n\"a\": }", "line 2: not valid JSON at column 6"),
        ("[]", "the configuration must be a JSON object"),
    ];
    check(&cases, from_json);
}

#[test]
fn a_reshape_that_changes_the_elements() {
    let read = |dims: &str, shape: &str| {
        let reshape = format!("reshape {{ shape: [ {shape} ] }}");
        from_text(&format!("output {{\n name: 'y' dims: [ {dims} ]\n {reshape} }}"), "m")
    };
    for (dims, shape, wanted) in [
        ("1", "", &[][..]),
        ("3, 4, 4", "1, 3, 4, 4", &[1, 3, 4, 4]),
        ("2, 4, -1, 6", "8, -1, 1, 6", &[8, -1, 1, 6]),
        ("-1, -1", "-1, 1, -1", &[-1, 1, -1]),
    ] {
        let (config, _) = read(dims, shape).unwrap();
        assert_eq!(
            config.expected_outputs[0].reshape.as_deref(),
            Some(wanted),
            "{dims} to {shape}"
        );
    }
    let huge = "4000000000, 4000000000, 4000000000";
    for (dims, shape) in [
        ("2", ""),
        ("3, 8, 8", "2, 3, 8, 8"),
        ("-1, 2", "2, -1"),
        ("-1", "-1, -1"),
        ("-1", ""),
        ("1", "-1"),
        ("1", "0"),
        (huge, huge),
    ] {
        let error = read(dims, shape).unwrap_err();
        assert!(error.starts_with("line 3: output[0].reshape: of output 'y' is ["), "{error}");
    }
}

#[test]
fn ragged_batches_that_do_not_fit() {
    let made = |rest: &str| {
        format!(
            "max_batch_size: 4 input {{ name: 'x' dims: -1 allow_ragged_batch: true }}\n\
             output {{ name: 'y' dims: -1 }}\n{rest}"
        )
    };
    let (config, _) = from_text(
        &made(
            "batch_input { target_name: 'i' data_type: TYPE_INT32 source_input: 'x' kind: BATCH_ITEM_SHAPE }
             batch_output { target_name: 'y' source_input: 'x' }",
        ),
        "m",
    )
    .unwrap();
    let ragged = config.ragged.unwrap();
    assert!(ragged.inputs.contains("x") && ragged.scattered[0].source == "x");
    assert_eq!(ragged.made[0].kind, BatchInputKind::ItemShape);
    for (rest, wanted) in [
        (
            "batch_input { target_name: 'i' source_input: 'x' data_type: TYPE_BOOL }",
            "line 3: batch_input[0].data_type: must be TYPE_INT32 or TYPE_FP32",
        ),
        (
            "batch_input { target_name: 'i' data_type: TYPE_INT32\nsource_input: 'z' }",
            "line 4: batch_input[0].source_input: is 'z', which is no input",
        ),
        ("batch_input { target_name: 'i' data_type: TYPE_INT32 }", "has 0 inputs: exactly one"),
        (
            "batch_input { target_name: 'x' source_input: 'x' data_type: TYPE_INT32 }",
            "line 3: batch_input[0].target_name: is 'x', which requests bring",
        ),
        (
            "batch_output { source_input: 'x' }",
            "line 3: batch_output[0].target_name: has 0 names: exactly one",
        ),
        (
            "batch_output { target_name: 'z' source_input: 'x' }",
            "batch_output[0].target_name: is 'z', which is no output of the configuration",
        ),
        (
            "batch_output [ { target_name: 'y' source_input: 'x' },\n\
             { target_name: 'y' source_input: 'x' } ]",
            "line 4: batch_output[1].target_name: is 'y', as another",
        ),
        (
            "batch_output { target_name: 'y' source_input: 's' }
             input { name: 's' dims: 1 reshape { shape: [] } }",
            "batch_output[0].source_input: is 's', which has a reshape",
        ),
    ] {
        let error = from_text(&made(rest), "m").unwrap_err();
        assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
    }
    for (text, wanted) in [
        ("dims: -1", "requests share a batch only if max_batch_size is above 0"),
        ("} max_batch_size: 4 input { name: 'z'", "needs the dims of a request's row"),
        ("dims: 1 reshape { shape: [] } } max_batch_size: 4 input { name: 'z'", "for a reshape"),
        ("dims: 1 optional: true } max_batch_size: 4 input { name: 'z'", "it is optional"),
        ("dims: 1 data_type: TYPE_STRING } max_batch_size: 4 input { name: 'z'", "for numbers"),
    ] {
        let text = format!("input {{ name: 'x'\nallow_ragged_batch: true\n{text} }}");
        let error = from_text(&text, "m").unwrap_err();
        let place = "line 2: input[0].allow_ragged_batch: ";
        assert!(error.starts_with(place) && error.contains(wanted), "'{error}'");
    }
    let error = from_text("batch_input { target_name: 'i' }", "m").unwrap_err();
    assert!(error.starts_with("line 1: batch_input[0]: requests share a batch only"), "{error}");
}
