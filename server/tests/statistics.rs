//! Every request is counted once, as what it was to its client, however it ended.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use bytes::Bytes;
use serde_json::json;
use skysail_graph::{Dim, ElementType, GraphBuilder, Model, Tensor};
use skysail_protocol::grpc::ModelInferRequest;
use skysail_protocol::grpc::grpc_inference_service_client::GrpcInferenceServiceClient;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use support::Server;
use support::http::head;
use support::memory::{Memory, PREFIX};
use support::models::{ADD_REQUEST, Models, add, waits};
use tonic::Code;
use tonic::transport::Channel;

/// Requests of a test.
const REQUESTS: usize = 150;

/// Ways in which a request can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Answered,
    AnsweredOverGrpc,
    /// No valid JSON.
    Malformed,
    /// A tensor that does not fit the model.
    Invalid,
    InvalidOverGrpc,
    /// The model fails on this input.
    ModelFails,
    /// The model has run, and its output does not fit where the request wants it.
    OutputDoesNotFit,
    /// The timeout passes in the queue.
    Expired,
    /// The client leaves after it has sent its request, which waits for others.
    LeftWaiting,
    /// The client leaves while it sends.
    LeftSending,
    UnknownModel,
    UnknownVersionOverGrpc,
}

impl Ending {
    const ALL: [Self; 12] = [
        Self::Answered,
        Self::AnsweredOverGrpc,
        Self::Malformed,
        Self::Invalid,
        Self::InvalidOverGrpc,
        Self::ModelFails,
        Self::OutputDoesNotFit,
        Self::Expired,
        Self::LeftWaiting,
        Self::LeftSending,
        Self::UnknownModel,
        Self::UnknownVersionOverGrpc,
    ];

    /// Where it is counted: a reason of failures, or nothing for an answer.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Answered | Self::AnsweredOverGrpc => None,
            Self::Malformed | Self::Invalid | Self::InvalidOverGrpc | Self::Expired => {
                Some("REJECTED")
            }
            Self::ModelFails => Some("BACKEND"),
            Self::OutputDoesNotFit => Some("OTHER"),
            Self::LeftWaiting | Self::LeftSending => Some("CANCELED"),
            Self::UnknownModel | Self::UnknownVersionOverGrpc => Some("no model"),
        }
    }
}

/// `y = numbers[x]` for x of int64 `[batch]`. It fails if there is no such number.
fn picky() -> Model {
    let batch = [Dim::from("batch")];
    let mut graph = GraphBuilder::new("picky");
    graph
        .input("x", ElementType::Int64, &batch)
        .initializer("numbers", Tensor::new(&[2], &[5.0_f32, 6.0]).unwrap())
        .node("Gather", &["numbers", "x"], &["y"], &[])
        .output("y", ElementType::Float32, &batch);
    graph.finish().unwrap()
}

fn grpc_request(model: &str, bytes: usize) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 2],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from(vec![0; bytes])],
        ..ModelInferRequest::default()
    }
}

/// A server with what its requests need.
struct Fixture {
    server: Server,
    _models: Models,
    _memory: Memory,
    grpc: GrpcInferenceServiceClient<Channel>,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    fn new() -> Self {
        let models = Models::empty();
        models.add("add", &add(1.0)).add("picky", &picky()).add("waiting", &add(1.0));
        models.write("waiting/model.toml", waits(4096, 600_000));
        let flags = ["--model-control", "none", "--shared-memory", PREFIX];
        let server = Server::start_with(models.path(), &flags);
        let memory = Memory::new(&[0; 4]);
        let region = json!({"key": memory.key(), "byte_size": 4}).to_string();
        assert_eq!(server.post("/v2/systemsharedmemory/region/r/register", region).status, 200);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let channel = Channel::from_shared(format!("http://{}", server.grpc())).unwrap();
        let channel = runtime.block_on(channel.connect()).unwrap();
        let grpc = GrpcInferenceServiceClient::new(channel);
        Self { server, _models: models, _memory: memory, grpc, runtime }
    }

    fn call(&mut self, request: ModelInferRequest) -> Code {
        let answer = self.runtime.block_on(self.grpc.model_infer(request));
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    }

    /// Makes one request end like this, and checks what its client sees.
    fn end(&mut self, ending: Ending) {
        let server = &self.server;
        let status = |model: &str, request: &str| server.infer(model, request).status;
        // Sends a part of the body once the server asks for it. A client that leaves before that may
        // never be seen.
        let begun = |model: &str, body: &str| {
            let path = format!("/v2/models/{model}/infer");
            let mut client = server.connect();
            client.send(head("POST", &path, &["Expect: 100-continue"], ADD_REQUEST.len()));
            assert_eq!(client.answer().status, 100);
            client.send(body);
            client
        };
        match ending {
            Ending::Answered => assert_eq!(status("add", ADD_REQUEST), 200),
            Ending::Malformed => assert_eq!(status("add", "{"), 400),
            Ending::Invalid => {
                assert_eq!(status("add", &ADD_REQUEST.replace("\"x\"", "\"z\"")), 400);
            }
            Ending::ModelFails => {
                let request = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64",
                    "data": [7]}]}"#;
                assert_eq!(status("picky", request), 400);
            }
            Ending::OutputDoesNotFit => {
                let outputs = r#"{"outputs": [{"name": "y", "parameters": {
                    "shared_memory_region": "r", "shared_memory_byte_size": 4}}], "#;
                let request = ADD_REQUEST.replacen('{', outputs, 1);
                server.infer("add", request).expect_error(400, "has 8 bytes");
            }
            Ending::Expired => {
                let timeout = "{\"parameters\": {\"timeout\": 1000}, ";
                assert_eq!(status("waiting", &ADD_REQUEST.replacen('{', timeout, 1)), 504);
            }
            Ending::LeftWaiting => drop(begun("waiting", ADD_REQUEST)),
            Ending::LeftSending => drop(begun("add", &ADD_REQUEST[..20])),
            Ending::UnknownModel => assert_eq!(status("nonesuch", ADD_REQUEST), 404),
            Ending::AnsweredOverGrpc => assert_eq!(self.call(grpc_request("add", 8)), Code::Ok),
            Ending::InvalidOverGrpc => {
                assert_eq!(self.call(grpc_request("add", 9)), Code::InvalidArgument);
            }
            Ending::UnknownVersionOverGrpc => {
                let model_version = "7".into();
                let request = ModelInferRequest { model_version, ..grpc_request("add", 8) };
                assert_eq!(self.call(request), Code::NotFound);
            }
        }
    }

    /// Requests counted under a reason, in Triton's metrics.
    fn counted(&self, reason: Option<&str>) -> u64 {
        match reason {
            None => self.server.metric("nv_inference_request_success", &[]) as u64,
            Some("no model") => {
                self.server.metric("skysail_requests_without_model_total", &[]) as u64
            }
            Some(reason) => {
                let label = format!("reason=\"{reason}\"");
                self.server.metric("nv_inference_request_failure", &[&label]) as u64
            }
        }
    }
}

/// Endings in an order that is the same in every run, each of them several times.
fn endings() -> impl Iterator<Item = Ending> {
    let mut state = 7_u64;
    (0..REQUESTS).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ending::ALL[(state >> 33) as usize % Ending::ALL.len()]
    })
}

#[test]
fn the_sums_are_what_the_clients_saw() {
    const REASONS: [Option<&str>; 6] = [
        None,
        Some("REJECTED"),
        Some("BACKEND"),
        Some("OTHER"),
        Some("CANCELED"),
        Some("no model"),
    ];
    let mut fixture = Fixture::new();
    let all: Vec<Ending> = endings().collect();
    for ending in Ending::ALL {
        assert!(all.iter().filter(|one| **one == ending).count() >= 3, "{ending:?}");
    }
    all.iter().for_each(|ending| fixture.end(*ending));
    let wanted = REASONS.map(|reason| {
        let count = all.iter().filter(|ending| ending.reason() == reason).count();
        (reason, count as u64)
    });
    let counted = || REASONS.map(|reason| (reason, fixture.counted(reason)));
    // A client that leaves is seen a little later.
    support::wait_until("all to be counted", || {
        counted().iter().zip(&wanted).all(|((_, counted), (_, wanted))| counted >= wanted)
    });
    assert_eq!(counted(), wanted);
    // The statistics extension and our own outcomes count the same.
    let of = |name: &str| -> u64 {
        let count = |model| {
            let statistics = fixture.server.statistics(model);
            statistics["inference_stats"][name]["count"].as_u64().unwrap()
        };
        ["add", "picky", "waiting"].map(count).iter().sum()
    };
    let failed: u64 = wanted[1..5].iter().map(|(_, count)| count).sum();
    assert_eq!((of("success"), of("fail")), (wanted[0].1, failed));
    let outcome = |name: &str| {
        let label = format!("outcome=\"{name}\"");
        fixture.server.metric("skysail_requests_total", &[&label]) as u64
    };
    let expired = all.iter().filter(|ending| **ending == Ending::Expired).count() as u64;
    assert_eq!(outcome("answered"), wanted[0].1);
    assert_eq!((outcome("shed"), outcome("failed")), (expired, failed - expired));
    // Runs count whatever became of their requests.
    let fits = all.iter().filter(|ending| **ending == Ending::OutputDoesNotFit).count() as u64;
    assert_eq!(of("compute_infer"), wanted[0].1 + fits);
}
