//! Inlines the functions of a model.

use crate::{Model, scope};
use onnx_protobuf::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// Most nodes of a model after inlining.
const NODES_MAX: usize = 1 << 17;
/// Domains for which ONNX Runtime has kernels. It runs these, even if a function has the same name.
const KERNEL_DOMAINS: [&str; 5] =
    ["", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "skysail"];
/// Deepest nesting of function calls.
const DEPTH_MAX: usize = 32;

impl Model {
    /// Replaces each call by the nodes of its function.
    ///
    /// `Some(None)` if the model has no functions. `None` if the result would be too large or
    /// wrong: a function uses another version of ONNX's operators, is named like an operator of the
    /// runtime, or shadows its own names.
    pub(crate) fn inline_functions(&self) -> Option<Option<Model>> {
        if self.proto().functions.is_empty() {
            return Some(None);
        }
        let mut proto = self.proto().clone();
        let functions = std::mem::take(&mut proto.functions);
        if functions.iter().any(|function| KERNEL_DOMAINS.contains(&domain(&function.domain))) {
            return None;
        }
        let prefix = unused_prefix(&proto, &functions);
        let opset = self.opset("");
        let known = functions.iter().map(|function| (key_of(function), function)).collect();
        let mut inliner = Inliner { functions: known, opset, prefix, calls: 0, nodes: 0 };
        let graph = proto.graph.as_mut()?;
        inliner.graph(graph, 0)?;
        Some(Some(self.with_proto(proto)))
    }
}

/// Makes a prefix that no name in the model or its functions begins with.
fn unused_prefix(model: &ModelProto, functions: &[FunctionProto]) -> String {
    let mut names = HashSet::new();
    model.graph.iter().for_each(|graph| scope::add_names(graph, &mut names));
    for function in functions {
        names.extend(function.input.iter().chain(&function.output).cloned());
        let body = GraphProto { node: function.node.clone(), ..GraphProto::default() };
        scope::add_names(&body, &mut names);
    }
    let is_free = |prefix: &String| !names.iter().any(|name| name.starts_with(prefix.as_str()));
    (0..).map(|number| format!("call{number}.")).find(is_free).unwrap_or_default()
}

type Key<'a> = (&'a str, &'a str, &'a str);

fn domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn key_of(function: &FunctionProto) -> Key<'_> {
    (domain(&function.domain), &function.name, &function.overload)
}

struct Inliner<'f> {
    functions: HashMap<Key<'f>, &'f FunctionProto>,
    opset: Option<i64>,
    /// Prefix that no name of the model begins with.
    prefix: String,
    /// Calls so far; each has its own names of values.
    calls: usize,
    nodes: usize,
}

impl<'f> Inliner<'f> {
    fn graph(&mut self, graph: &mut GraphProto, depth: usize) -> Option<()> {
        graph.node = self.nodes(std::mem::take(&mut graph.node), depth)?;
        Some(())
    }

    fn nodes(&mut self, nodes: Vec<NodeProto>, depth: usize) -> Option<Vec<NodeProto>> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            self.nodes += 1;
            if self.nodes > NODES_MAX || depth > DEPTH_MAX {
                return None;
            }
            let key = (domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
            if let Some(function) = self.functions.get(&key).copied() {
                let body = self.call(&node, function)?;
                inlined.extend(self.nodes(body, depth + 1)?);
                continue;
            }
            for attribute in &mut node.attribute {
                for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
                    self.graph(graph, depth + 1)?;
                }
            }
            inlined.push(node);
        }
        Some(inlined)
    }

    /// Copies the nodes of a function, with the values and attributes of a call.
    fn call(&mut self, call: &NodeProto, function: &'f FunctionProto) -> Option<Vec<NodeProto>> {
        let own = function.opset_import.iter().find(|opset| domain(&opset.domain).is_empty());
        let shadows = function.node.iter().any(|node| shadows_names(node, function));
        if shadows || own.is_some_and(|opset| Some(opset.version) != self.opset) {
            return None;
        }
        self.calls += 1;
        let mut names = HashMap::new();
        let given = call.input.iter().map(String::as_str).chain(std::iter::repeat(""));
        for (input, given) in function.input.iter().zip(given) {
            names.insert(input.clone(), given.to_owned());
        }
        let mut identities = Vec::new();
        let inputs: HashSet<&String> = function.input.iter().collect();
        for (output, wanted) in function.output.iter().zip(&call.output) {
            if inputs.contains(output) {
                // An output of the function that is also an input.
                let from = names.get(output).cloned().unwrap_or_default();
                identities.push(identity(&from, wanted));
            } else if !wanted.is_empty() {
                names.insert(output.clone(), wanted.clone());
            }
        }
        let mut renaming =
            Renaming { names, prefix: format!("{}{}/", self.prefix, self.calls), call, function };
        let mut nodes = function.node.clone();
        nodes.iter_mut().for_each(|node| renaming.node(node));
        nodes.extend(identities);
        Some(nodes)
    }
}

/// True if a subgraph defines a value named like an input or output of the function. Renaming would
/// confuse the two.
fn shadows_names(node: &NodeProto, function: &FunctionProto) -> bool {
    scope::subgraphs(node).any(|graph| {
        let mut own = scope::initial(graph).chain(scope::produced(graph));
        let outside = function.input.iter().chain(&function.output);
        !graph.sparse_initializer.is_empty()
            || own.any(|name| outside.clone().any(|other| other == name))
            || graph.node.iter().any(|node| shadows_names(node, function))
    })
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        op_type: "Identity".into(),
        input: vec![from.into()],
        output: vec![to.into()],
        ..NodeProto::default()
    }
}

/// Renames the values of a function's nodes to those of the caller.
struct Renaming<'c> {
    names: HashMap<String, String>,
    prefix: String,
    call: &'c NodeProto,
    function: &'c FunctionProto,
}

impl Renaming<'_> {
    fn name(&mut self, name: &mut String) {
        if name.is_empty() {
            return;
        }
        let inlined = || format!("{}{name}", self.prefix);
        let new = self.names.get(name).cloned().unwrap_or_else(inlined);
        *name = new;
    }

    fn node(&mut self, node: &mut NodeProto) {
        for name in node.input.iter_mut().chain(&mut node.output) {
            self.name(name);
        }
        let attributes = std::mem::take(&mut node.attribute);
        node.attribute = attributes.into_iter().filter_map(|each| self.attribute(each)).collect();
    }

    /// Resolves an attribute: itself, the call's attribute to which it refers, or the function's
    /// default.
    fn attribute(&mut self, mut attribute: AttributeProto) -> Option<AttributeProto> {
        if !attribute.ref_attr_name.is_empty() {
            let wanted = &attribute.ref_attr_name;
            let mut of_call = self.call.attribute.iter();
            let mut defaults = self.function.attribute_proto.iter();
            let found = of_call
                .find(|given| given.name == *wanted)
                .or_else(|| defaults.find(|given| given.name == *wanted))?;
            return Some(AttributeProto { name: attribute.name, ..found.clone() });
        }
        for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
            self.graph(graph);
        }
        Some(attribute)
    }

    fn graph(&mut self, graph: &mut GraphProto) {
        for value in graph.input.iter_mut().chain(&mut graph.output) {
            self.name(&mut value.name);
        }
        graph.initializer.iter_mut().for_each(|tensor| self.name(&mut tensor.name));
        graph.node.iter_mut().for_each(|node| self.node(node));
    }
}
