//! Helpers of tests: a repository, models, and requests.

#![allow(dead_code, reason = "each file of tests uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]

use ort::environment::Environment;
use skysail_engine::backend::onnxruntime;
use skysail_engine::config::{ControlMode, EngineConfig, ReadyWhen};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::repository::{Repository, Roots};
use skysail_engine::request::{InputTensor, Request, Response};
use skysail_engine::tensor::{DataType, Shape};
use skysail_engine::{Error, runtime};
use skysail_graph::{Dim, ElementType};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) mod compressed;
pub(crate) mod graphs;
pub(crate) mod npy;

/// Time after which a test counts as hanging.
const HANG: Duration = Duration::from_secs(60);

/// Cores for ONNX Runtime's threads.
pub(crate) const CORES: usize = 2;

/// ONNX Runtime, loaded once a process.
pub(crate) fn environment() -> Environment {
    runtime::load(CORES).unwrap_or_else(|error| panic!("{error}"))
}

/// A repository in a temporary folder.
pub(crate) struct Models {
    repository: Option<Repository>,
    folder: TempDir,
}

impl Models {
    /// Opens a repository that loads models by name.
    pub(crate) fn explicit() -> Self {
        Self::open(ControlMode::Explicit, 1)
    }

    /// Opens the same with several cores for each model.
    pub(crate) fn on_all_cores() -> Self {
        Self::open(ControlMode::Explicit, CORES)
    }

    /// Opens a repository that polls its folder.
    pub(crate) fn polled() -> Self {
        Self::open(ControlMode::Poll, 1)
    }

    /// Opens a repository that loads models by name from these places.
    pub(crate) fn explicit_of(folder: TempDir, roots: Roots) -> Self {
        Self::open_roots(folder, roots, ControlMode::Explicit, 1)
    }

    fn open(control: ControlMode, cores: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().to_owned();
        Self::open_roots(folder, models.into(), control, cores)
    }

    fn open_roots(folder: TempDir, models: Roots, control: ControlMode, cores: usize) -> Self {
        let config = EngineConfig {
            models,
            control,
            poll_ms: 5,
            load_at_start: vec![],
            ready_when: ReadyWhen::All,
            cores,
            objective_ms: None,
            probe: None,
            operator_libraries: Vec::new(),
        };
        Self {
            repository: Some(
                Repository::open(config, vec![onnxruntime(environment()).unwrap()]).unwrap(),
            ),
            folder,
        }
    }

    /// The repository.
    pub(crate) fn repository(&self) -> &Repository {
        self.repository.as_ref().unwrap()
    }

    /// Closes the repository, as a stopping server does.
    pub(crate) fn close(&mut self) {
        self.repository = None;
    }

    /// The path of a file of the repository.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes a file, such as `NAME/model.toml`, atomically.
    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let unseen = self.folder.path().join(".unseen");
        fs::write(&unseen, bytes).unwrap();
        fs::rename(unseen, path).unwrap();
        self
    }

    /// Writes version 1 of a model.
    pub(crate) fn add(&self, name: &str, model: &skysail_graph::Model) -> &Self {
        self.write(&format!("{name}/1/model.onnx"), model.to_bytes().unwrap())
    }

    /// Writes version 1 of a model as a package.
    pub(crate) fn add_package(&self, name: &str, model: &skysail_graph::Model) -> &Self {
        self.write(&format!("{name}/1/model.sky"), compressed::package(model))
    }

    /// Adds a package with these settings and loads it.
    pub(crate) fn load_package(
        &self,
        name: &str,
        model: &skysail_graph::Model,
        toml: &str,
    ) -> Result<Arc<Endpoint>, String> {
        self.add_package(name, model).write(&format!("{name}/model.toml"), toml).load(name)
    }

    /// Links a file as version 1 of a model.
    pub(crate) fn link(&self, name: &str, model: &Path) -> &Self {
        let folder = self.folder.path().join(name).join("1");
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(model, folder.join("model.onnx")).unwrap();
        self
    }

    /// Deletes a folder, such as `NAME/2`.
    pub(crate) fn remove(&self, folder: &str) {
        fs::remove_dir_all(self.folder.path().join(folder)).unwrap();
    }

    /// Loads a model by name, and returns its newest version.
    pub(crate) fn load(&self, name: &str) -> Result<Arc<Endpoint>, String> {
        self.load_with(name, None)
    }

    /// Loads a model with a configuration of Triton in place of that in its folder.
    pub(crate) fn load_with(
        &self,
        name: &str,
        json: Option<&str>,
    ) -> Result<Arc<Endpoint>, String> {
        let loading = self.repository().load(name, json.map(str::to_owned));
        block_on(loading).map_err(|error| error.to_string())?;
        Ok(self.repository().lookup(name, None).unwrap())
    }

    /// Adds a model with these settings and loads it.
    pub(crate) fn load_new(
        &self,
        name: &str,
        model: &skysail_graph::Model,
        toml: &str,
    ) -> Result<Arc<Endpoint>, String> {
        self.add(name, model).write(&format!("{name}/model.toml"), toml).load(name)
    }
}

/// Waits for a future, with a time limit.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANG, future).await.expect("it hangs") })
}

/// Polls until a condition holds.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < HANG, "waited too long for {what}");
        std::thread::yield_now();
    }
}

/// A tensor of bytes in the protocol's form.
pub(crate) fn tensor(
    name: &str,
    datatype: DataType,
    shape: &[usize],
    data: Vec<u8>,
) -> InputTensor {
    let (name, shape) = (name.to_owned(), Shape::from_slice(shape));
    InputTensor { name, datatype, shape, data: data.into() }
}

/// A tensor of floats.
pub(crate) fn floats(name: &str, shape: &[usize], values: &[f32]) -> InputTensor {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, DataType::Fp32, shape, data)
}

/// A request of one tensor.
pub(crate) fn request(input: InputTensor) -> Request {
    Request { inputs: [input].into_iter().collect(), ..Request::default() }
}

/// Sends a request and waits for the response.
pub(crate) fn ask(model: &Arc<Endpoint>, request: Request) -> Result<Response, Error> {
    let ticket = model.submit(request)?;
    block_on(ticket)
}

/// Sends all requests at once, so that they share runs where possible.
pub(crate) fn ask_together(model: &Arc<Endpoint>, requests: Vec<Request>) -> Vec<Response> {
    let tickets: Vec<_> = requests.into_iter().map(|r| model.submit(r).unwrap()).collect();
    let answers = tickets.into_iter().map(|ticket| block_on(ticket).unwrap());
    answers.collect()
}

/// The floats of an output.
pub(crate) fn values(response: &Response, output: usize) -> Vec<f32> {
    let elements = response.outputs[output].data.as_chunks().0;
    elements.iter().map(|&element| f32::from_le_bytes(element)).collect()
}

/// Asserts that numbers are equal to within rounding.
pub(crate) fn assert_close(got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len());
    for (place, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let close = (got - wanted).abs() <= tolerance * wanted.abs().max(1.0);
        assert!(close || got == wanted, "at {place}: {got}, not {wanted}");
    }
}

/// A file of the models that come with the server.
pub(crate) fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(file)
}

/// Dimensions with an open first one, then these sizes.
pub(crate) fn batch_of(sizes: &[u64]) -> Vec<Dim> {
    let sizes = sizes.iter().map(|&size| Dim::Fixed(size));
    std::iter::once(Dim::from("batch")).chain(sizes).collect()
}

/// Float32.
pub(crate) const FLOAT: ElementType = ElementType::Float32;
