//! Describes a graph in words, to investigate a violation.

use crate::generator::{Generator, used_names};
use onnx_protobuf::NodeProto;
use std::collections::HashSet;

impl Generator {
    /// Describes the nodes that these values need, with their inputs.
    pub(crate) fn describe(&self, outputs: &[String]) -> String {
        let mut lines = vec![format!("opset {}", self.opset)];
        for input in &self.inputs {
            let rest = &input.rest;
            lines.push(format!(
                "  {}: {} [n, {rest:?}] {:?}",
                input.name, input.element, input.sides
            ));
        }
        let nodes = self.needed(outputs);
        let used: HashSet<String> = nodes.iter().flat_map(used_names).collect();
        for tensor in self.constants.iter().filter(|tensor| used.contains(&tensor.name)) {
            let mut said =
                format!("  {} = type {} {:?}", tensor.name, tensor.data_type, tensor.dims);
            if tensor.data_type == 7 {
                let numbers = tensor.raw_data.chunks_exact(8);
                let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().unwrap());
                said += &format!(" {:?}", numbers.map(number).collect::<Vec<_>>());
            }
            lines.push(said);
        }
        lines.extend(nodes.iter().map(|node| format!("  {}", describe(node))));
        lines.push(format!("  outputs {outputs:?}"));
        lines.join("\n")
    }
}

fn describe(node: &NodeProto) -> String {
    let attributes = node.attribute.iter().map(|attribute| {
        let graph = attribute.g.as_ref().map(|graph| {
            let nodes: Vec<String> = graph.node.iter().map(describe).collect();
            let inputs: Vec<&String> = graph.input.iter().map(|input| &input.name).collect();
            let outputs: Vec<&String> = graph.output.iter().map(|output| &output.name).collect();
            format!("{{{inputs:?} {} {outputs:?}}}", nodes.join("; "))
        });
        let text = String::from_utf8_lossy(&attribute.s);
        let (name, int, ints) = (&attribute.name, attribute.i, &attribute.ints);
        format!("{name}={int}{ints:?}{text}{}", graph.unwrap_or_default())
    });
    let attributes: Vec<String> = attributes.collect();
    let (name, inputs, outputs) = (&node.op_type, &node.input, &node.output);
    format!("{outputs:?} = {name}{inputs:?} {}", attributes.join(" "))
}
