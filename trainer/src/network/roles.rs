//! Which constants of a graph are learned, and how.

use crate::layout::EntryKind;
use skysail_graph::{Graph, Node};
use std::collections::HashMap;

/// What is learned of each value that a constant could be, by name: what follows from where the
/// value goes, and from nothing else. Weights of products, convolutions and embeddings are
/// learned, biases and scales, and what is added or multiplied where it is more than one number.
pub(crate) fn of<'a>(graph: Graph<'a>) -> HashMap<&'a str, EntryKind> {
    let mut roles: HashMap<&str, EntryKind> = HashMap::new();
    let nodes: Vec<Node<'a>> = graph.nodes().filter(|node| node.domain().is_empty()).collect();
    // From the end on: what only lays a value out passes its role back.
    for node in nodes.iter().rev() {
        for (input, name) in node.inputs().iter().enumerate() {
            let made = node.outputs().first().map(String::as_str).unwrap_or_default();
            let passed =
                (input == 0 && passes_on(node.op_type())).then(|| roles.get(made).copied());
            if let Some(role) = passed.flatten().or_else(|| direct(node.op_type(), input)) {
                let known = roles.entry(name).or_insert(role);
                if role == EntryKind::Weight {
                    *known = role;
                }
            }
        }
    }
    roles
}

/// Whether what the operator makes is its first input, laid out in another way.
fn passes_on(operator: &str) -> bool {
    let operators = ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
    operators.contains(&operator)
}

/// What a constant is as this input of the operator.
fn direct(operator: &str, input: usize) -> Option<EntryKind> {
    match (operator, input) {
        ("Conv" | "MatMul", 1) | ("Gemm" | "MatMul", 0) | ("Gemm", 1) | ("Gather", 0) => {
            Some(EntryKind::Weight)
        }
        ("Conv" | "Gemm", 2) | ("BatchNormalization" | "LayerNormalization", 1 | 2) => {
            Some(EntryKind::Bias)
        }
        ("Add" | "Mul", _) | ("PRelu", 1) => Some(EntryKind::Bias),
        ("BatchNormalization", 3 | 4) => Some(EntryKind::Statistic),
        _ => None,
    }
}

/// Whether a constant of these dimensions is learned in this role: one number that is added or
/// multiplied is most often part of a formula, such as that of GELU.
pub(crate) fn is_learned(role: EntryKind, shape: &[usize]) -> bool {
    role != EntryKind::Bias || !shape.is_empty()
}
