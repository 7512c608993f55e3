//! Shares one copy of the weights among all replicas of a version.
//!
//! ONNX Runtime takes values for initializers by name, and sessions can share what kernels pack out
//! of them. But it rewrites the graph first, and values that it folds or fuses in each session are
//! no initializers of the file. So the graph is optimised once, and the sessions are made of the
//! result, which needs no rewriting.
//!
//! Kernels pack their weights before they look for packed ones, so each session needs the memory of
//! its largest weights for a moment. The allocator of glibc before 2.38 keeps such blocks of up to
//! 32 MiB after they are freed (its bug 14581). Setting the environment variable
//! `MALLOC_MMAP_THRESHOLD_` avoids that.

use super::SessionError;
use super::make::SessionMaker;
use bytemuck::Pod;
use half::{bf16, f16};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use rustix::fs::{MemfdFlags, memfd_create};
use skysail_graph::{Element, ElementType, Model, TensorView};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

/// Bytes of the smallest initializer that is worth sharing.
const SHARED_BYTES_MIN: u64 = 1 << 10;

/// File name that the graph states for shared values. No code opens it.
const SHARED_FILE: &str = "shared";

/// An optimised graph with its weights. Each session keeps the weights that it uses alive.
pub(super) struct SharedModel {
    graph: Vec<u8>,
    weights: Vec<(String, Arc<DynValue>)>,
    /// Container of packed weights; `None` if a kernel can not share them.
    prepacked: Option<PrepackedWeights>,
}

impl SharedModel {
    pub(super) fn new(maker: &SessionMaker<'_>) -> Result<Self, SessionError> {
        let mut model = optimized(maker)?;
        let mut weights = Vec::new();
        let optional = model.optional_inputs();
        // An optional input is no constant, so the runtime must keep its default itself.
        let is_constant = |view: &TensorView<'_>| optional.iter().all(|o| o.name != view.name());
        for view in model.graph().initializers().filter(is_constant) {
            if let Some(value) = shareable(&view)? {
                weights.push((view.name().to_owned(), Arc::new(value)));
            }
        }
        for (name, _) in &weights {
            model.move_initializer(name, SHARED_FILE);
        }
        Ok(Self { graph: model.to_bytes()?, weights, prepacked: Some(PrepackedWeights::new()) })
    }

    /// Makes a session that shares the weights.
    pub(super) fn session(
        &mut self,
        maker: &SessionMaker<'_>,
        threads: usize,
    ) -> Result<Session, SessionError> {
        let builder = || maker.builder(GraphOptimizationLevel::Disable, threads);
        if let Some(prepacked) = &self.prepacked {
            let builder = builder()?.with_prepacked_weights(prepacked)?;
            match self.commit(maker, builder) {
                Ok(session) => return Ok(session),
                Err(error) => tracing::debug!("packed weights are not shared: {error}"),
            }
            self.prepacked = None;
        }
        self.commit(maker, builder()?)
    }

    fn commit(
        &self,
        maker: &SessionMaker<'_>,
        mut builder: SessionBuilder,
    ) -> Result<Session, SessionError> {
        for (name, value) in &self.weights {
            // The first call is for readers of the graph, the second for kernels that pack.
            builder = builder
                .with_external_initializer(name, Arc::clone(value))?
                .with_initializer(name, Arc::clone(value))?;
        }
        let _guard = maker.guard();
        Ok(builder.commit_from_memory(&self.graph)?)
    }
}

/// Optimises the model's graph with ONNX Runtime.
fn optimized(maker: &SessionMaker<'_>) -> Result<Model, SessionError> {
    let memory = memfd_create("optimized", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let mut file = File::from(memory);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let builder = maker.builder(maker.level(), 1)?.with_prepacking(false)?;
    drop(maker.commit(builder.with_optimized_model_path(path)?)?);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    drop(file);
    let mut model = Model::from_bytes(&bytes)?;
    model.set_folder(maker.path.parent().unwrap_or(Path::new("")));
    Ok(model)
}

/// Values of an initializer; `None` if it is too small or of an unsupported type.
fn shareable(view: &TensorView<'_>) -> Result<Option<DynValue>, SessionError> {
    use ElementType as E;
    let is_large = view.element().bytes(view.count()?) >= Some(SHARED_BYTES_MIN);
    if !is_large && !view.is_external() {
        return Ok(None);
    }
    Ok(Some(match view.element() {
        E::Float32 => value::<f32>(view)?,
        E::Float64 => value::<f64>(view)?,
        E::Float16 => value::<f16>(view)?,
        E::BFloat16 => value::<bf16>(view)?,
        E::Int8 => value::<i8>(view)?,
        E::UInt8 => value::<u8>(view)?,
        E::Int16 => value::<i16>(view)?,
        E::UInt16 => value::<u16>(view)?,
        E::Int32 => value::<i32>(view)?,
        E::UInt32 => value::<u32>(view)?,
        E::Int64 => value::<i64>(view)?,
        E::UInt64 => value::<u64>(view)?,
        _ => return Ok(None),
    }))
}

fn value<T>(view: &TensorView<'_>) -> Result<DynValue, SessionError>
where
    T: Element + Pod + PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
{
    let dims: Vec<i64> = view.shape()?.into_iter().map(|dim| dim.cast_signed()).collect();
    Ok(Tensor::from_array((dims, view.values::<T>()?.into_owned()))?.into_dyn())
}
