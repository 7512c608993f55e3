//! Makes a package ready to run: reads it, decodes its tensors in parallel, decides for each layer
//! whether it runs dense or sparse, and gives ONNX Runtime a graph in which sparse layers, and
//! products of rows that become bytes, are operators of our own. All sessions share their weights.

mod assemble;
mod constants;
mod decide;
mod decode;
mod floor;
mod forms;
mod kernel;
mod layer;
mod measure;
mod plan;
mod probe;
mod rewrite;
mod sizes;
mod tail;

pub(crate) use plan::is_faster;

use crate::config::ModelConfig;
use crate::layers::Layers;
use crate::optional_inputs::optional_inputs;
use assemble::Parts;
use decode::Decoded;
use forms::Form;
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

/// Tensors of a package that is served.
const TENSORS_MAX: usize = 1 << 14;

/// Numbers of a tensor that may say the size of another.
const SIZES_MAX: u64 = 64;

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
    #[error("its products of bytes can not be run: {0}")]
    Compress(#[from] CompressError),
    #[error("its compressed layers can not be run: {0}")]
    Kernel(#[from] KernelError),
    #[error("{0}")]
    Config(String),
}

/// A package that has been read, decoded and decided on.
pub(crate) struct Prepared {
    parts: Parts,
    forms: Vec<Form>,
    graph: Arc<Model>,
}

/// What sessions are made of, and what is said of it.
pub(crate) struct Executable {
    /// An ONNX file.
    pub(crate) model: Vec<u8>,
    /// The weights of operators of our own, where its graph has any. All sessions share them.
    pub(crate) operators: Option<OperatorWeights>,
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
    give_sizes(&mut model, &package)?;
    let optional = optional_inputs(&model, &config.expected_inputs);
    let optional = optional.into_iter().map(|input| input.name).collect();
    let found = layer::layers(&package, model.graph(), &optional)?;
    let (config, batch_max) = (&config.compressed, config.max_batch_size);
    decide::check(config, &found)?;
    let candidates = decide::candidates(config, &found);
    let graph = Arc::new(model.clone());
    if candidates.is_empty() {
        return as_it_is(package, found, graph);
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
    let forms = forms::forms(&found, &decisions);
    let parts = Parts { package, model: Some(model), found, weights: layers };
    Ok(Prepared { parts, forms, graph })
}

impl Prepared {
    /// The graph as it was packed: without operators of our own, and without the values of
    /// weights but for those that sizes follow from.
    pub(crate) fn graph(&self) -> Arc<Model> {
        Arc::clone(&self.graph)
    }

    /// In how many forms it can run, as far as its layers by themselves tell; one at least. Those
    /// with fewer sparse layers come first.
    pub(crate) fn forms(&self) -> usize {
        self.forms.len()
    }

    /// What runs in one of the forms.
    pub(crate) fn executable(&self, form: usize) -> Result<Executable, PrepareError> {
        self.parts.executable(&self.forms[form])
    }
}

/// Gives a graph its small integers, from which the sizes of its values follow.
fn give_sizes(model: &mut Model, package: &Package) -> Result<(), PackageError> {
    for entry in package.tensors() {
        let is_integer = matches!(entry.element, ElementType::Int64 | ElementType::Int32);
        if is_integer && entry.count <= SIZES_MAX && entry.codec.is_some() {
            model.set_initializer(&entry.name, package.tensor(&entry.name)?);
        }
    }
    Ok(())
}

/// A package none of whose layers could run sparse.
fn as_it_is(
    package: Package,
    found: Vec<Layer>,
    graph: Arc<Model>,
) -> Result<Prepared, PrepareError> {
    package.verify()?;
    let forms = vec![found.iter().map(decide::as_it_is).collect()];
    let parts = Parts { package, model: None, found, weights: HashMap::new() };
    Ok(Prepared { parts, forms, graph })
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
