//! The kernels as custom operators of ONNX Runtime, on its own pool of threads.
//!
//! | operator | inputs | output |
//! |---|---|---|
//! | `SparseMatMul` | `x` [.., inputs], `bias`? [outputs] | [.., outputs] |
//! | `Int8MatMul` | `x` [.., inputs], `bias`? [outputs] | [.., outputs] |
//! | `SparseConv` | `x` [n, channels, (h,) w], `bias`? [outputs], `added`? as the output | [n, outputs, (h,) w] |
//!
//! Weights stay in Rust: the attribute `weight` names them. `activation` is `Relu`, `LeakyRelu`
//! (with `slope`) or `Clip` (with `low` and `high`), and comes last.

mod attributes;
mod conv;
mod matmul;

use crate::{Int8Matrix, KernelError, Parallel, Scratch, SparseConv, SparseMatrix};
use ort::operator::{ComputeContext, OperatorDomain};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The domain of the operators.
pub const DOMAIN: &str = "skysail";

/// The version of the domain.
pub const DOMAIN_VERSION: i64 = 1;

/// The operator whose weights are bytes, and which makes bytes of each row that it multiplies.
pub const INT8_PRODUCT: &str = "Int8MatMul";

/// What the operators of a session work with. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OperatorWeights {
    /// Those of `SparseMatMul`, by the name that a node's `weight` gives.
    pub matrices: HashMap<String, Arc<SparseMatrix>>,
    /// Those of `SparseConv`.
    pub convolutions: HashMap<String, Arc<SparseConv>>,
    /// Those of `Int8MatMul`.
    pub int8: HashMap<String, Arc<Int8Matrix>>,
}

/// The operators over these weights, for one session or several.
///
/// # Errors
/// When ONNX Runtime refuses.
pub fn operators(weights: &OperatorWeights) -> Result<OperatorDomain, KernelError> {
    let scratch = ScratchPool::default();
    let conv = conv::Conv { weights: weights.convolutions.clone(), scratch: scratch.clone() };
    let int8 = matmul::MatMul { weights: weights.int8.clone(), scratch: scratch.clone() };
    let matmul = matmul::MatMul { weights: weights.matrices.clone(), scratch };
    Ok(OperatorDomain::new(DOMAIN)?.add(matmul)?.add(int8)?.add(conv)?)
}

/// Memory that all kernels of a session work in, one after the other.
#[derive(Debug, Clone, Default)]
struct ScratchPool(Arc<Mutex<Vec<Scratch>>>);

impl ScratchPool {
    fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        let mut scratch = free.unwrap_or_default();
        let result = work(&mut scratch);
        lock().push(scratch);
        result
    }
}

/// The pool of threads that a session runs on.
struct Pool<'a>(&'a ComputeContext);

// SAFETY: ONNX Runtime's pool runs each part once, and comes back when all have ended.
unsafe impl Parallel for Pool<'_> {
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), KernelError> {
        match parts {
            0 => return Ok(()),
            1 => {
                part(0);
                return Ok(());
            }
            _ => {}
        }
        let has_failed = AtomicBool::new(false);
        self.0.par_for(parts, 0, |index| {
            if catch_unwind(AssertUnwindSafe(|| part(index))).is_err() {
                has_failed.store(true, Ordering::Relaxed);
            }
        })?;
        if has_failed.into_inner() { Err(panicked().into()) } else { Ok(()) }
    }
}

/// Runs a kernel. What calls it is no Rust: a panic would end the process there, and is an error
/// here.
fn guarded(work: impl FnOnce() -> ort::Result<()>) -> ort::Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> ort::Error {
    ort::Error::new("a kernel for compressed weights panicked")
}

/// The values of an optional input of a run, if it is there.
fn optional(
    context: &ComputeContext,
    index: usize,
) -> ort::Result<Option<ort::value::ValueRef<'_>>> {
    if index < context.num_inputs()? { context.input(index) } else { Ok(None) }
}

/// What ONNX Runtime is told.
fn error(error: KernelError) -> ort::Error {
    match error {
        KernelError::Runtime(error) => error,
        other => ort::Error::new(other.to_string()),
    }
}
