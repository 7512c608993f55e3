//! System shared memory of a test, as a client has it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Prefix of the keys of all tests.
pub(crate) const PREFIX: &str = "/skysail_test_";

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Memory with a key of its own, which is deleted with it.
pub(crate) struct Memory {
    name: String,
}

impl Memory {
    /// Memory with these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("{}{}_{number}", &PREFIX[1..], std::process::id());
        let memory = Self { name };
        fs::write(memory.path(), bytes).unwrap();
        memory
    }

    /// Memory with these numbers.
    pub(crate) fn of_floats(values: &[f32]) -> Self {
        Self::new(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    }

    /// Key by which programs find it.
    pub(crate) fn key(&self) -> String {
        format!("/{}", self.name)
    }

    /// Bytes in it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    /// Numbers in it.
    pub(crate) fn floats(&self) -> Vec<f32> {
        self.bytes().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// Makes it smaller or larger.
    pub(crate) fn resize(&self, bytes: u64) {
        fs::File::options().write(true).open(self.path()).unwrap().set_len(bytes).unwrap();
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.name)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(fs::remove_file(self.path()));
    }
}
