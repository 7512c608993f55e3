//! A model with more of its values as outputs.

use crate::protobuf::put_field;
use skysail_graph::{GraphError, Model};
use std::collections::HashSet;

/// Numbers of fields: a model's graph, a graph's outputs, a value's name (ONNX's `onnx.proto`).
const GRAPH: u64 = 7;
const OUTPUT: u64 = 12;
const NAME: u64 = 1;

/// Returns the model as bytes, with these values as outputs after its own. Their types are left
/// open: ONNX Runtime infers them.
///
/// A protobuf message may come in parts that are merged. So the outputs are written behind the
/// model, as a second part of it.
///
/// # Errors
/// `TooLarge`, see [`Model::to_bytes`].
pub fn bytes_with_outputs(model: &Model, values: &[String]) -> Result<Vec<u8>, GraphError> {
    let mut bytes = model.to_bytes()?;
    let outputs = model.graph().outputs();
    let mut known: HashSet<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let mut graph = Vec::new();
    for value in values.iter().filter(|value| known.insert(value)) {
        let mut output = Vec::new();
        put_field(&mut output, NAME, value.as_bytes());
        put_field(&mut graph, OUTPUT, &output);
    }
    put_field(&mut bytes, GRAPH, &graph);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::mlp;

    #[test]
    fn inner_values_become_outputs() {
        let model = mlp(&[4, 3, 2], 1).unwrap();
        let graph = model.graph();
        let inner = graph.nodes().next().unwrap().outputs()[0].clone();
        let long = format!("{inner}{}", "x".repeat(300));
        let own = graph.outputs()[0].name.clone();
        let bytes = bytes_with_outputs(&model, &[own, inner.clone(), inner.clone(), long.clone()]);
        let bytes = bytes.unwrap();
        let before = model.to_bytes().unwrap();
        assert_eq!(bytes[..before.len()], before);
        let mut expected = vec![0x0A, inner.len() as u8];
        expected.extend(inner.as_bytes());
        assert!(bytes[before.len()..].windows(expected.len()).any(|part| part == expected));
        assert_eq!(bytes[bytes.len() - long.len()..], *long.as_bytes());
    }
}
