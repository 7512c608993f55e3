//! Layout of a model's parameters in one flat slice.
//!
//! All strategies, optimizers and checkpoints work on that slice. A message, a residual or a moving
//! mean is a slice of the same length, whatever the model.

use std::ops::Range;

/// Position of each parameter in the slice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

/// A parameter: an initializer of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the initializer.
    pub name: String,
    /// Dimensions in the graph.
    pub shape: Vec<usize>,
    /// Range in the slice.
    pub range: Range<usize>,
    /// Kind of its update.
    pub kind: EntryKind,
}

/// Kind of a parameter's update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// By gradient and weight decay.
    Weight,
    /// By gradient alone: biases, and scales of normalizations.
    Bias,
    /// By the forward pass: running means and variances of batch normalization. The "gradient" is
    /// the amount to subtract, which no optimizer changes; ranks average it.
    Statistic,
}

impl Layout {
    /// Appends a parameter.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], kind: EntryKind) {
        let start = self.len;
        self.len += shape.iter().product::<usize>();
        self.entries.push(Entry {
            name: name.into(),
            shape: shape.to_vec(),
            range: start..self.len,
            kind,
        });
    }

    /// The parameters, in the order of the slice.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Length of the slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
