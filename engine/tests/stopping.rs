//! Tests that ONNX Runtime stops a run soon after its callers left, and no other run.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Request;
use skysail_engine::tensor::DataType;
use skysail_engine::ticket::Ticket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread::park_timeout;
use std::time::{Duration, Instant};
use support::{Models, ask, graphs, request, tensor, values, wait_until};

/// A request for products of matrices with `x` more rows.
fn larger_by(x: i64) -> Request {
    request(tensor("x", DataType::Int64, &[1], x.to_le_bytes().to_vec()))
}

/// Sends a request, checks the response, and returns the run time.
fn run(model: &Arc<Endpoint>, x: i64) -> Duration {
    let response = ask(model, larger_by(x)).unwrap();
    assert_eq!(values(&response, 0), [x as f32]);
    assert_eq!(response.outputs[1].data, [x + 32; 2].map(i64::to_le_bytes).concat());
    response.stages.executed - response.stages.gathered
}

/// Starts a request on the replica's thread.
fn begin(model: &Arc<Endpoint>, x: i64) -> Ticket {
    let mut ticket = model.submit(larger_by(x)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        // It may be ready by then.
        drop(Pin::new(&mut ticket).poll(&mut context));
    }
    wait_until("the run to begin", || model.model().waiting() == 0);
    ticket
}

#[test]
fn a_cancelled_run_ends_early() {
    let models = Models::explicit();
    let model = models.load_new("m", &graphs::adjustable_run_time(), "replicas.count = 1").unwrap();
    // Products of matrices of 2048 rows take 16 times 16 times 16 times as long as those of 128.
    let whole_run = run(&model, 128 - 32) * 16_u32.pow(3);
    let ticket = begin(&model, 2048 - 32);
    let left = Instant::now();
    drop(ticket);
    run(&model, 1);
    let took = left.elapsed();
    assert!(took < whole_run / 2, "the replica is free after {took:?} of {whole_run:?}");
    assert_eq!((model.statistics().cancelled(), model.statistics().runs()), (1, 2));
}

#[test]
fn a_cancellation_at_the_end_of_a_run_stops_no_other() {
    const TRIES: u32 = 60;
    let models = Models::explicit();
    let model = models.load_new("m", &graphs::adjustable_run_time(), "replicas.count = 1").unwrap();
    let run_time = (0..5).map(|_| run(&model, 32)).min().unwrap();
    for attempt in 0..TRIES {
        let ticket = begin(&model, 32);
        // The pauses range from the start of the run to after its end.
        park_timeout(run_time * 3 * attempt / (2 * TRIES));
        drop(ticket);
        run(&model, (attempt % 2).into());
    }
    let statistics = model.statistics();
    let runs = u64::from(2 * TRIES + 5);
    assert_eq!(statistics.cancelled() + statistics.runs(), runs);
}
