//! A backend beside ONNX Runtime: it opens files of its own, and everything else serves it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics")]

mod support;

use skysail_engine::backend::{
    Backend, BackendError, Gate, OpenVersion, ReplicaCost, RunClock, VersionFile,
};
use skysail_engine::config::{ControlMode, EngineConfig, ReadyWhen};
use skysail_engine::executor::{BatchInput, ExecuteError, Execution, Executor, Stop};
use skysail_engine::replica::Replica;
use skysail_engine::request::{InputTensor, OutputTensor, Request};
use skysail_engine::signature::{Signature, TensorSpec};
use skysail_engine::tensor::DataType;
use skysail_engine::{Engine, Error};
use smallvec::smallvec;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Opens `.zeros` files: models of one input that answer zeros of its shape.
struct Zeros;

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
        Ok(Box::new(Opened(Arc::new(Signature { inputs, outputs, ..Signature::default() }))))
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
    let version = folder.path().join("zero/1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(version.join("model.zeros"), content).unwrap();
    let settings = "file = \"model.zeros\"\nmax_batch_size = 8\n";
    std::fs::write(folder.path().join("zero/model.toml"), settings).unwrap();
    let models = folder.path().to_owned();
    let config = EngineConfig {
        models: models.into(),
        control: ControlMode::None,
        poll_ms: 5,
        load_at_start: vec![],
        ready_when: ReadyWhen::All,
        cores: 1,
        objective_ms: None,
        probe: None,
        operator_libraries: Vec::new(),
    };
    let engine = Engine::start_with(config, vec![Arc::new(Zeros)]).unwrap();
    support::wait_until("it has started", || engine.repository().is_started());
    (engine, folder)
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
