//! A backend beside ONNX Runtime: it opens files of its own, and everything else serves it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod support;

use skysail_engine::backend::{
    Backend, BackendError, Gate, OpenVersion, ReplicaCost, RunClock, VersionFile,
};
use skysail_engine::config::{ControlMode, EngineConfig, ReadyWhen};
use skysail_engine::executor::{BatchInput, ExecuteError, Execution, Executor, Stop};
use skysail_engine::replica::Replica;
use skysail_engine::repository::{Copied, Mirror, Root, Roots};
use skysail_engine::request::{InputTensor, OutputTensor, Request};
use skysail_engine::signature::{Signature, TensorSpec};
use skysail_engine::tensor::DataType;
use skysail_engine::{Engine, Error};
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// A point that threads reach, and pass once it is open.
#[derive(Default)]
struct Barrier {
    is_reached: AtomicBool,
    is_open: AtomicBool,
}

impl Barrier {
    fn pass(&self) {
        self.is_reached.store(true, Relaxed);
        support::wait_until("the barrier", || self.is_open.load(Relaxed));
    }

    fn wait_reached(&self) {
        support::wait_until("its being reached", || self.is_reached.load(Relaxed));
    }

    fn open(&self) {
        self.is_open.store(true, Relaxed);
    }
}

/// Opens `.zeros` files: models of one input that answer zeros of its shape.
#[derive(Default)]
struct Zeros {
    /// Barrier of each file that is opened.
    opening: Option<Arc<Barrier>>,
}

impl Backend for Zeros {
    fn name(&self) -> &'static str {
        "zeros"
    }

    fn opens(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "zeros")
    }

    fn open<'a>(
        &'a self,
        file: VersionFile<'a>,
        gate: Gate<'_>,
    ) -> Result<Box<dyn OpenVersion + 'a>, BackendError> {
        gate()?;
        self.opening.iter().for_each(|barrier| barrier.pass());
        let text = std::fs::read_to_string(file.path).map_err(BackendError::new)?;
        if text.trim() != "zeros" {
            return Err(BackendError::new("it does not hold the word zeros"));
        }
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            dims: smallvec![None, Some(2)],
            dim_names: Vec::new(),
            any_rank: false,
            reshape: None,
        };
        let (inputs, outputs) = (vec![spec("x")], vec![spec("y")]);
        let signature = Arc::new(Signature { inputs, outputs, ..Signature::default() });
        Ok(Box::new(Opened(signature)))
    }
}

struct Opened(Arc<Signature>);

impl OpenVersion for Opened {
    fn signature(&self) -> &Arc<Signature> {
        &self.0
    }

    fn replica(&mut self, _threads: usize) -> Result<Replica, BackendError> {
        Ok(Replica::direct(Box::new(ZeroExecutor)))
    }

    fn clock(&self, _threads: usize) -> RunClock {
        RunClock::Wall
    }

    fn replica_cost(&self) -> ReplicaCost {
        ReplicaCost::Elsewhere
    }
}

struct ZeroExecutor;

impl Executor for ZeroExecutor {
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        _stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        let gathered = Instant::now();
        let shape = inputs[0].shape.clone();
        let data = vec![0; 4 * shape.iter().product::<usize>()].into();
        let output = OutputTensor { name: "y".into(), datatype: DataType::Fp32, shape, data };
        Ok(Execution { outputs: smallvec![output], gathered, executed: Instant::now() })
    }
}

fn engine(content: &str) -> (Engine, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("zero"), content);
    let engine = start(folder.path().to_owned().into(), Zeros::default());
    support::wait_until("it has started", || engine.repository().is_started());
    (engine, folder)
}

/// Writes a model.
fn write(folder: &Path, content: &str) {
    std::fs::create_dir_all(folder.join("1")).unwrap();
    std::fs::write(folder.join("1/model.zeros"), content).unwrap();
    let settings = "file = \"model.zeros\"\nmax_batch_size = 8\n";
    std::fs::write(folder.join("model.toml"), settings).unwrap();
}

fn start(models: Roots, backend: Zeros) -> Engine {
    let config = EngineConfig {
        models,
        control: ControlMode::Poll,
        poll_ms: 5,
        load_at_start: vec![],
        ready_when: ReadyWhen::All,
        cores: 1,
        objective_ms: None,
        probe: None,
        operator_libraries: Vec::new(),
    };
    Engine::start_with(config, vec![Arc::new(backend)]).unwrap()
}

/// A copy of a place elsewhere, which the test makes.
struct Copy {
    view: PathBuf,
    /// Times that the models were listed.
    scans: AtomicUsize,
}

impl Mirror for Copy {
    fn copy(&self) -> &Path {
        &self.view
    }

    fn models(&self) -> BTreeMap<String, Option<String>> {
        self.scans.fetch_add(1, Relaxed);
        [("zero".into(), None)].into()
    }

    fn state(&self) -> Copied {
        Copied::All
    }

    fn fetch(&self, _model: &str) -> Result<(), String> {
        Ok(())
    }
}

fn request(rows: usize) -> Request {
    let input = InputTensor {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape: smallvec![rows, 2],
        data: vec![7; 8 * rows].into(),
    };
    Request { inputs: smallvec![input], ..Request::default() }
}

#[test]
fn a_backend_of_its_own_serves_its_files() {
    let (engine, _folder) = engine("zeros");
    let endpoint = engine.lookup("zero", None).unwrap();
    let response = support::ask(&endpoint, request(3)).unwrap();
    assert_eq!(response.outputs[0].shape.as_slice(), [3, 2]);
    assert!(response.outputs[0].data.iter().all(|&byte| byte == 0));
    let model = endpoint.model();
    assert_eq!((model.backend(), model.file_name(), model.replicas()), ("zeros", "model.zeros", 1));
    assert_eq!(model.batching().rows_max, 8);
}

#[test]
fn what_a_backend_does_not_open_is_told_in_its_words() {
    let (engine, _folder) = engine("ones");
    let Err(Error::ModelNotReady { reason, .. }) = engine.lookup("zero", None) else {
        panic!("it serves")
    };
    assert!(reason.contains("it does not hold the word zeros"), "{reason}");
}

#[test]
fn a_copy_that_moves_during_a_load_is_loaded_from_its_new_place() {
    let folder = tempfile::tempdir().unwrap();
    let (copies, view) = (folder.path().join("copies"), folder.path().join("view"));
    let opening = Arc::new(Barrier::default());
    write(&copies.join("1"), "zeros");
    std::fs::create_dir_all(&view).unwrap();
    symlink(copies.join("1"), view.join("zero")).unwrap();
    let copy = Arc::new(Copy { view: view.clone(), scans: AtomicUsize::new(0) });
    let root = Root::mirrored("a store", None, Arc::clone(&copy) as Arc<dyn Mirror>);
    let backend = Zeros { opening: Some(Arc::clone(&opening)) };
    let engine = start([root].into_iter().collect(), backend);
    opening.wait_reached();
    // The same file, in another folder.
    std::fs::create_dir_all(copies.join("2/1")).unwrap();
    for file in ["model.toml", "1/model.zeros"] {
        std::fs::hard_link(copies.join("1").join(file), copies.join("2").join(file)).unwrap();
    }
    symlink(copies.join("2"), view.join(".zero")).unwrap();
    std::fs::rename(view.join(".zero"), view.join("zero")).unwrap();
    std::fs::remove_dir_all(copies.join("1")).unwrap();
    let scans = copy.scans.load(Relaxed);
    support::wait_until("scans of the new copy", || copy.scans.load(Relaxed) > scans + 2);
    opening.open();
    support::wait_until("the model", || engine.lookup("zero", None).is_ok());
}
