//! Making collected changes.

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

/// Takes initializers out, with their places among the inputs.
pub(super) fn remove_initializers(graph: &mut GraphProto, names: &HashSet<String>) {
    graph.initializer.retain(|tensor| !names.contains(&tensor.name));
    graph.sparse_initializer.retain(|sparse| !names.contains(&sparse.values.name));
    graph.input.retain(|input| !names.contains(&input.name));
    graph.value_info.retain(|info| !names.contains(&info.name));
}

/// The sets of operators that the model lacks.
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

/// The names of the inputs and of the initializers that there will be.
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

/// The nodes that stay, and those that are added.
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

/// Nodes, and what around them matters to who takes what.
struct Rewiring<'a> {
    initial: HashSet<&'a str>,
    outputs: HashSet<&'a str>,
    wiring: Wiring,
    /// The new names of values that had others.
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

    /// An input or an initializer keeps its name: those who take it get another.
    fn cut_initial(&mut self, value: &str, from: &str, to: &str) -> Result<(), GraphError> {
        if self.outputs.contains(value) {
            let problem = format!("nothing fits between '{value}' and itself as an output");
            return Err(GraphError::BadGraph(problem));
        }
        self.wiring.rename_consumed(value, to);
        self.wiring.rename_consumed(from, value);
        Ok(())
    }

    /// A value that a node makes gets another name, and those who take it need not know, nor
    /// the graph's outputs.
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

    /// Gives a value another name, wherever it is made and taken.
    fn rename(&mut self, old: &str, new: &str) -> Result<(), GraphError> {
        self.wiring.rename_produced(old, new)?;
        self.wiring.rename_consumed(old, new);
        Ok(())
    }
}
