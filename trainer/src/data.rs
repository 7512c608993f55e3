//! Examples to learn from: read from files or made, shared out among ranks, and loaded batch by
//! batch.
//!
//! A file comes from anyone. Whatever its bytes are, the answer is its examples or a
//! [`DataError`] that names the file and the place, and memory stays in proportion to what is
//! read, below [`BYTES_MAX`].

mod source;
mod file;
mod idx;
mod csv;
mod numpy;
mod npz;
mod parquet;
mod table;
mod digits;
mod strokes;
mod dataset;
mod fit;
mod order;
mod shard;
mod augment;
mod loader;
mod error;

pub use augment::Shift;
pub use dataset::{Dataset, Inputs, Scaling};
pub use digits::{DIGIT_PIXELS, digits};
pub use error::{DataError, Place};
pub use file::BYTES_MAX;
pub use loader::{Loader, Plan, Position};
pub use order::Order;
pub use shard::{Shard, by_label, evenly};
pub use source::{Arrays, Csv, Digits, Folder, Pair, Pairs, Parquet, Source, Split};
pub use table::Column;
