//! Custom operators of ONNX Runtime over the kernels, on its own thread pool.
//!
//! | operator | inputs | output |
//! |---|---|---|
//! | `SparseMatMul` | `x` [.., inputs], `bias`? [outputs] | [.., outputs] |
//! | `Int8MatMul` | `x` [.., inputs], `bias`? [outputs] | [.., outputs] |
//! | `SparseConv` | `x` [n, channels, (h,) w], `bias`? [outputs], `added`? as the output | [n, outputs, (h,) w] |
//!
//! Weights stay in Rust: the attribute `weight` names them. `activation` is `Relu`, `LeakyRelu`
//! (with `slope`) or `Clip` (with `low` and `high`), and is applied last.

mod attributes;
mod conv;
mod matmul;

use crate::{Int8Matrix, KernelError, Parallel, Scratch, SparseConv, SparseMatrix};
use ort::operator::{ComputeContext, OperatorDomain};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Domain of the operators.
pub const DOMAIN: &str = "skysail";

/// Version of the domain.
pub const DOMAIN_VERSION: i64 = 1;

/// Operator with byte weights, which quantizes each row that it multiplies.
pub const INT8_MATMUL: &str = "Int8MatMul";

/// Weights of a session's operators. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct OperatorWeights {
    /// Weights of `SparseMatMul`, by the names in the attribute `weight`.
    pub matrices: HashMap<String, Arc<SparseMatrix>>,
    /// Weights of `SparseConv`.
    pub convolutions: HashMap<String, Arc<SparseConv>>,
    /// Weights of `Int8MatMul`.
    pub int8: HashMap<String, Arc<Int8Matrix>>,
}

/// Makes the operators over these weights, for one session or several.
///
/// # Errors
/// When ONNX Runtime reports an error.
pub fn operators(weights: &OperatorWeights) -> Result<OperatorDomain, KernelError> {
    let scratch = ScratchPool::default();
    let conv = conv::Conv { weights: weights.convolutions.clone(), scratch: scratch.clone() };
    let int8 = matmul::MatMul { weights: weights.int8.clone(), scratch: scratch.clone() };
    let matmul = matmul::MatMul { weights: weights.matrices.clone(), scratch };
    Ok(OperatorDomain::new(DOMAIN)?.add(matmul)?.add(int8)?.add(conv)?)
}

/// Scratch memory that the kernels of a session share.
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

/// Thread pool of a session.
struct Pool<'a>(&'a ComputeContext);

// SAFETY: ONNX Runtime's pool runs each part once, and returns when all have ended.
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

/// Runs a kernel, and turns a panic into an error: a panic in a call from C++ would end the
/// process.
fn guarded(work: impl FnOnce() -> ort::Result<()>) -> ort::Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> ort::Error {
    ort::Error::new("a kernel for compressed weights panicked")
}

/// Optional input of a run, if present.
fn optional(
    context: &ComputeContext,
    index: usize,
) -> ort::Result<Option<ort::value::ValueRef<'_>>> {
    if index < context.num_inputs()? { context.input(index) } else { Ok(None) }
}

/// Converts an error for ONNX Runtime.
fn error(error: KernelError) -> ort::Error {
    match error {
        KernelError::Runtime(error) => error,
        other => ort::Error::new(other.to_string()),
    }
}
