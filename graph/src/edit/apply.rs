//! Applies collected changes.

use super::wiring::Wiring;
use super::{Edit, Rewire};
use crate::constant::is_constant_of;
use crate::{GraphError, Model, NewNode, scope};
use onnx_protobuf::{GraphProto, NodeProto, OperatorSetIdProto};
use std::collections::{HashMap, HashSet};

/// Checks everything, then changes the model.
pub(super) fn apply(model: &mut Model, edit: Edit) -> Result<(), GraphError> {
    let imports = imports(model, &edit.opsets)?;
    let graph = model.graph().proto();
    let initial = initial(graph, &edit);
    let wiring = Wiring::of(nodes(graph, &edit)?)?;
    let mut rewiring =
        Rewiring { initial, outputs: outputs(graph), wiring, renamed: HashMap::new() };
    for change in &edit.rewires {
        rewiring.make(change)?;
    }
    let Rewiring { initial, outputs, wiring, renamed } = rewiring;
    wiring.check(&initial)?;
    let exists = |name: &&str| initial.contains(name) || wiring.produces(name);
    if let Some(missing) = outputs.iter().find(|name| !exists(name)) {
        return Err(GraphError::no_value(missing, "the graph's end"));
    }
    let known: HashSet<String> =
        initial.iter().copied().chain(wiring.produced()).map(str::to_owned).collect();
    let nodes = wiring.into_sorted()?;

    let graph = model.proto_mut().graph.mut_or_insert_default();
    graph.node = nodes;
    for info in &mut graph.value_info {
        if let Some(name) = renamed.get(&info.name) {
            info.name.clone_from(name);
        }
    }
    graph.value_info.retain(|info| known.contains(&info.name));
    model.proto_mut().opset_import.extend(imports);
    for (name, tensor) in edit.initializers {
        match tensor {
            Some(tensor) => model.set_initializer(&name, tensor),
            None => remove_initializers(
                model.proto_mut().graph.mut_or_insert_default(),
                &HashSet::from([name]),
            ),
        }
    }
    Ok(())
}

/// Removes initializers, and the inputs of their names.
pub(super) fn remove_initializers(graph: &mut GraphProto, names: &HashSet<String>) {
    graph.initializer.retain(|tensor| !names.contains(&tensor.name));
    graph.sparse_initializer.retain(|sparse| !names.contains(&sparse.values.name));
    graph.input.retain(|input| !names.contains(&input.name));
    graph.value_info.retain(|info| !names.contains(&info.name));
}

/// Operator sets that the model lacks.
fn imports(model: &Model, wanted: &[(String, i64)]) -> Result<Vec<OperatorSetIdProto>, GraphError> {
    let mut missing: Vec<OperatorSetIdProto> = Vec::new();
    for (domain, version) in wanted {
        let new = missing.iter().find(|opset| opset.domain == *domain).map(|opset| opset.version);
        match model.opset(domain).or(new) {
            None => missing.push(OperatorSetIdProto {
                domain: domain.clone(),
                version: *version,
                ..OperatorSetIdProto::default()
            }),
            Some(used) if used < *version => {
                let needed = format!("version {version} of the operators of '{domain}'");
                let problem = format!("{needed} is needed, the model uses {used}");
                return Err(GraphError::BadGraph(problem));
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// Names of the inputs and initializers after the change.
fn initial<'a>(graph: &'a GraphProto, edit: &'a Edit) -> HashSet<&'a str> {
    let mut initial: HashSet<&str> = scope::initial(graph).collect();
    for (name, tensor) in &edit.initializers {
        if tensor.is_some() {
            initial.insert(name);
        } else {
            initial.remove(name.as_str());
        }
    }
    initial
}

fn outputs(graph: &GraphProto) -> HashSet<&str> {
    graph.output.iter().map(|output| output.name.as_str()).collect()
}

/// Nodes that stay, and added ones.
fn nodes(graph: &GraphProto, edit: &Edit) -> Result<Vec<NodeProto>, GraphError> {
    for (index, outputs) in &edit.removed {
        if graph.node.get(*index).is_none_or(|node| node.output != *outputs) {
            let problem = format!("the node that makes {outputs:?} is none of this graph");
            return Err(GraphError::BadGraph(problem));
        }
    }
    let set = edit.initializers.iter().filter(|(_, tensor)| tensor.is_some());
    let set: HashSet<&str> = set.map(|(name, _)| name.as_str()).collect();
    let kept = graph.node.iter().enumerate().filter(|(index, node)| {
        !edit.removed.contains_key(index) && !is_constant_of(node, |name| set.contains(name))
    });
    let added = edit.added.iter().cloned().map(NewNode::into_proto);
    Ok(kept.map(|(_, node)| node.clone()).chain(added).collect())
}

/// Nodes and the names around them, while connections change.
struct Rewiring<'a> {
    initial: HashSet<&'a str>,
    outputs: HashSet<&'a str>,
    wiring: Wiring,
    /// New names by old names.
    renamed: HashMap<String, String>,
}

impl Rewiring<'_> {
    fn make(&mut self, change: &Rewire) -> Result<(), GraphError> {
        match change {
            Rewire::Cut { value, from, to } if self.initial.contains(value.as_str()) => {
                self.cut_initial(value, from, to)
            }
            Rewire::Cut { value, from, to } => self.cut_produced(value, from, to),
            Rewire::Redirect { old, new } => self.redirect(old, new),
        }
    }

    /// Cuts an input or an initializer, which keeps its name; its consumers get another.
    fn cut_initial(&mut self, value: &str, from: &str, to: &str) -> Result<(), GraphError> {
        if self.outputs.contains(value) {
            let problem = format!("nothing fits between '{value}' and itself as an output");
            return Err(GraphError::BadGraph(problem));
        }
        self.wiring.rename_consumed(value, to);
        self.wiring.rename_consumed(from, value);
        Ok(())
    }

    /// Cuts the output of a node, which gets another name; consumers and graph outputs keep theirs.
    fn cut_produced(&mut self, value: &str, from: &str, to: &str) -> Result<(), GraphError> {
        self.wiring.rename_produced(value, from)?;
        self.renamed.insert(value.to_owned(), from.to_owned());
        self.rename(to, value)
    }

    fn redirect(&mut self, old: &str, new: &str) -> Result<(), GraphError> {
        if !self.outputs.contains(old) {
            self.wiring.rename_consumed(old, new);
            return Ok(());
        }
        if self.outputs.contains(new) || !self.wiring.produces(new) {
            let problem = format!("output '{old}' cannot be what '{new}' is, which keeps its name");
            return Err(GraphError::BadGraph(problem));
        }
        self.rename(new, old)
    }

    /// Renames a value at its producer and its consumers.
    fn rename(&mut self, old: &str, new: &str) -> Result<(), GraphError> {
        self.wiring.rename_produced(old, new)?;
        self.wiring.rename_consumed(old, new);
        Ok(())
    }
}
