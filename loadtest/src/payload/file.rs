//! Reads a request from a file: the JSON body of an inference request.

use super::elements::append_json;
use super::{BYTES_MAX, DataType, Error, Input, Payload, element_count};
use skysail_protocol::json::{InferRequest, Tensor};
use skysail_protocol::parameter::BINARY_DATA_SIZE;
use std::fs;
use std::path::Path;

/// Reads a request, for example `{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32",
/// "data": [1, 2]}]}`.
///
/// # Errors
/// Fails if the file cannot be read, is larger than [`BYTES_MAX`], or is no such request.
pub fn from_file(path: &Path) -> Result<Payload, Error> {
    let fail = |reason: String| Error::File { path: path.display().to_string(), reason };
    let size = fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > BYTES_MAX as u64 {
        return Err(fail(format!("it is larger than {} MiB", BYTES_MAX >> 20)));
    }
    let text = fs::read(path).map_err(|error| fail(error.to_string()))?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let request: InferRequest = serde_json::from_slice(text)
        .map_err(|error| fail(format!("it is not an inference request: {error}")))?;
    let inputs = request.inputs.into_iter().map(input).collect::<Result<_, _>>()?;
    let InferRequest { id, parameters, outputs, .. } = request;
    Ok(Payload { id, parameters, inputs, outputs })
}

fn input(tensor: Tensor) -> Result<Input, Error> {
    let Tensor { name, shape, datatype, mut parameters, data } = tensor;
    let fail = |reason: String| Error::Elements { input: name.clone(), reason };
    let datatype = DataType::from_name(&datatype)
        .ok_or_else(|| Error::Datatype { input: name.clone(), datatype })?;
    let expected =
        element_count(&shape).ok_or_else(|| fail(format!("{shape:?} is not a shape")))?;
    let data = data.ok_or_else(|| fail("it has no `data`".to_owned()))?;
    let mut raw = Vec::new();
    let given = append_json(datatype, &data, &mut raw).map_err(fail)?;
    if given != expected {
        return Err(fail(format!("the shape {shape:?} has {expected} elements, `data` {given}")));
    }
    parameters.remove(BINARY_DATA_SIZE);
    Ok(Input { name, datatype, shape, parameters, raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> Result<Payload, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        from_file(file.path())
    }

    #[test]
    fn a_request_is_read() {
        let payload = read(
            r#"{"id": "a", "parameters": {"priority": 1},
                "inputs": [{"name": "x", "shape": [1, 2], "datatype": "UINT16", "data": [[1, 2]]}],
                "outputs": [{"name": "y"}]}"#,
        )
        .unwrap();
        assert_eq!(payload.id.as_deref(), Some("a"));
        assert_eq!(payload.parameters["priority"], 1);
        assert_eq!(payload.inputs[0].raw, [1, 0, 2, 0]);
        assert_eq!(payload.outputs[0].name, "y");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(read("\u{feff}{\"inputs\": []}").unwrap(), Payload::default());
    }

    #[test]
    fn errors_are_described() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(message("{").contains("it is not an inference request: EOF"));
        assert!(message(r#"{"a": 1}"#).contains("missing field `inputs`"));
        let of = |shape: &str, datatype: &str, data: &str| {
            message(&format!(
                r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}"{data}}}]}}"#
            ))
        };
        assert_eq!(
            of("[2]", "INT8", r#","data":[1]"#),
            "input `x`: the shape [2] has 2 elements, `data` 1"
        );
        assert_eq!(of("[-1]", "INT8", r#","data":[1]"#), "input `x`: [-1] is not a shape");
        assert_eq!(of("[1]", "INT8", ""), "input `x`: it has no `data`");
        assert_eq!(of("[1]", "INT9", ""), "input `x` has the unknown datatype `INT9`");
        let missing = from_file(Path::new("does-not-exist.json")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read does-not-exist.json: No such file"));
    }
}
