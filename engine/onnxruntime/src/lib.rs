//! Finds and loads ONNX Runtime's shared library, without settings.

#[cfg(feature = "load")]
mod find;
#[cfg(feature = "load")]
mod load;

#[cfg(feature = "load")]
pub use find::{VARIABLE, find};
#[cfg(feature = "load")]
pub use load::{LoadError, load};

/// File name of the library, to which its version may be appended.
pub const LIBRARY: &str = "libonnxruntime.so";

/// Folder of the library below `target/` or beside an executable.
pub const FOLDER: &str = "onnxruntime/lib";
