//! Tests of V1 responses.

use super::*;
use skysail_engine::request::Stages;
use std::time::Instant;

fn output(name: &str, datatype: DataType, shape: &[usize], data: &[u8]) -> OutputTensor {
    let (shape, data) = (shape.iter().copied().collect(), Bytes::copy_from_slice(data));
    OutputTensor { name: name.into(), datatype, shape, data }
}

fn predictions(outputs: Vec<OutputTensor>, instances: Instances) -> String {
    let now = Instant::now();
    let stages = Stages::without_run(now, now, None);
    let response = Response { model: "m".into(), version: 1, outputs: outputs.into(), stages };
    let body = respond(&response, instances, NonFinite::Nan).unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn one_output_is_a_list_of_predictions() {
    let y = || output("y", DataType::Uint8, &[2, 2], &[1, 2, 3, 4]);
    let body = predictions(vec![y()], Instances::Rows(2));
    assert_eq!(body, r#"{"predictions":[[1,2],[3,4]]}"#);
    let labels = output("label", DataType::Bytes, &[2], b"\x01\0\0\0a\x02\0\0\0\xff\xfe");
    let body = predictions(vec![labels], Instances::Rows(2));
    assert_eq!(body, r#"{"predictions":["a",{"b64":"//4="}]}"#);
}

#[test]
fn several_outputs_are_a_list_of_objects() {
    let label = output("label", DataType::Bytes, &[2], b"\x01\0\0\0a\x00\0\0\0");
    let score = output("score", DataType::Uint8, &[2, 1], &[7, 8]);
    let body = predictions(vec![label, score], Instances::Rows(2));
    let rows = r#"[{"label":"a","score":[7]},{"label":"","score":[8]}]"#;
    assert_eq!(body, format!("{{\"predictions\":{rows}}}"));
}

#[test]
fn outputs_without_rows_are_whole() {
    let y = || output("y", DataType::Uint8, &[3], &[1, 2, 3]);
    let sum = || output("sum", DataType::Uint8, &[], &[6]);
    assert_eq!(predictions(vec![y()], Instances::One), r#"{"predictions":[[1,2,3]]}"#);
    assert_eq!(predictions(vec![y()], Instances::Rows(2)), r#"{"predictions":[1,2,3]}"#);
    assert_eq!(predictions(vec![sum()], Instances::Rows(2)), r#"{"predictions":[6]}"#);
    let both = predictions(vec![y(), sum()], Instances::Rows(3));
    assert_eq!(both, r#"{"predictions":{"y":[1,2,3],"sum":6}}"#);
    let none = output("y", DataType::Uint8, &[0, 2], &[]);
    assert_eq!(predictions(vec![none], Instances::Rows(0)), r#"{"predictions":[]}"#);
}
