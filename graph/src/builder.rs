//! Builds a model node by node.

use crate::value::tensor_type;
use crate::{Attribute, Dim, ElementType, GraphError, Model, NewNode, Tensor};
use onnx_protobuf::type_proto::Value;
use onnx_protobuf::{GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto};
use protobuf::MessageField;
use std::collections::HashSet;

/// Version of the format that is written: the oldest that fits the operators' version.
const IR_VERSION: i64 = 8;
/// Version of ONNX's operators.
const OPSET_VERSION: i64 = 17;

/// Builder of a graph, with ONNX's own operators (version 17) and those of imported domains.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: GraphProto,
    opsets: Vec<OperatorSetIdProto>,
}

impl GraphBuilder {
    /// Starts an empty graph.
    pub fn new(name: &str) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        let own = OperatorSetIdProto { version: OPSET_VERSION, ..OperatorSetIdProto::default() };
        Self { graph, opsets: vec![own] }
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, element: ElementType, dims: &[Dim]) -> &mut Self {
        self.graph.input.push(value_info(name, element, dims));
        self
    }

    /// Adds an input with a default. A dynamic dimension allows another size than that of the
    /// default.
    pub fn optional_input(&mut self, name: &str, dims: &[Dim], default: Tensor) -> &mut Self {
        self.input(name, default.element(), dims).initializer(name, default)
    }

    /// Adds an input of unknown rank.
    pub fn input_of_any_rank(&mut self, name: &str, element: ElementType) -> &mut Self {
        self.graph.input.push(of_any_rank(name, element));
        self
    }

    /// Adds an output of unknown rank.
    pub fn output_of_any_rank(&mut self, name: &str, element: ElementType) -> &mut Self {
        self.graph.output.push(of_any_rank(name, element));
        self
    }

    /// Adds an output; a node must produce the value of this name.
    pub fn output(&mut self, name: &str, element: ElementType, dims: &[Dim]) -> &mut Self {
        self.graph.output.push(value_info(name, element, dims));
        self
    }

    /// Adds a constant for nodes.
    pub fn initializer(&mut self, name: &str, tensor: Tensor) -> &mut Self {
        self.graph.initializer.push(tensor.into_proto(name));
        self
    }

    /// Adds a node. Its inputs must be defined before it; an input left out is `""`.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> &mut Self {
        let name = format!("{op_type}_{}", self.graph.node.len());
        let node = NewNode::new(op_type, inputs, outputs).name(&name);
        let attributes = attributes.iter().cloned();
        self.add(attributes.fold(node, |node, (name, value)| node.attribute(name, value)))
    }

    /// Adds a node of any imported domain, as [`node`](Self::node) does.
    pub fn add(&mut self, node: NewNode) -> &mut Self {
        self.graph.node.push(node.into_proto());
        self
    }

    /// Imports the operators of `domain` in this version.
    pub fn import(&mut self, domain: &str, version: i64) -> &mut Self {
        let domain = domain.to_owned();
        self.opsets.push(OperatorSetIdProto { domain, version, ..OperatorSetIdProto::default() });
        self
    }

    /// Completes the model.
    ///
    /// # Errors
    /// `BadGraph` when a name is used before its value is defined, or for two values.
    pub fn finish(self) -> Result<Model, GraphError> {
        check_names(&self.graph)?;
        Ok(Model::from_proto(ModelProto {
            ir_version: IR_VERSION,
            producer_name: "skysail".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: self.opsets,
            graph: MessageField::some(self.graph),
            ..ModelProto::default()
        }))
    }
}

fn value_info(name: &str, element: ElementType, dims: &[Dim]) -> ValueInfoProto {
    ValueInfoProto {
        name: name.to_owned(),
        type_: MessageField::some(tensor_type(element, dims)),
        ..ValueInfoProto::default()
    }
}

fn of_any_rank(name: &str, element: ElementType) -> ValueInfoProto {
    let mut info = value_info(name, element, &[]);
    if let Some(Value::TensorType(tensor)) = &mut info.type_.mut_or_insert_default().value {
        tensor.shape = MessageField::none();
    }
    info
}

/// Checks that each value is defined once, before its use.
fn check_names(graph: &GraphProto) -> Result<(), GraphError> {
    let mut values = Values::default();
    let mut constants = graph.initializer.iter().map(|tensor| &tensor.name);
    constants.try_for_each(|name| values.define(name))?;
    let defaults = values.0.clone();
    let mut inputs = Values::default();
    for input in &graph.input {
        inputs.define(&input.name)?;
        if !defaults.contains(input.name.as_str()) {
            values.define(&input.name)?;
        }
    }
    for node in &graph.node {
        let mut inputs = node.input.iter().filter(|name| !name.is_empty());
        inputs.try_for_each(|name| values.require(name, &node.name))?;
        let mut outputs = node.output.iter().filter(|name| !name.is_empty());
        outputs.try_for_each(|name| values.define(name))?;
    }
    graph.output.iter().try_for_each(|output| values.require(&output.name, "the graph's end"))
}

/// Names of the values defined so far.
#[derive(Default)]
struct Values<'a>(HashSet<&'a str>);

impl<'a> Values<'a> {
    fn define(&mut self, name: &'a str) -> Result<(), GraphError> {
        if self.0.insert(name) {
            return Ok(());
        }
        Err(GraphError::two_values(name))
    }

    fn require(&self, name: &str, place: &str) -> Result<(), GraphError> {
        if self.0.contains(name) {
            return Ok(());
        }
        Err(GraphError::no_value(name, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> GraphBuilder {
        let mut builder = GraphBuilder::new("test");
        builder.input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)]);
        builder
    }

    fn error_of(builder: GraphBuilder) -> String {
        builder.finish().unwrap_err().to_string()
    }

    #[test]
    fn a_complete_graph_is_a_model() {
        let mut builder = graph();
        builder
            .initializer("low", Tensor::new(&[], &[0.0_f32]).unwrap())
            .node("Clip", &["x", "low", ""], &["c"], &[])
            .node("Flatten", &["c"], &["y"], &[("axis", Attribute::Int(0))])
            .output("y", ElementType::Float32, &[Dim::from(1), Dim::Unknown]);
        let model = builder.finish().unwrap();
        let model = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
        assert_eq!((model.ir_version(), model.opset("")), (8, Some(17)));
        assert_eq!(model.producer(), ("skysail", env!("CARGO_PKG_VERSION")));
        let graph = model.graph();
        assert_eq!(graph.inputs()[0].to_string(), "x: float32 tensor [batch, 2]");
        assert_eq!(graph.outputs()[0].to_string(), "y: float32 tensor [1, ?]");
        let flatten = graph.nodes().nth(1).unwrap();
        assert_eq!((flatten.name(), flatten.op_type()), ("Flatten_1", "Flatten"));
        assert_eq!(flatten.int("axis").unwrap(), Some(0));
    }

    #[test]
    fn an_input_with_a_default_is_optional() {
        let mut builder = graph();
        builder
            .optional_input("scale", &[Dim::from(1)], Tensor::new(&[1], &[2.0_f32]).unwrap())
            .input_of_any_rank("z", ElementType::Float32)
            .node("Sum", &["x", "scale", "z"], &["y"], &[])
            .output_of_any_rank("y", ElementType::Float32);
        let model = builder.finish().unwrap();
        let mut bytes = model.to_bytes().unwrap();
        let names: Vec<_> = model.graph().inputs().into_iter().map(|input| input.name).collect();
        assert_eq!(names, ["x", "z"]);
        assert_eq!(model.graph().inputs()[1].kind.dims(), None);
        assert_eq!(model.graph().outputs()[0].kind.dims(), None);
        let optional = model.optional_inputs();
        assert_eq!((optional.len(), &*optional[0].name), (1, "scale"));
        // The version of the format comes first. Before the fourth, nothing had a default.
        assert_eq!(&bytes[..2], &[8, 8]);
        bytes[1] = 3;
        let old = Model::from_bytes(&bytes).unwrap();
        assert_eq!((old.ir_version(), old.optional_inputs().len()), (3, 0));
    }

    #[test]
    fn names_are_defined_once_and_before_their_use() {
        let mut twice = graph();
        twice.input("x", ElementType::Int64, &[]);
        assert!(error_of(twice).contains("two values named 'x'"));
        let mut again = graph();
        again.node("Relu", &["x"], &["x"], &[]);
        assert!(error_of(again).contains("two values named 'x'"));
        let mut early = graph();
        early.node("Relu", &["y"], &["z"], &[]).node("Relu", &["x"], &["y"], &[]);
        assert!(error_of(early).contains("no value 'y' yet at Relu_0"));
        let mut missing = graph();
        missing.output("y", ElementType::Float32, &[]);
        assert!(error_of(missing).contains("no value 'y' yet at the graph's end"));
    }
}
