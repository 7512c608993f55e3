//! Real models, if available, and pseudo-random numbers.

#![allow(dead_code, reason = "each test takes what it needs")]

use skysail_graph::mlp;
use std::path::PathBuf;

/// `model.onnx` of every folder of models, smallest first.
pub(crate) fn models() -> Vec<PathBuf> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models");
    let Ok(folders) = std::fs::read_dir(data) else {
        println!("skipped: there is no folder {data}");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path().join("model.onnx"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort_by_key(|path| path.metadata().unwrap().len());
    paths
}

/// Model of this folder, if available.
pub(crate) fn model(folder: &str) -> Option<PathBuf> {
    models().into_iter().find(|path| path.parent().is_some_and(|parent| parent.ends_with(folder)))
}

/// Bytes of a built model and of real ones of up to `bytes_max`.
pub(crate) fn samples(bytes_max: usize) -> Vec<Vec<u8>> {
    let built = mlp(&[6, 5, 4], 1).unwrap().to_bytes().unwrap();
    let real = models().into_iter().map(|path| std::fs::read(path).unwrap());
    std::iter::once(built).chain(real).filter(|bytes| bytes.len() <= bytes_max).collect()
}

/// Pseudo-random numbers, the same in every run (Knuth's multiplier for 64 bits).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Next number, below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// A random range of a list of this length.
    pub(crate) fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + self.below((length - start).min(64)) + 1
    }

    /// A random choice.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
