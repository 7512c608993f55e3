//! Helpers of the engine's tests: an endpoint run by puppets, requests for it, and bounded waits.

use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::execute::run_job;
use crate::executor::Executor;
use crate::model::{Description, Model};
use crate::replica::Replica;
use crate::replica::thread_pool::ThreadPool;
use crate::request::{InputTensor, Request, Response};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::DataType;
use crate::thread_priority::Spawner;
use crate::ticket::Ticket;
use skysail_policy::inline_run::RunOn;
use smallvec::smallvec;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Time after which a test hangs.
pub(crate) const HANG: Duration = Duration::from_secs(20);

/// A tensor spec of this name, datatype and dimensions.
pub(crate) fn spec(name: &str, datatype: DataType, dims: &[Option<usize>]) -> TensorSpec {
    let (name, dims, dim_names) = (name.into(), dims.into(), vec![]);
    TensorSpec { name, datatype, dims, dim_names, any_rank: false, reshape: None }
}

/// A signature with one float in and one out for each row.
pub(crate) fn signature() -> Signature {
    Signature {
        inputs: vec![spec("x", DataType::Fp32, &[None])],
        outputs: vec![spec("y0", DataType::Fp32, &[None])],
        ..Signature::default()
    }
}

/// The same signature with batches of up to `rows_max` rows.
pub(crate) fn batches(rows_max: usize) -> (Signature, Batching) {
    (signature(), Batching { rows_max, ..Batching::default() })
}

/// An endpoint whose model has no threads.
pub(crate) fn endpoint(
    (signature, batching): (Signature, Batching),
    executors: Vec<Box<dyn Executor>>,
    config: ModelConfig,
) -> Arc<Endpoint> {
    let replicas = executors.into_iter().map(Replica::direct).collect();
    let description = Description::new("m", 1, Arc::new(signature), batching);
    let model = Model::new(Description { config, ..description }, replicas);
    Arc::new(Endpoint::new(Arc::new(model)).unwrap())
}

/// A request of these rows for a model of [`signature`].
pub(crate) fn request(rows: &[f32]) -> Request {
    let input = InputTensor {
        name: "x".into(),
        datatype: DataType::Fp32,
        shape: smallvec![rows.len()],
        data: bytemuck::cast_slice::<f32, u8>(rows).to_vec().into(),
    };
    Request { inputs: smallvec![input], ..Request::default() }
}

/// The rows of the first output.
pub(crate) fn rows(response: &Response) -> Vec<f32> {
    let output = &response.outputs[0];
    let rows = floats(&output.data);
    assert_eq!(output.shape.as_slice(), [rows.len()]);
    rows
}

/// Polls a ticket until it has run waiting work.
pub(crate) fn help(ticket: &mut Ticket) -> Poll<Result<Response, Error>> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut *ticket).poll(&mut context) {
        Poll::Pending => Pin::new(ticket).poll(&mut context),
        ready => ready,
    }
}

/// The elements of FP32 data.
pub(crate) fn floats(data: &[u8]) -> Vec<f32> {
    data.as_chunks().0.iter().map(|&element| f32::from_le_bytes(element)).collect()
}

/// Runs what waits on this thread, as far as it is short.
pub(crate) fn run_waiting(endpoint: &Endpoint) {
    let model = endpoint.model();
    while let Some(mut job) = model.queue().start_here() {
        run_job(model, &mut job, RunOn::Caller);
        model.queue().finish(job);
    }
}

/// Waits for a future, with a time limit.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANG, future).await.expect("it hangs") })
}

/// The rows that a ticket brings.
pub(crate) fn answer(ticket: Ticket) -> Result<Vec<f32>, Error> {
    block_on(ticket).map(|response| rows(&response))
}

/// Threads that run a model's batches, which end on drop.
pub(crate) struct Threads {
    model: Arc<Model>,
    _pool: ThreadPool,
}

impl Threads {
    pub(crate) fn start(endpoint: &Arc<Endpoint>) -> Self {
        let pool = ThreadPool::start(Spawner::start().unwrap()).unwrap();
        endpoint.model().queue().serve_with(pool.handle(), endpoint.model());
        Self { model: Arc::clone(endpoint.model()), _pool: pool }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.model.queue().close();
        // A failing test may hold what a thread waits for.
        if !std::thread::panicking() {
            self.model.queue().wait_until_ended();
        }
    }
}
