//! Roles of a graph's constants in training.

use crate::layout::EntryKind;
use skysail_graph::{Graph, Node};
use std::collections::HashMap;

/// Roles of values by name. A role depends only on the consumers of a value. Trained are the
/// weights of products, convolutions and embeddings, as well as biases and scales. So are summands
/// and factors of more than one number.
pub(crate) fn of<'a>(graph: Graph<'a>) -> HashMap<&'a str, EntryKind> {
    let mut roles: HashMap<&str, EntryKind> = HashMap::new();
    let nodes: Vec<Node<'a>> = graph.nodes().filter(|node| node.domain().is_empty()).collect();
    // From the end, as operators that change the layout pass their output's role back.
    for node in nodes.iter().rev() {
        for (input, name) in node.inputs().iter().enumerate() {
            let result = node.outputs().first().map(String::as_str).unwrap_or_default();
            let passed = (input == 0 && changes_layout_only(node.op_type()))
                .then(|| roles.get(result).copied());
            if let Some(role) = passed.flatten().or_else(|| role_of_input(node.op_type(), input)) {
                let known = roles.entry(name).or_insert(role);
                if role == EntryKind::Weight {
                    *known = role;
                }
            }
        }
    }
    roles
}

/// Returns true for operators that only change the layout or type of their first input.
fn changes_layout_only(operator: &str) -> bool {
    let operators = ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
    operators.contains(&operator)
}

/// Role of a constant at this input of the operator.
fn role_of_input(operator: &str, input: usize) -> Option<EntryKind> {
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

/// Returns true if a constant of these dimensions is trained in this role. A single summand or
/// factor is usually part of a formula, such as that of GELU.
pub(crate) fn is_trained(role: EntryKind, shape: &[usize]) -> bool {
    role != EntryKind::Bias || !shape.is_empty()
}
