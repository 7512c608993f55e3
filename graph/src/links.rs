//! Who makes a value and who takes it.

use crate::{Graph, Node, scope};
use std::collections::{HashMap, HashSet};

/// Which node of a graph makes each value, and which take it: an index, made once.
#[derive(Debug, Clone)]
pub struct Links<'a> {
    makers: HashMap<&'a str, Node<'a>>,
    takers: HashMap<&'a str, Vec<Taker<'a>>>,
    outputs: HashSet<&'a str>,
}

/// One place where a value is taken.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// The node of the graph.
    pub node: Node<'a>,
    /// Which of its inputs it is, from 0; `None` where a graph inside the node, such as a
    /// branch of `If`, takes it from outside.
    pub input: Option<usize>,
}

impl<'a> Links<'a> {
    pub(crate) fn of(graph: Graph<'a>) -> Self {
        let proto = graph.proto();
        let outputs = proto.output.iter().map(|output| output.name.as_str()).collect();
        let mut links = Self { makers: HashMap::new(), takers: HashMap::new(), outputs };
        for node in graph.nodes() {
            for (input, name) in node.inputs().iter().enumerate() {
                links.add(name, Taker { node, input: Some(input) });
            }
            for name in scope::captured(node.proto()) {
                links.add(name, Taker { node, input: None });
            }
            let made = node.outputs().iter().filter(|name| !name.is_empty());
            links.makers.extend(made.map(|name| (name.as_str(), node)));
        }
        links
    }

    fn add(&mut self, name: &'a str, taker: Taker<'a>) {
        if !name.is_empty() {
            self.takers.entry(name).or_default().push(taker);
        }
    }

    /// The node that makes the value; `None` for inputs and initializers of the graph.
    pub fn maker(&self, value: &str) -> Option<Node<'a>> {
        self.makers.get(value).copied()
    }

    /// Where the value is taken, in the order of the nodes. A node that takes it twice comes
    /// twice.
    pub fn takers(&self, value: &str) -> &[Taker<'a>] {
        self.takers.get(value).map_or(&[], Vec::as_slice)
    }

    /// Whether the value is an output of the graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// The node that the value is for alone: nothing else takes it, and it is no output of the
    /// graph. The two nodes around it can be made one.
    pub fn only_taker(&self, value: &str) -> Option<Node<'a>> {
        match self.takers(value) {
            [Taker { node, input: Some(_) }] if !self.is_output(value) => Some(*node),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Dim, ElementType, GraphBuilder};

    #[test]
    fn a_value_has_one_maker_and_the_takers_it_has() {
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
        assert_eq!(links.maker("b").unwrap().op_type(), "Relu");
        assert!(links.maker("x").is_none() && links.maker("").is_none());
        assert_eq!(links.only_taker("a").unwrap().op_type(), "Relu");
        let inputs: Vec<_> = links.takers("b").iter().map(|taker| taker.input).collect();
        assert_eq!(inputs, [Some(0), Some(2)]);
        // Taken twice; an output of the graph; taken by nobody.
        assert!(["b", "c", "d"].iter().all(|value| links.only_taker(value).is_none()));
        assert_eq!(links.takers("c").len(), 1);
        assert!(links.is_output("c") && links.takers("").is_empty());
    }
}
