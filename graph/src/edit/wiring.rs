//! Nodes of a graph while their connections change.

use crate::{GraphError, scope};
use onnx_protobuf::NodeProto;
use std::collections::{HashMap, HashSet};

/// Nodes in any order, with producers and consumers of each value.
pub(super) struct Wiring {
    nodes: Vec<NodeProto>,
    /// Producer of each value.
    producers: HashMap<String, usize>,
    /// Consumers of each value, subgraphs included; each node comes once.
    consumers: HashMap<String, Vec<usize>>,
}

impl Wiring {
    /// # Errors
    /// `BadGraph` when two nodes make values of one name.
    pub(super) fn of(nodes: Vec<NodeProto>) -> Result<Self, GraphError> {
        let mut wiring =
            Self { nodes: vec![], producers: HashMap::new(), consumers: HashMap::new() };
        for (index, node) in nodes.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                wiring.add_producer(name, index)?;
            }
            for name in scope::consumed(node) {
                wiring.consumers.entry(name.to_owned()).or_default().push(index);
            }
        }
        wiring.nodes = nodes;
        Ok(wiring)
    }

    fn add_producer(&mut self, name: &str, node: usize) -> Result<(), GraphError> {
        match self.producers.insert(name.to_owned(), node) {
            None => Ok(()),
            Some(_) => Err(GraphError::two_values(name)),
        }
    }

    /// True if a node produces the value.
    pub(super) fn produces(&self, value: &str) -> bool {
        self.producers.contains_key(value)
    }

    /// Names of the values that nodes produce.
    pub(super) fn produced(&self) -> impl Iterator<Item = &str> {
        self.producers.keys().map(String::as_str)
    }

    /// Renames the output `old` of its producer to `new`.
    pub(super) fn rename_produced(&mut self, old: &str, new: &str) -> Result<(), GraphError> {
        let Some(node) = self.producers.remove(old) else { return Ok(()) };
        self.add_producer(new, node)?;
        for output in self.nodes[node].output.iter_mut().filter(|output| *output == old) {
            new.clone_into(output);
        }
        Ok(())
    }

    /// Makes the consumers of `old` use `new`.
    pub(super) fn rename_consumed(&mut self, old: &str, new: &str) {
        let Some(nodes) = self.consumers.remove(old) else { return };
        for node in &nodes {
            scope::rename_consumed(&mut self.nodes[*node], old, new);
        }
        let consumers = self.consumers.entry(new.to_owned()).or_default();
        consumers.extend(nodes);
        consumers.sort_unstable();
        consumers.dedup();
    }

    /// Checks that each consumed value has a producer or is in `given`, and none is both.
    pub(super) fn check(&self, given: &HashSet<&str>) -> Result<(), GraphError> {
        if let Some(name) = self.produced().find(|name| given.contains(name)) {
            return Err(GraphError::two_values(name));
        }
        let missing = |name: &&String| !self.produces(name) && !given.contains(name.as_str());
        match self.consumers.keys().filter(missing).min() {
            None => Ok(()),
            Some(name) => {
                let consumer =
                    self.consumers[name].first().map(|node| self.nodes[*node].name.as_str());
                Err(GraphError::no_value(name, consumer.unwrap_or_default()))
            }
        }
    }

    /// Sorts the nodes: each comes after the producers of its inputs, else in the order they have.
    pub(super) fn into_sorted(self) -> Result<Vec<NodeProto>, GraphError> {
        let order = self.order()?;
        let mut nodes: Vec<Option<NodeProto>> = self.nodes.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|node| nodes[node].take()).collect())
    }

    /// Sorts depth first, without recursion: a chain of nodes may be longer than the stack.
    fn order(&self) -> Result<Vec<usize>, GraphError> {
        let before = self.before();
        let mut order = Vec::with_capacity(before.len());
        let mut states = vec![State::New; before.len()];
        let mut pending: Vec<(usize, usize)> = Vec::new();
        for first in 0..before.len() {
            pending.push((first, 0));
            while let Some((node, next)) = pending.pop() {
                if next == 0 {
                    match states[node] {
                        State::Done => continue,
                        State::Pending => return Err(self.cycle(node)),
                        State::New => states[node] = State::Pending,
                    }
                }
                if let Some(earlier) = before[node].get(next) {
                    pending.extend([(node, next + 1), (*earlier, 0)]);
                } else {
                    states[node] = State::Done;
                    order.push(node);
                }
            }
        }
        Ok(order)
    }

    /// Producers of each node's inputs, in order.
    fn before(&self) -> Vec<Vec<usize>> {
        let mut before = vec![Vec::new(); self.nodes.len()];
        for (name, consumers) in &self.consumers {
            if let Some(producer) = self.producers.get(name) {
                consumers.iter().for_each(|consumer| before[*consumer].push(*producer));
            }
        }
        before.iter_mut().for_each(|nodes| nodes.sort_unstable());
        before
    }

    fn cycle(&self, node: usize) -> GraphError {
        let name = &self.nodes[node].name;
        GraphError::BadGraph(format!("node '{name}' takes what is made of its own values"))
    }
}

/// Progress of the sort at a node.
#[derive(Clone, Copy)]
enum State {
    New,
    Pending,
    Done,
}
