//! Any bytes as a package: opened and fully decoded. This build skips checksums, so that the codecs
//! behind them are reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skysail_compression::{Package, decoded_max};

fuzz_target!(|bytes: &[u8]| {
    let Ok(package) = Package::from_bytes(bytes.to_vec()) else { return };
    for entry in package.tensors() {
        if let Ok(tensor) = package.tensor(&entry.name) {
            assert!(tensor.bytes().len() as u64 <= decoded_max(bytes.len() as u64));
        }
        if let Ok(Some(sparse)) = package.sparse(&entry.name) {
            assert!(sparse.to_dense().is_ok());
        }
    }
    let _ = (package.summary(), package.verify());
    let _ = (package.graph_without_weights(), package.model());
});
