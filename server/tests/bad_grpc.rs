//! Invalid and cancelled gRPC requests: each gets its own message and status.
//!
//! The server keeps serving.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::Message;
use skysail_protocol::codec::PreEncoded;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use skysail_protocol::grpc::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelReadyRequest,
    RepositoryModelLoadRequest,
};
use std::future::poll_fn;
use support::Server;
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, same, slow, texts, waits};
use tokio_stream::StreamExt;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

type Client = GrpcInferenceServiceClient<Channel>;

fn server(flags: &[&str]) -> Server {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("slow", &slow());
    Server::start_with(models.path(), &[&["--model-control", "none"], flags].concat())
}

async fn channel(server: &Server) -> Channel {
    let address = format!("http://{}", server.grpc());
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

async fn client(server: &Server) -> Client {
    Client::new(channel(server).await)
}

/// A request that the model `add` answers.
fn request() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "add".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 2],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from_static(&[0; 8])],
        ..ModelInferRequest::default()
    }
}

#[track_caller]
fn expect_error<T>(result: Result<T, Status>, code: Code, words: &str) {
    let status = result.err().unwrap();
    let fits = status.code() == code && status.message().contains(words);
    assert!(fits, "{status:?} should be {code:?} and say '{words}'");
}

/// A change of a request, and a part of the error message.
type Case = (fn(&mut ModelInferRequest), &'static str);

/// Applies each change and checks the error. The unchanged request is answered.
async fn expect_errors(cases: &[Case]) {
    let server = server(&[]);
    let mut client = client(&server).await;
    for (change, words) in cases {
        let mut request = request();
        change(&mut request);
        expect_error(client.model_infer(request).await, Code::InvalidArgument, words);
    }
    assert_eq!(client.model_infer(request()).await.unwrap().into_inner().outputs[0].name, "y");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tensors_that_do_not_match_the_signature() {
    fn with_elements_twice(request: &mut ModelInferRequest) {
        let fp32_contents = vec![1.0, 2.0];
        let contents = InferTensorContents { fp32_contents, ..Default::default() };
        request.inputs[0].contents = Some(contents);
    }
    fn with_integers_for_floats(request: &mut ModelInferRequest) {
        let int_contents = vec![1, 2];
        let contents = InferTensorContents { int_contents, ..Default::default() };
        request.inputs[0].contents = Some(contents);
        request.raw_input_contents.clear();
    }
    expect_errors(&[
        (|r| r.inputs[0].name = "z".into(), "no input 'z'; its inputs are 'x'"),
        (|r| r.inputs[0].datatype = "INT8".into(), "datatype INT8"),
        (|r| r.inputs[0].datatype = "FLOAT".into(), "'FLOAT' is not one of"),
        (|r| r.inputs[0].shape = vec![2, 1], "shape [2,1], and the model takes [-1,2]"),
        (|r| r.inputs[0].shape = vec![-1, 2], "negative dimension"),
        (|r| r.inputs[0].shape = vec![i64::MAX, 2], "too large"),
        (|r| r.raw_input_contents = vec![Bytes::from_static(&[0; 7])], "brings 7 bytes"),
        (|r| r.raw_input_contents.push(Bytes::new()), "2 raw_input_contents for 1 inputs"),
        (|r| r.raw_input_contents.clear(), "brings 0 bytes"),
        (|r| r.inputs[0].contents = Some(InferTensorContents::default()), "one of the two"),
        (with_elements_twice, "input 'x' has contents"),
        (with_integers_for_floats, "datatype FP32 and elements in int_contents"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inconsistent_requests() {
    fn without_inputs(request: &mut ModelInferRequest) {
        request.inputs.clear();
        request.raw_input_contents.clear();
    }
    fn with_every_input_twice(request: &mut ModelInferRequest) {
        request.inputs = [request.inputs.clone(), request.inputs.clone()].concat();
        request.raw_input_contents.push(request.raw_input_contents[0].clone());
    }
    fn for_an_unknown_output(request: &mut ModelInferRequest) {
        let output = InferRequestedOutputTensor { name: "z".into(), ..Default::default() };
        request.outputs.push(output);
    }
    fn with_a_timeout_in_words(request: &mut ModelInferRequest) {
        let soon = ParameterChoice::StringParam("soon".into());
        request
            .parameters
            .insert("timeout".into(), InferParameter { parameter_choice: Some(soon) });
    }
    expect_errors(&[
        (|r| r.model_version = "x".into(), "version 'x' is no number"),
        (|r| r.inputs.clear(), "1 raw_input_contents for 0 inputs"),
        (without_inputs, "input 'x' is missing"),
        (with_every_input_twice, "'x' stands in the request twice"),
        (for_an_unknown_output, "no output 'z'"),
        (with_a_timeout_in_words, "'timeout' must be a natural number, not \"soon\""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_need_too_much_memory() {
    let models = Models::empty();
    models.add("texts", &texts());
    let server = Server::start_with(models.path(), &["--in-flight-bytes-max", "1000000"]);
    let mut client = client(&server).await;
    let mut ask = async |count: usize| {
        let mut request = ModelInferRequest { model_name: "texts".into(), ..request() };
        request.inputs[0].datatype = "BYTES".into();
        request.inputs[0].shape = vec![count as i64];
        request.raw_input_contents = vec![vec![0; 4 * count].into()];
        client.model_infer(request).await
    };
    expect_error(ask(20_000).await, Code::ResourceExhausted, "--in-flight-bytes-max");
    assert_eq!(ask(1000).await.unwrap().into_inner().outputs[0].shape, [1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_models() {
    let server = server(&[]);
    let mut client = client(&server).await;
    let mut ask = async |model_name: &str, model_version: &str| {
        let (model_name, model_version) = (model_name.into(), model_version.into());
        client.model_infer(ModelInferRequest { model_name, model_version, ..request() }).await
    };
    expect_error(ask("no-such", "").await, Code::NotFound, "no model 'no-such'");
    expect_error(ask("add", "7").await, Code::NotFound, "no version 7 in service; it serves 1");
    assert!(ask("add", "1").await.is_ok());
    let load = RepositoryModelLoadRequest { model_name: "add".into(), ..Default::default() };
    expect_error(client.repository_model_load(load).await, Code::Unavailable, "explicit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_an_invalid_request() {
    let server = server(&[]);
    let mut client = client(&server).await;
    let named = |id: &str, model_name: &str| {
        let (id, model_name) = (id.into(), model_name.into());
        ModelInferRequest { id, model_name, ..request() }
    };
    let requests = [named("1", "no-such"), named("2", "add"), named("3", "add")];
    let stream = tokio_stream::iter(requests);
    let mut answers = client.model_stream_infer(stream).await.unwrap().into_inner();
    for (id, words) in [("1", "no model 'no-such'"), ("2", ""), ("3", "")] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.infer_response.unwrap().id, id);
        assert!(answer.error_message.contains(words), "{}", answer.error_message);
        assert_eq!(answer.error_message.is_empty(), words.is_empty());
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_an_error() {
    let server = server(&["--body-bytes-max", "100000"]);
    let mut client = client(&server).await;
    let large = |bytes| ModelInferRequest { id: "x".repeat(bytes), ..request() };
    assert!(client.model_infer(large(90_000)).await.is_ok());
    expect_error(client.model_infer(large(110_000)).await, Code::OutOfRange, "100000 bytes");
    assert!(client.model_infer(request()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_contents_may_be_large() {
    let models = Models::empty();
    models.add("same", &same());
    let server = Server::start_with(models.path(), &["--io-threads", "1"]);
    let mut client = client(&server).await;
    let mut large = ModelInferRequest { model_name: "same".into(), ..request() };
    large.raw_input_contents.clear();
    let fp32_contents = vec![1.0; 200_000];
    large.inputs[0].shape = vec![1, 200_000];
    large.inputs[0].contents = Some(InferTensorContents { fp32_contents, ..Default::default() });
    let answer = client.model_infer(large.clone()).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents[0], 1_f32.to_le_bytes().repeat(200_000));
    let mut answers = client.model_stream_infer(tokio_stream::once(large)).await.unwrap();
    let answer = answers.get_mut().message().await.unwrap().unwrap();
    assert_eq!(answer.infer_response.unwrap().raw_output_contents[0].len(), 800_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_messages_use_little_memory() {
    let server = server(&["--body-bytes-max", "16000000"]);
    let mut client = Grpc::new(channel(&server).await);
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    let before = server.peak_memory_bytes();
    let path = |method| PathAndQuery::from_static(method);
    let infer = "/inference.GRPCInferenceService/ModelInfer";
    // A truncated field, an unknown wire type, text that is not UTF-8.
    for garbage in [&b"\x0a\xffab"[..], b"\x0f\x0f\x0f", b"\x0a\x01\xff"] {
        client.ready().await.unwrap();
        let request = Request::new(Bytes::from_static(garbage));
        let answer = client.unary(request, path(infer), raw()).await;
        let code = answer.unwrap_err().code();
        assert!(code == Code::Internal || code == Code::InvalidArgument, "{code:?}");
    }
    // Two bytes each for an input, an output, a parameter and an empty tensor.
    for field in [b"\x2a\x00", b"\x32\x00", b"\x22\x00", b"\x3a\x00"] {
        client.ready().await.unwrap();
        let request = Request::new(Bytes::from(field.repeat(7_000_000)));
        let answer = client.unary(request, path(infer), raw()).await;
        assert!(answer.is_err());
    }
    client.ready().await.unwrap();
    let unknown = client.unary(Request::new(Bytes::new()), path("/no.Such/Method"), raw()).await;
    expect_error(unknown, Code::Unimplemented, "");
    let after = server.peak_memory_bytes();
    assert!(after < before + (256 << 20), "{before} bytes became {after}");
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_calls_are_not_run() {
    const LEAVING: u64 = 30;
    let server = server(&[]);
    let client = client(&server).await;
    let ask = || {
        let mut client = client.clone();
        let mut request = request();
        request.model_name = "slow".into();
        request.inputs[0].shape = vec![1];
        request.raw_input_contents[0].truncate(4);
        tokio::spawn(async move { client.model_infer(request).await })
    };
    let first = ask();
    let leaving: Vec<_> = (0..LEAVING).map(|_| ask()).collect();
    let wait = |what: &str, condition: &(dyn Fn() -> bool + Sync)| {
        tokio::task::block_in_place(|| support::wait_until(what, condition));
    };
    wait("most to come", &|| server.waiting("slow") > LEAVING / 2);
    leaving.iter().for_each(|call| call.abort());
    wait("most to leave", &|| server.cancelled("slow") > LEAVING / 2);
    assert_eq!(server.infer("slow", SLOW_REQUEST).status, 200);
    assert!(first.await.unwrap().is_ok());
    let rows = server.rows_run("slow");
    assert!(rows < LEAVING / 2, "{rows} of {} requests were run", LEAVING + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_share_one_memory_budget() {
    let models = Models::empty();
    models.add("add", &add(1.0)).write("add/model.toml", waits(2, 60_000));
    let server = Server::start_with(models.path(), &["--in-flight-bytes-max", "2500"]);
    let mut client = client(&server).await;
    let sized = |bytes| ModelInferRequest { id: "x".repeat(bytes), ..request() };
    let mut other = client.clone();
    let first = tokio::spawn(async move { other.model_infer(sized(2000)).await });
    tokio::task::block_in_place(|| server.wait_for_waiting("add", 1));
    let rejected = client.model_infer(sized(1000)).await;
    expect_error(rejected, Code::Unavailable, "2500 bytes of bodies, its limit");
    assert!(client.model_infer(sized(100)).await.is_ok());
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_counts_until_its_client_closes_its_side() {
    let server = server(&["--in-flight-bytes-max", "2500"]);
    let channel = channel(&server).await;
    let message = framed(&ModelInferRequest { id: "x".repeat(2000), ..request() });
    let open = || {
        let mut channel = channel.clone();
        let frames = tokio_stream::once(Ok::<_, Status>(Frame::data(message.clone())));
        let body = tonic::body::Body::new(StreamBody::new(frames.chain(tokio_stream::pending())));
        let call = http::Request::post("/inference.GRPCInferenceService/ModelInfer");
        let call = call.header("content-type", "application/grpc").body(body).unwrap();
        tokio::spawn(async move {
            poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
            channel.call(call).await
        })
    };
    let mut call = open();
    let other = format!("{ADD_REQUEST:1000}");
    let is_full = || server.infer("add", &other).status == 503;
    tokio::task::block_in_place(|| {
        support::wait_until("no room for another", || {
            // It was rejected itself, if it came at the same time.
            if call.is_finished() {
                call = open();
            }
            is_full()
        });
        call.abort();
        support::wait_until("room when its caller has left", || !is_full());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_decompressed_size_of_a_message_counts() {
    let server = server(&["--in-flight-bytes-max", "1000000"]);
    let mut client = client(&server).await.send_compressed(CompressionEncoding::Gzip);
    let before = server.peak_memory_bytes();
    let bomb = ModelInferRequest { id: "x".repeat(60_000_000), ..request() };
    let rejected = client.model_infer(bomb).await;
    expect_error(rejected, Code::Unavailable, "1000000 bytes of bodies, its limit");
    let after = server.peak_memory_bytes();
    assert!(after < before + (32 << 20), "{before} bytes became {after}");
    assert!(client.model_infer(request()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_counts_until_it_is_read() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("same", &same());
    let server = Server::start_with(models.path(), &["--in-flight-bytes-max", "10000000"]);
    let mut message = ModelInferRequest { model_name: "same".into(), ..request() };
    // More than the client's initial window.
    message.inputs[0].shape = vec![1, 2_000_000];
    message.raw_input_contents = vec![Bytes::from(vec![0; 8_000_000])];
    let mut channel = channel(&server).await;
    let call = http::Request::post("/inference.GRPCInferenceService/ModelInfer");
    let body = tonic::body::Body::new(http_body_util::Full::new(framed(&message)));
    let call = call.header("content-type", "application/grpc").body(body).unwrap();
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let unread = channel.call(call).await.unwrap();
    let large = ADD_REQUEST.to_owned() + &" ".repeat(3_000_000);
    assert_eq!(server.infer("add", &large).status, 503);
    let trailers = unread.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    let status = || server.infer("add", &large).status;
    tokio::task::block_in_place(|| {
        support::wait_until("room when it is read", || status() == 200);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_messages_than_inference_have_a_small_limit() {
    let server = server(&[]);
    let client = client(&server).await;
    for mut client in [client.clone(), client.send_compressed(CompressionEncoding::Gzip)] {
        let names = |bytes| ModelReadyRequest { name: "x".repeat(bytes), ..Default::default() };
        assert!(client.model_ready(names(1_000_000)).await.is_ok());
        let large = client.model_ready(names(1_100_000)).await.unwrap_err();
        assert!(matches!(large.code(), Code::OutOfRange | Code::ResourceExhausted), "{large:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_message_times_out() {
    let server = server(&["--body-timeout-ms", "100", "--in-flight-bytes-max", "2500"]);
    let mut channel = channel(&server).await;
    let mut call = async |method: &str, sent: Bytes| {
        let frames = tokio_stream::once(Ok::<_, Status>(Frame::data(sent)));
        let body = StreamBody::new(frames.chain(tokio_stream::pending()));
        let path = format!("/inference.GRPCInferenceService/{method}");
        let request = http::Request::post(path).header("content-type", "application/grpc");
        let request = request.body(tonic::body::Body::new(body)).unwrap();
        poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let answer = channel.call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        Status::from_header_map(&head.headers).or(Status::from_header_map(&trailers))
    };
    let broken = Bytes::from_static(b"\0\0\0\x01\0begins");
    let much = Bytes::from([&b"\0\0\0\x0b\xb8"[..], &[0; 2900]].concat());
    for method in ["ModelInfer", "ModelStreamInfer"] {
        let status = call(method, broken.clone()).await.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        let status = call(method, much.clone()).await.unwrap();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    let status = call("ModelInfer", Bytes::new()).await.unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
}

/// A message with its prefix.
fn framed(message: &ModelInferRequest) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    framed.freeze()
}

/// A codec that sends encoded messages and skips responses.
fn raw() -> PreEncoded<()> {
    PreEncoded::default()
}
