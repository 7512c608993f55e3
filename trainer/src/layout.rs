//! Where the parameters of a model lie in one flat slice.
//!
//! All strategies, optimizers and checkpoints work on that slice: what a rank sends, a residual
//! or a moving mean is a slice of the same length, whatever the model.

use std::ops::Range;

/// Where each parameter of a model lies.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

/// One parameter: an initializer of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The initializer's name.
    pub name: String,
    /// Its dimensions, as the graph has them.
    pub shape: Vec<usize>,
    /// Its place in the slice.
    pub range: Range<usize>,
    /// What moves it.
    pub kind: EntryKind,
}

/// What moves a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Its gradient, and the decay of weights.
    Weight,
    /// Its gradient alone: biases, and scales of normalizations.
    Bias,
    /// What the forward pass sees: the running means and variances of batch normalization. Its
    /// "gradient" is what it is to fall by, and no optimizer changes that; ranks average it.
    Statistic,
}

impl Layout {
    /// Adds a parameter behind the others.
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

    /// Numbers of the slice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to learn.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
