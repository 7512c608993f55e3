//! Makes a package ready to run: reads it, decodes its tensors in parallel, decides for each layer
//! whether it runs dense or sparse, and gives ONNX Runtime a graph in which sparse layers are
//! operators of our own. Their weights are never dense, and all sessions share them.

mod assemble;
mod constants;
mod decide;
mod decode;
mod floor;
mod kernel;
mod layer;
mod measure;
mod plan;
mod probe;
mod rewrite;
mod sizes;
mod tail;

use crate::config::ModelConfig;
use crate::layers::{LayerTimes, Layers};
use assemble::Parts;
use decode::Decoded;
use ort::environment::Environment;
use ort::operator::OperatorDomain;
use skysail_compression::{Package, PackageError};
use skysail_graph::{GraphError, MODEL_BYTES_MAX};
use skysail_kernels::KernelError;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Tensors of a package that is served.
const TENSORS_MAX: usize = 1 << 14;

/// Why a package can not be served.
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
    #[error("its sparse layers can not be run: {0}")]
    Kernel(#[from] KernelError),
    #[error("{0}")]
    Config(String),
}

/// A package as it runs.
pub(crate) struct Prepared {
    pub(crate) chosen: Executable,
    /// The same with dense convolutions. Those of the runtime pass their images on in a layout of
    /// their own, so that which is faster shows only in the whole.
    pub(crate) other: Option<Executable>,
}

/// What sessions are made of, and what is said of it.
pub(crate) struct Executable {
    /// An ONNX file.
    pub(crate) model: Vec<u8>,
    /// What its graph uses besides the runtime's own operators.
    pub(crate) operators: Option<Arc<OperatorDomain>>,
    pub(crate) layers: Layers,
}

/// Makes the package of a file ready to run.
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
    let found = layer::layers(&package, model.graph())?;
    let (config, batch_max) = (&config.compressed, config.max_batch_size);
    decide::check(config, &found)?;
    let candidates = decide::candidates(config, &found);
    if candidates.is_empty() {
        return as_it_is(&package, &found);
    }
    let sizes = sizes::sizes(model.graph(), batch_max);
    let (seal, decoded) =
        rayon::join(|| package.verify(), || decode::decode(&package, &candidates, &sizes));
    // What is wrong with a tensor tells more than that something is.
    let Decoded { dense, layers } = decoded?;
    seal?;
    for (name, tensor) in dense {
        model.set_initializer(&name, tensor);
    }
    let decisions = decide::decide(config, &found, &layers, &sizes, environment)?;
    let parts = Parts { package: &package, found: &found, weights: &layers };
    let others = parts.without_convolutions(&decisions);
    let other = others.map(|others| parts.executable(model.clone(), &others)).transpose()?;
    Ok(Prepared { chosen: parts.executable(model, &decisions)?, other })
}

/// Whether a model is faster sparse, by its run times at some batch sizes in both forms.
pub(crate) fn is_faster(sparse: &[(usize, f64)], dense: &[(usize, f64)]) -> bool {
    let times = sparse.iter().zip(dense).map(|((batch, sparse_us), (_, dense_us))| LayerTimes {
        batch: *batch,
        sparse_us: *sparse_us,
        dense_us: *dense_us,
        dense_is_bound: false,
    });
    plan::is_faster_sparse(&times.collect::<Vec<_>>())
}

/// A package none of whose layers could run sparse.
fn as_it_is(package: &Package, found: &[layer::Layer]) -> Result<Prepared, PrepareError> {
    let (seal, model) = rayon::join(|| package.verify(), || package.model_bytes());
    let model = model?;
    seal?;
    let decisions: Vec<_> = found.iter().map(decide::as_it_is).collect();
    let parts = Parts { package, found, weights: &HashMap::new() };
    let layers = parts.layers(&decisions, &[]);
    Ok(Prepared { chosen: Executable { model, operators: None, layers }, other: None })
}

/// The bytes of a file. It is not mapped into memory: whoever copies another version over it would
/// take them away while they are read, and the process with them.
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
