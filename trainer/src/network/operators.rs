//! The operators, one family per file.

pub(crate) mod binary;
pub(crate) mod unary;
pub(crate) mod compare;
pub(crate) mod matrix;
pub(crate) mod conv;
pub(crate) mod columns;
pub(crate) mod window;
pub(crate) mod pool;
pub(crate) mod batch_norm;
pub(crate) mod layer_norm;
pub(crate) mod softmax;
pub(crate) mod dropout;
pub(crate) mod reduce;
pub(crate) mod layout;
pub(crate) mod join;
pub(crate) mod indexing;
pub(crate) mod constant;
