//! Answers kept for requests to come, of one version of one model; off unless its settings ask
//! for it. A hash finds an answer, and the whole request decides: shapes, bytes, wanted outputs.

use crate::admit::{Admitted, AdmittedInput};
use crate::batch::Outputs;
use crate::config::CacheConfig;
use crate::error::Error;
use crate::request::OutputTensor;
use bytes::Bytes;
use flight::Flights;
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

mod flight;
#[cfg(test)]
mod tests;

/// Parts of the cache with a lock each.
const SHARDS: usize = 8;

/// An entry takes at most this part of the cache, so half a shard.
const LARGEST_SHARE: usize = 2 * SHARDS;

/// What an entry is thought to take. It says of how many that were pushed out the hash is kept.
const TYPICAL_ENTRY_BYTES: usize = 4 << 10;

/// What an entry takes besides its own structure: its places in the tables, with their slack, and
/// the counter of its owners.
const ENTRY_BYTES: usize = 144;

/// What a buffer takes besides its bytes: the counter of its owners, and the allocator's share.
const BUFFER_BYTES: usize = 64;

/// The answers of one version, and the runs that are on their way.
pub(crate) struct Cache {
    entries: Entries<Key, Arc<Kept>, ByBytes>,
    flights: Flights,
    /// Keyed at random.
    hasher: DefaultHashBuilder,
    entry_bytes_max: usize,
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// Answers.
    pub entries: usize,
    /// Memory of all of them, with the requests they belong to.
    pub bytes: u64,
}

impl Cache {
    /// An empty one.
    pub(crate) fn new(config: CacheConfig) -> Result<Self, Error> {
        let bytes_max = config.bytes_max / SHARDS * SHARDS;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(bytes_max as u64)
            .estimated_items_capacity((bytes_max / TYPICAL_ENTRY_BYTES).max(32 * SHARDS))
            .build()
            .map_err(|error| Error::Internal(format!("the cache can not be made: {error}")))?;
        let hasher = DefaultHashBuilder::default();
        let lifecycle = DefaultLifecycle::default();
        Ok(Self {
            entries: Entries::with_options(options, ByBytes, hasher.clone(), lifecycle),
            flights: Flights::default(),
            hasher,
            entry_bytes_max: bytes_max / LARGEST_SHARE,
        })
    }

    /// How much it holds.
    pub(crate) fn in_use(&self) -> CacheUse {
        CacheUse { entries: self.entries.len(), bytes: self.entries.weight() }
    }

    fn get(&self, question: &Question) -> Option<Outputs> {
        self.entries.get(question).map(|kept| kept.outputs.clone())
    }

    /// Keeps an answer, unless it is too large.
    fn keep(&self, question: &Question, outputs: &[OutputTensor]) {
        let answer_bytes: usize = outputs.iter().map(|output| output.data.len()).sum();
        if data_bytes(&question.request) + answer_bytes > self.entry_bytes_max {
            return;
        }
        let kept = Kept::copy_of(question, outputs);
        if kept.bytes <= self.entry_bytes_max {
            let kept = Arc::new(kept);
            self.entries.insert(Key(Arc::clone(&kept)), kept);
        }
    }
}

/// A request, with the hash of all that its answer depends on.
struct Question {
    hash: u64,
    request: Admitted,
}

impl Question {
    fn new(request: Admitted, hasher: &DefaultHashBuilder) -> Self {
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
}

fn data_bytes(request: &Admitted) -> usize {
    request.inputs.iter().map(|input| input.data.len()).sum()
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.request, &other.request);
        self.hash == other.hash
            && a.outputs == b.outputs
            && a.given == b.given
            && a.inputs == b.inputs
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// An answer with its question, in buffers of their own: those they came in may be parts of much
/// larger ones.
struct Kept {
    question: Question,
    outputs: Outputs,
    /// All memory that it keeps.
    bytes: usize,
}

impl Kept {
    fn copy_of(question: &Question, outputs: &[OutputTensor]) -> Self {
        let asked = &question.request;
        let request = Admitted {
            inputs: asked.inputs.iter().map(copy_of_input).collect(),
            given: asked.given.clone(),
            outputs: asked.outputs.clone(),
            rows: asked.rows,
            lane: asked.lane.clone(),
        };
        let outputs: Outputs = outputs.iter().map(copy_of_output).collect();
        let bytes = size_of::<Self>() + ENTRY_BYTES + request_bytes(&request) + heap(&outputs);
        let bytes = bytes + outputs.iter().map(output_bytes).sum::<usize>();
        Self { question: Question { hash: question.hash, request }, outputs, bytes }
    }
}

fn copy_of_input(input: &AdmittedInput) -> AdmittedInput {
    let AdmittedInput { shape, data } = input;
    AdmittedInput { shape: shape.clone(), data: data.contiguous().into_owned().into() }
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

fn request_bytes(request: &Admitted) -> usize {
    let Admitted { inputs, given, outputs, lane, .. } = request;
    let buffers = inputs.iter().map(|input| BUFFER_BYTES + input.data.len() + heap(&input.shape));
    buffers.sum::<usize>() + heap(inputs) + heap(given) + heap(outputs) + heap(lane)
}

/// Names are shared with the model's signature as a rule; they count all the same.
fn output_bytes(output: &OutputTensor) -> usize {
    2 * BUFFER_BYTES + output.data.len() + output.name.len() + heap(&output.shape)
}

/// What it keeps outside itself.
fn heap<A: smallvec::Array>(vec: &SmallVec<A>) -> usize {
    if vec.spilled() { vec.capacity() * size_of::<A::Item>() } else { 0 }
}

/// A question as the key of its answer; both lie in one place.
struct Key(Arc<Kept>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.question == other.0.question
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.question.hash(state);
    }
}

impl Equivalent<Key> for Question {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.0.question
    }
}

/// Counts an entry by its memory.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Kept>> for ByBytes {
    fn weight(&self, _key: &Key, kept: &Arc<Kept>) -> u64 {
        kept.bytes as u64
    }
}
