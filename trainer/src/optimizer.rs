//! Optimizers: updates of parameters by gradients, over flat slices.

mod adagrad;
mod sgd;
mod spans;

pub use adagrad::Adagrad;
pub use sgd::{Sgd, SgdSettings};
pub(crate) use spans::{Span, spans};
