//! Training data: read from files or generated, divided among ranks, and loaded in batches.
//!
//! Files are not trusted. Whatever the bytes, the result is a dataset or a [`DataError`] that names
//! the file and the location. Memory is proportional to the bytes read, below [`BYTES_MAX`].

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
pub use error::{DataError, Location};
pub use file::BYTES_MAX;
pub use loader::{Loader, Plan, Position};
pub use order::Order;
pub use shard::{Shard, split_by_label, split_evenly};
pub use source::{Arrays, Csv, Digits, Folder, Pair, Pairs, Parquet, Source, Split};
pub use table::Column;
