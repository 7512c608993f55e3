//! Response cache of one version of a model, off unless its settings ask for it. A hash finds an
//! entry; shapes, bytes and wanted outputs of the whole request decide.

use crate::config::CacheConfig;
use crate::error::Error;
use crate::request::{OutputTensor, Outputs};
use crate::validate::{ValidInput, ValidRequest};
use bytes::Bytes;
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Shards of the cache, each with a lock of its own.
const SHARDS: usize = 8;

/// Divisor of the cache's size that gives the largest entry: half a shard.
const ENTRY_SHARE: usize = 2 * SHARDS;

/// Assumed size of an entry. It sets how many hashes of evicted entries are remembered.
const TYPICAL_ENTRY_BYTES: usize = 4 << 10;

/// Memory of an entry besides its own structure: slots in the tables and a reference count.
const ENTRY_BYTES: usize = 144;

/// Memory of a buffer besides its bytes: a reference count and the allocator's overhead.
const BUFFER_BYTES: usize = 64;

/// The cached responses of one version.
pub(crate) struct Cache {
    entries: Entries<StoredKey, Arc<CacheEntry>, ByBytes>,
    /// Randomly keyed.
    hasher: DefaultHashBuilder,
    entry_bytes_max: usize,
}

/// Entries and bytes of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    /// Number of cached responses.
    pub entries: usize,
    /// Memory of all entries, requests included.
    pub bytes: u64,
}

impl Cache {
    /// Makes an empty cache.
    pub(crate) fn new(config: CacheConfig) -> Result<Self, Error> {
        let bytes_max = config.bytes_max / SHARDS * SHARDS;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(bytes_max as u64)
            .estimated_items_capacity((bytes_max / TYPICAL_ENTRY_BYTES).max(32 * SHARDS))
            .build()
            .map_err(|error| Error::Internal(format!("the cache cannot be made: {error}")))?;
        let hasher = DefaultHashBuilder::default();
        let lifecycle = DefaultLifecycle::default();
        Ok(Self {
            entries: Entries::with_options(options, ByBytes, hasher.clone(), lifecycle),
            hasher,
            entry_bytes_max: bytes_max / ENTRY_SHARE,
        })
    }

    /// Returns how much it holds.
    pub(crate) fn usage(&self) -> CacheUsage {
        CacheUsage { entries: self.entries.len(), bytes: self.entries.weight() }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<Outputs> {
        self.entries.get(key).map(|entry| entry.outputs.clone())
    }

    /// Stores a response, unless it is too large.
    pub(super) fn insert(&self, key: &CacheKey, outputs: &[OutputTensor]) {
        let output_bytes: usize = outputs.iter().map(|output| output.data.len()).sum();
        if data_bytes(&key.request) + output_bytes > self.entry_bytes_max {
            return;
        }
        let entry = CacheEntry::copy_of(key, outputs);
        if entry.bytes <= self.entry_bytes_max {
            let entry = Arc::new(entry);
            self.entries.insert(StoredKey(Arc::clone(&entry)), entry);
        }
    }

    /// Hashes a request.
    pub(super) fn key(&self, request: ValidRequest) -> CacheKey {
        CacheKey::new(request, &self.hasher)
    }

    pub(super) fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }
}

/// A request with the hash of all that its response depends on.
pub(super) struct CacheKey {
    hash: u64,
    request: ValidRequest,
}

impl CacheKey {
    fn new(request: ValidRequest, hasher: &DefaultHashBuilder) -> Self {
        let mut state = hasher.build_hasher();
        request.outputs.hash(&mut state);
        request.given.hash(&mut state);
        for input in &request.inputs {
            input.shape.hash(&mut state);
            // Bytes in several pieces must have the hash that they have in one.
            state.write(&input.data.contiguous());
        }
        Self { hash: state.finish(), request }
    }

    pub(super) fn hash_value(&self) -> u64 {
        self.hash
    }

    pub(super) fn request(&self) -> &ValidRequest {
        &self.request
    }

    pub(super) fn into_request(self) -> ValidRequest {
        self.request
    }
}

/// Bytes of all inputs.
pub(super) fn data_bytes(request: &ValidRequest) -> usize {
    request.inputs.iter().map(|input| input.data.len()).sum()
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.request, &other.request);
        self.hash == other.hash
            && a.outputs == b.outputs
            && a.given == b.given
            && a.inputs == b.inputs
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A cached response with its key, in buffers of their own. The original buffers may be parts of
/// much larger ones.
struct CacheEntry {
    key: CacheKey,
    outputs: Outputs,
    /// Memory of the whole entry.
    bytes: usize,
}

impl CacheEntry {
    fn copy_of(key: &CacheKey, outputs: &[OutputTensor]) -> Self {
        let original = &key.request;
        let request = ValidRequest {
            inputs: original.inputs.iter().map(copy_of_input).collect(),
            given: original.given.clone(),
            outputs: original.outputs.clone(),
            rows: original.rows,
            batch_key: original.batch_key.clone(),
        };
        let outputs: Outputs = outputs.iter().map(copy_of_output).collect();
        let bytes = size_of::<Self>() + ENTRY_BYTES + request_bytes(&request) + heap(&outputs);
        let bytes = bytes + outputs.iter().map(output_bytes).sum::<usize>();
        Self { key: CacheKey { hash: key.hash, request }, outputs, bytes }
    }
}

fn copy_of_input(input: &ValidInput) -> ValidInput {
    let ValidInput { shape, data } = input;
    ValidInput { shape: shape.clone(), data: data.contiguous().into_owned().into() }
}

fn copy_of_output(output: &OutputTensor) -> OutputTensor {
    let OutputTensor { name, datatype, shape, data } = output;
    OutputTensor {
        name: Arc::clone(name),
        datatype: *datatype,
        shape: shape.clone(),
        data: Bytes::copy_from_slice(data),
    }
}

fn request_bytes(request: &ValidRequest) -> usize {
    let ValidRequest { inputs, given, outputs, batch_key, .. } = request;
    let buffers = inputs.iter().map(|input| BUFFER_BYTES + input.data.len() + heap(&input.shape));
    buffers.sum::<usize>() + heap(inputs) + heap(given) + heap(outputs) + heap(batch_key)
}

/// Bytes of an output. Its name counts, although the signature usually shares it.
fn output_bytes(output: &OutputTensor) -> usize {
    2 * BUFFER_BYTES + output.data.len() + output.name.len() + heap(&output.shape)
}

/// Bytes of a vector outside of its own structure.
fn heap<A: smallvec::Array>(vec: &SmallVec<A>) -> usize {
    if vec.spilled() { vec.capacity() * size_of::<A::Item>() } else { 0 }
}

/// The key of a stored entry, kept inside of the entry.
struct StoredKey(Arc<CacheEntry>);

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for StoredKey {}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl Equivalent<StoredKey> for CacheKey {
    fn equivalent(&self, key: &StoredKey) -> bool {
        *self == key.0.key
    }
}

/// Weighs an entry by its memory.
#[derive(Clone)]
struct ByBytes;

impl Weighter<StoredKey, Arc<CacheEntry>> for ByBytes {
    fn weight(&self, _key: &StoredKey, entry: &Arc<CacheEntry>) -> u64 {
        entry.bytes as u64
    }
}
