//! A rewrite of a model, shared by the steps of quantization.

use super::int8::{Form, Granularity, Int8, Int8Weights};
use super::operand::Operand;
use super::{KeptLayer, QuantizeReport, QuantizedTensor};
use crate::CompressError;
use skysail_graph::{Edit, Graph, Links, Model, Node, Shapes, Tensor, TensorView};
use std::collections::HashMap;

/// Returns the constant tensor of a value, see [`Rewrite::constant_of`].
pub(super) fn constant_of<'m>(
    graph: Graph<'m>,
    links: &Links<'m>,
    value: &str,
) -> Result<Option<TensorView<'m>>, CompressError> {
    let mut producer = links.producer(value).filter(|node| node.domain().is_empty());
    let mut name = value;
    if let Some(cast) = producer.filter(|node| matches!(node.op_type(), "Cast" | "Identity")) {
        name = cast.inputs().first().map_or("", String::as_str);
        producer = links.producer(name).filter(|node| node.domain().is_empty());
    }
    match producer {
        None => Ok(graph.initializer(name)),
        Some(node) if node.op_type() == "Constant" => Ok(node.tensor("value")?),
        Some(_) => Ok(None),
    }
}

/// Collects changes of a model, and the report about them.
pub(super) struct Rewrite<'m> {
    pub(super) graph: Graph<'m>,
    pub(super) links: Links<'m>,
    pub(super) shapes: Shapes,
    pub(super) edit: Edit,
    pub(super) report: QuantizeReport,
    /// Stored weights, for other nodes that share them.
    stored: HashMap<Key, Stored>,
}

/// Key of shared codes: name, digest of the operand, axis and form. Two nodes may use one tensor in
/// two layouts.
type Key = (String, [u8; 32], Option<usize>, Form);

/// Names of the tensors that store a weight as int8.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) codes: String,
    pub(super) scale: String,
    pub(super) zero: String,
    pub(super) scales: Vec<f32>,
    /// Sum of the stored weights of each column of a matrix.
    pub(super) sums: Vec<f32>,
}

/// A tensor to be stored in another form, and the nodes between it and its consumer.
pub(super) struct Source<'a, 'm> {
    pub(super) name: &'a str,
    pub(super) through: &'a [Node<'m>],
    /// The node that uses the tensor.
    pub(super) consumer: Node<'m>,
}

impl<'m> Source<'_, 'm> {
    /// Returns true if the consumer alone uses the tensor.
    pub(super) fn is_sole_use(&self, links: &Links<'m>) -> bool {
        let mut value = self.name;
        self.through.iter().chain([&self.consumer]).all(|next| {
            let consumer = links.single_consumer(value);
            value = next.outputs().first().map_or("", String::as_str);
            consumer.is_some_and(|consumer| consumer.index() == next.index())
        })
    }
}

impl<'m> Rewrite<'m> {
    /// Creates a rewrite without changes.
    pub(super) fn of(model: &'m Model) -> Self {
        let graph = model.graph();
        Self {
            graph,
            links: graph.links(),
            shapes: graph.shapes(),
            edit: model.edit(),
            report: QuantizeReport::default(),
            stored: HashMap::new(),
        }
    }

    /// Returns the changes and the report.
    pub(super) fn finish(self) -> (Edit, QuantizeReport) {
        (self.edit, self.report)
    }

    /// Returns the tensor of a value that is constant: an initializer, the tensor of a `Constant`,
    /// or one of them behind a `Cast`.
    pub(super) fn constant_of(&self, value: &str) -> Result<Option<TensorView<'m>>, CompressError> {
        constant_of(self.graph, &self.links, value)
    }

    /// Adds a constant under a name like `base`, and returns its name.
    pub(super) fn constant(&mut self, base: &str, tensor: Tensor) -> String {
        let name = self.edit.fresh(base);
        self.edit.set_initializer(&name, tensor);
        name
    }

    /// Reports that a layer is left unchanged.
    pub(super) fn keep(&mut self, layer: &str, reason: &str) {
        let known = self.report.kept.iter().any(|kept| kept.name == layer);
        if !known {
            let (name, reason) = (layer.to_owned(), reason.to_owned());
            self.report.kept.push(KeptLayer { name, reason });
        }
    }

    /// Returns the name to store another form of a tensor under.
    ///
    /// It is the tensor's own name if nothing else uses the tensor, else a new one.
    pub(super) fn stored_name(&mut self, source: &Source<'_, 'm>, suffix: &str) -> String {
        if source.is_sole_use(&self.links) {
            return source.name.to_owned();
        }
        self.edit.fresh(&format!("{}_{suffix}", source.name))
    }

    /// Stores a weight as int8 with its scales, once for all nodes that share it. `axis` counts the
    /// channels; see [`Int8::of`] for the `floors`.
    pub(super) fn store_int8(
        &mut self,
        source: &Source<'_, 'm>,
        operand: &Operand,
        axis: usize,
        settings: Int8Weights,
        form: Form,
        floors: &[f32],
    ) -> Result<Stored, CompressError> {
        let axis = (settings.granularity == Granularity::Channel).then_some(axis);
        let highest = [floors.iter().copied().fold(0.0, f32::max)];
        let floors = if axis.is_some() { floors } else { &highest };
        let key = (source.name.to_owned(), operand.digest(), axis, form);
        let high_enough = |stored: &&Stored| {
            stored.scales.iter().zip(floors).all(|(scale, floor)| scale >= floor)
        };
        if let Some(stored) = self.stored.get(&key).filter(high_enough) {
            return Ok(stored.clone());
        }
        let int8 = Int8::of(operand, axis, settings, form, floors);
        let name = self.stored_name(source, "int8");
        let shape: Vec<u64> = operand.dims.iter().map(|dim| *dim as u64).collect();
        // A single scale is a scalar, scales of channels are a vector.
        let count = int8.scales.len();
        let of_scales: &[u64] = if axis.is_some() { &[count as u64] } else { &[] };
        let (codes, zero) = match form {
            Form::Unsigned => {
                let unsigned: Vec<u8> =
                    int8.codes.iter().map(|code| code.cast_unsigned() ^ 0x80).collect();
                (Tensor::new(&shape, &unsigned)?, Tensor::new(&[], &[0x80_u8])?)
            }
            _ => (Tensor::new(&shape, &int8.codes)?, Tensor::new(of_scales, &vec![0_i8; count])?),
        };
        self.edit.set_initializer(&name, codes);
        let scale = Tensor::new(of_scales, &int8.scales)?;
        let stored = Stored {
            scale: self.constant(&format!("{}_scale", source.name), scale),
            zero: self.constant(&format!("{}_zero", source.name), zero),
            codes: name.clone(),
            sums: int8.column_sums(operand.dims.last().copied().unwrap_or(1)),
            scales: int8.scales,
        };
        self.report.tensors.push(QuantizedTensor {
            name: source.name.to_owned(),
            stored: name,
            bits: settings.bits,
            scales: count,
            codes: form.description(),
            mean_squared_error: int8.mean_squared_error,
        });
        self.stored.insert(key, stored.clone());
        Ok(stored)
    }
}
