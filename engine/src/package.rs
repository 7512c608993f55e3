//! Prepares a package to run: reads it, decodes its tensors in parallel, and decides whether each
//! layer runs dense or sparse.
//!
//! Sparse layers, and products of rows quantized to bytes, become custom operators in ONNX
//! Runtime's graph. All sessions share the weights of these.

mod assemble;
mod batch_sizes;
mod constants;
mod criteria;
mod decide;
mod decode;
mod dense_bound;
mod epilogue;
mod kernel;
mod layer;
mod layer_models;
mod measure;
mod operation;
mod rewrite;
mod variants;

pub(crate) use criteria::{is_exact, is_faster};

use crate::config::ModelConfig;
use crate::layers::Layers;
use crate::optional_inputs::optional_inputs;
use assemble::Parts;
use decode::Decoded;
use layer::Layer;
use ort::environment::Environment;
use skysail_compression::{CompressError, Package, PackageError};
use skysail_graph::{ElementType, GraphError, MODEL_BYTES_MAX, Model};
use skysail_kernels::{KernelError, OperatorWeights};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use variants::Variant;

/// Tensors of a package, at most.
const TENSORS_MAX: usize = 1 << 14;

/// Elements of a tensor that may determine the shape of another, at most.
const SIZES_MAX: u64 = 64;

/// Reason for which a package can not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("it can not be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is larger than the limit of {MODEL_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it has {0} tensors, more than the limit of {TENSORS_MAX}")]
    Tensors(usize),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("its products of bytes can not be run: {0}")]
    Compress(#[from] CompressError),
    #[error("its compressed layers can not be run: {0}")]
    Kernel(#[from] KernelError),
    #[error("{0}")]
    Config(String),
}

/// A package that is decoded, with a decision for each layer.
pub(crate) struct Prepared {
    parts: Parts,
    variants: Vec<Variant>,
    graph: Arc<Model>,
}

/// A model to make sessions from, with a report on its layers.
pub(crate) struct Executable {
    /// Bytes of an ONNX file.
    pub(crate) model: Vec<u8>,
    /// Weights of the graph's custom operators, if it has any. All sessions share them.
    pub(crate) operators: Option<OperatorWeights>,
    pub(crate) layers: Layers,
}

/// Prepares the package of a file.
pub(crate) fn prepare(
    path: &Path,
    config: &ModelConfig,
    environment: &Environment,
) -> Result<Prepared, PrepareError> {
    let package = Package::from_bytes(read(path)?)?;
    match package.tensors().len() {
        0..=TENSORS_MAX => {}
        tensors => return Err(PrepareError::Tensors(tensors)),
    }
    let mut model = package.graph_without_weights()?;
    set_small_integers(&mut model, &package)?;
    let optional = optional_inputs(&model, &config.expected_inputs);
    let optional = optional.into_iter().map(|input| input.name).collect();
    let found = layer::layers(&package, model.graph(), &optional)?;
    let (config, batch_max) = (&config.compressed, config.max_batch_size);
    decide::check(config, &found)?;
    let candidates = decide::candidates(config, &found);
    let graph = Arc::new(model.clone());
    if candidates.is_empty() {
        return unchanged(package, found, graph);
    }
    let sizes = batch_sizes::sizes(model.graph(), batch_max);
    let (seal, decoded) =
        rayon::join(|| package.verify(), || decode::decode(&package, &candidates, &sizes));
    // An error of one tensor says more than a failed check of the whole.
    let Decoded { dense, layers } = decoded?;
    seal?;
    for (name, tensor) in dense {
        model.set_initializer(&name, tensor);
    }
    let decisions = decide::decide(config, &found, &layers, &sizes, environment)?;
    let variants = variants::variants(&found, &decisions);
    let parts = Parts { package, model: Some(model), found, weights: layers };
    Ok(Prepared { parts, variants, graph })
}

impl Prepared {
    /// The graph as packed: without custom operators, and with only those values of weights that
    /// determine shapes.
    pub(crate) fn graph(&self) -> Arc<Model> {
        Arc::clone(&self.graph)
    }

    /// Number of variants worth comparing, at least one. Those with fewer sparse layers come
    /// first.
    pub(crate) fn variants(&self) -> usize {
        self.variants.len()
    }

    /// Builds the model of one variant.
    pub(crate) fn executable(&self, variant: usize) -> Result<Executable, PrepareError> {
        self.parts.executable(&self.variants[variant])
    }

    /// Builds the model of one variant with its layers of 8 bits as floats; `None` if there are
    /// none. The report gives the reason.
    pub(crate) fn widened(
        &self,
        variant: usize,
        why: &str,
    ) -> Result<Option<Executable>, PrepareError> {
        self.parts.widened(&self.variants[variant], why)
    }
}

/// Sets the small integer tensors of a graph, which determine the shapes of its values.
fn set_small_integers(model: &mut Model, package: &Package) -> Result<(), PackageError> {
    for entry in package.tensors() {
        let is_integer = matches!(entry.element, ElementType::Int64 | ElementType::Int32);
        if is_integer && entry.count <= SIZES_MAX && entry.codec.is_some() {
            model.set_initializer(&entry.name, package.tensor(&entry.name)?);
        }
    }
    Ok(())
}

/// Prepares a package in which no layer can run sparse.
fn unchanged(
    package: Package,
    found: Vec<Layer>,
    graph: Arc<Model>,
) -> Result<Prepared, PrepareError> {
    package.verify()?;
    let variants = vec![found.iter().map(decide::dense).collect()];
    let parts = Parts { package, model: None, found, weights: HashMap::new() };
    Ok(Prepared { parts, variants, graph })
}

/// Reads the bytes of a file. It is not mapped into memory: if another version is copied over a
/// mapped file, reading it ends the process.
fn read(path: &Path) -> Result<Vec<u8>, PrepareError> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    bytes.reserve(usize::try_from(file.metadata()?.len().min(MODEL_BYTES_MAX)).unwrap_or(0));
    file.take(MODEL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        0..=MODEL_BYTES_MAX => Ok(bytes),
        _ => Err(PrepareError::TooLarge),
    }
}
