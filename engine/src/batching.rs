//! Limits under which requests of a model share runs.

use crate::padding::Padding;
use crate::ragged::Ragged;
use std::sync::Arc;

/// Limits of the batches of one model, and how their members are padded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batching {
    /// Rows of the largest batch; 0 if the first dimension is no batch dimension, and every
    /// request runs alone.
    pub rows_max: usize,
    /// True if a single request may have more rows than that, and then runs alone.
    pub larger_requests_run_alone: bool,
    /// Padding of requests of different sizes; `None` if those run apart.
    pub padding: Option<Arc<Padding>>,
    /// Joining of requests of different shapes; `None` if no input allows it.
    pub ragged: Option<Arc<Ragged>>,
}

impl Batching {
    /// True if requests can share a run.
    pub fn is_on(&self) -> bool {
        self.rows_max > 0
    }
}
