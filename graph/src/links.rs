//! Producers and consumers of a graph's values.

use crate::{Graph, Node, scope};
use std::collections::{HashMap, HashSet};

/// Index of the producer and the consumers of each value of a graph.
#[derive(Debug, Clone)]
pub struct Links<'a> {
    producers: HashMap<&'a str, Node<'a>>,
    consumers: HashMap<&'a str, Vec<Consumer<'a>>>,
    outputs: HashSet<&'a str>,
}

/// One use of a value.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    /// Node of the graph.
    pub node: Node<'a>,
    /// Number of the node's input, from 0. `None` where a graph inside the node, such as a branch
    /// of `If`, captures the value.
    pub input: Option<usize>,
}

impl<'a> Links<'a> {
    pub(crate) fn of(graph: Graph<'a>) -> Self {
        let proto = graph.proto();
        let outputs = proto.output.iter().map(|output| output.name.as_str()).collect();
        let mut links = Self { producers: HashMap::new(), consumers: HashMap::new(), outputs };
        for node in graph.nodes() {
            for (input, name) in node.inputs().iter().enumerate() {
                links.add(name, Consumer { node, input: Some(input) });
            }
            for name in scope::captured(node.proto()) {
                links.add(name, Consumer { node, input: None });
            }
            let outputs = node.outputs().iter().filter(|name| !name.is_empty());
            links.producers.extend(outputs.map(|name| (name.as_str(), node)));
        }
        links
    }

    fn add(&mut self, name: &'a str, consumer: Consumer<'a>) {
        if !name.is_empty() {
            self.consumers.entry(name).or_default().push(consumer);
        }
    }

    /// Node that produces the value; `None` for inputs and initializers of the graph.
    pub fn producer(&self, value: &str) -> Option<Node<'a>> {
        self.producers.get(value).copied()
    }

    /// Uses of the value, in the order of the nodes. A node that uses it twice comes twice.
    pub fn consumers(&self, value: &str) -> &[Consumer<'a>] {
        self.consumers.get(value).map_or(&[], Vec::as_slice)
    }

    /// True if the value is an output of the graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// Consumer of a value that has no other use and is no output of the graph.
    ///
    /// Producer and consumer of such a value can be fused.
    pub fn single_consumer(&self, value: &str) -> Option<Node<'a>> {
        match self.consumers(value) {
            [Consumer { node, input: Some(_) }] if !self.is_output(value) => Some(*node),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Dim, ElementType, GraphBuilder};

    #[test]
    fn each_value_has_its_producer_and_consumers() {
        let mut builder = GraphBuilder::new("links");
        builder
            .input("x", ElementType::Float32, &[Dim::from(1)])
            .node("Neg", &["x"], &["a"], &[])
            .node("Relu", &["a"], &["b"], &[])
            .node("Clip", &["b", "", "b"], &["c"], &[])
            .node("Abs", &["c"], &["d"], &[])
            .output("c", ElementType::Float32, &[Dim::from(1)])
            .output("d", ElementType::Float32, &[Dim::from(1)]);
        let model = builder.finish().unwrap();
        let links = model.graph().links();
        assert_eq!(links.producer("b").unwrap().op_type(), "Relu");
        assert!(links.producer("x").is_none() && links.producer("").is_none());
        assert_eq!(links.single_consumer("a").unwrap().op_type(), "Relu");
        let inputs: Vec<_> = links.consumers("b").iter().map(|consumer| consumer.input).collect();
        assert_eq!(inputs, [Some(0), Some(2)]);
        // Used twice; an output of the graph; unused.
        assert!(["b", "c", "d"].iter().all(|value| links.single_consumer(value).is_none()));
        assert_eq!(links.consumers("c").len(), 1);
        assert!(links.is_output("c") && links.consumers("").is_empty());
    }
}
