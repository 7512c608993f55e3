//! Fields of Triton's configuration that clients see: shapes, labels of metrics, queue policies, and
//! operator libraries.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::json;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};
use std::time::{Duration, Instant};
use support::Server;
use support::models::{
    ADD_REQUEST, LONG_REQUEST, Models, SLOW_REQUEST, add, as_long_as_wanted, short_request, slow,
};

const FLOAT: ElementType = ElementType::Float32;

/// `y = x * length` for rows x `[batch, 3]`, and `n = -length`, for scalars of rows.
fn scaled() -> Model {
    let batch = Dim::from("batch");
    let mut graph = GraphBuilder::new("scaled");
    graph
        .input("x", FLOAT, &[batch.clone(), Dim::from(3)])
        .input("length", FLOAT, std::slice::from_ref(&batch))
        .initializer("one", Tensor::new(&[1], &[1_i64]).unwrap())
        .node("Unsqueeze", &["length", "one"], &["column"], &[])
        .node("Mul", &["x", "column"], &["y"], &[])
        .node("Neg", &["length"], &["n"], &[])
        .output("y", FLOAT, &[batch.clone(), Dim::from(3)])
        .output("n", FLOAT, &[batch]);
    graph.finish().unwrap()
}

const SCALED: &str = r#"
    max_batch_size: 4
    input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] format: FORMAT_NONE },
            { name: "length" data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ] } } ]
    output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] },
             { name: "n" data_type: TYPE_FP32 dims: [ 1, 1 ] reshape: { shape: [ ] } } ]
    dynamic_batching { max_queue_delay_microseconds: 100000 preferred_batch_size: [ 3 ] }
    metric_tags { key: "team" value: "a \"b\"" }
    model_warmup { batch_size: 2 inputs { key: "length" value {
        data_type: TYPE_FP32 dims: 1 random_data: true } } }
"#;

fn scaled_request(rows: usize, first: f32) -> String {
    let lengths: Vec<f32> = (0..rows).map(|row| first + row as f32).collect();
    json!({"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": vec![1; 3 * rows]},
        {"name": "length", "datatype": "FP32", "shape": [rows, 1], "data": lengths},
    ]})
    .to_string()
}

#[test]
fn clients_see_the_outer_shape_and_the_graph_the_inner_one() {
    let models = Models::empty();
    models.add("scaled", &scaled()).write("scaled/config.pbtxt", SCALED);
    let server = Server::start(models.path());
    let metadata = server.get("/v2/models/scaled").json();
    assert_eq!(metadata["inputs"][1]["shape"], json!([-1, 1]));
    assert_eq!(metadata["outputs"][1]["shape"], json!([-1, 1, 1]));
    let config = server.get("/v2/models/scaled/config").json();
    assert_eq!(config["input"][1]["dims"], json!([1]));
    assert_eq!(config["input"][1]["reshape"], json!({"shape": []}));
    assert_eq!(config["metric_tags"]["team"], "a \"b\"");
    assert_eq!(config["dynamic_batching"]["preferred_batch_size"], json!([3]));
    // Alone, and two that share a run.
    std::thread::scope(|scope| {
        for (rows, first) in [(2, 5.0), (1, 7.0), (2, 9.0), (3, 2.0)] {
            let server = &server;
            scope.spawn(move || {
                let answer = server.infer("scaled", scaled_request(rows, first)).json();
                let lengths: Vec<f64> =
                    (0..rows).map(|row| f64::from(first) + row as f64).collect();
                let n: Vec<f64> = lengths.iter().map(|length| -length).collect();
                let y: Vec<f64> = lengths.iter().flat_map(|&length| [length; 3]).collect();
                assert_eq!(answer["outputs"][1]["shape"], json!([rows, 1, 1]), "{answer}");
                assert_eq!(answer["outputs"][1]["data"], json!(n));
                assert_eq!(answer["outputs"][0]["data"], json!(y));
            });
        }
    });
    let wrong = scaled_request(2, 1.0).replace("[2,1]", "[2]");
    server
        .infer("scaled", wrong)
        .expect_error(400, "input 'length' has shape [2], and the model takes [-1,1]");
    let labels = ["model=\"scaled\"", "_team=\"a \\\"b\\\"\""];
    assert_eq!(server.metric("nv_inference_request_success", &labels), 4.0);
}

#[test]
fn a_graph_with_a_fixed_first_dimension_is_reshaped_as_a_whole() {
    let mut graph = GraphBuilder::new("image");
    let axes = [("axes", Attribute::Ints(vec![2, 3])), ("keepdims", Attribute::Int(0))];
    graph
        .input("image", FLOAT, &[1, 2, 2, 2].map(Dim::from))
        .node("ReduceMean", &["image"], &["mean"], &axes)
        .output("mean", FLOAT, &[1, 2].map(Dim::from));
    let models = Models::empty();
    models.add("image", &graph.finish().unwrap()).write(
        "image/config.pbtxt",
        "input { name: 'image' dims: [ 2, 2, 2 ] reshape { shape: [ 1, 2, 2, 2 ] } }
         output { name: 'mean' dims: 2 reshape { shape: [ 1, 2 ] } }",
    );
    let server = Server::start(models.path());
    let request = json!({"inputs": [{"name": "image", "datatype": "FP32", "shape": [2, 2, 2],
        "data": [1, 1, 1, 1, 3, 3, 3, 3]}]});
    let answer = server.infer("image", request.to_string()).json();
    assert_eq!(answer["outputs"][0]["shape"], json!([2]), "{answer}");
    assert_eq!(answer["outputs"][0]["data"], json!([1.0, 3.0]));
}

/// Settings of a model of one instance, with a queue policy.
fn with_queue_policy(policy: &str) -> String {
    format!(
        "instance_group {{ count: 1 }} dynamic_batching {{ default_queue_policy {{ {policy} }} }}"
    )
}

#[test]
fn the_time_in_the_queue_is_no_part_of_the_run() {
    let models = Models::empty();
    let policy = with_queue_policy("default_timeout_microseconds: 20000");
    models.add("slow", &slow()).write("slow/config.pbtxt", policy);
    let server = Server::start(models.path());
    let begun = Instant::now();
    assert_eq!(server.infer("slow", SLOW_REQUEST).status, 200);
    let config = server.get("/v2/models/slow/config").json();
    let policy = &config["dynamic_batching"]["default_queue_policy"];
    assert_eq!(policy["default_timeout_microseconds"], 20_000);
    // A run is much longer than the time in the queue, but on very fast machines.
    println!("a run took {:?}", begun.elapsed());
}

#[test]
fn a_level_does_not_wait_for_the_responses_of_another() {
    let models = Models::empty();
    let settings = "dynamic_batching { preserve_ordering: true priority_levels: 2 \
                    default_priority_level: 2 } instance_group { count: 2 kind: KIND_CPU }";
    models.add("long", &as_long_as_wanted()).write("long/config.pbtxt", settings);
    let server = Server::start(models.path());
    let mut low = server.connect();
    low.send_request("POST", "/v2/models/long/infer", &[], LONG_REQUEST.as_bytes());
    support::wait_until("the long run", || server.metric("skysail_replicas_busy", &[]) == 1.0);
    let request = short_request(0).replacen('{', r#"{"id": "urgent", "#, 1);
    let urgent = request.replacen("\"timeout\": 0", "\"priority\": 1", 1);
    let answer = server.infer("long", urgent);
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("urgent")));
    // One of the same level waits for its turn.
    let mut behind = server.connect();
    behind.send_request("POST", "/v2/models/long/infer", &[], short_request(0).as_bytes());
    support::wait_until("its run", || server.statistics("long")["execution_count"] == 2);
    drop(low);
    assert_eq!(behind.answer().status, 200);
}

#[test]
fn what_does_not_fit_the_graph_is_named_with_its_line() {
    let models = Models::empty();
    let settings = |changed: (&str, &str)| SCALED.replacen(changed.0, changed.1, 1);
    let cases = [
        ("name", ("name: \"x\"", "name: \"z\""), "line 3: input[0].name: "),
        (
            "type",
            ("\"length\" data_type: TYPE_FP32", "\"length\" data_type: TYPE_INT8"),
            "line 4: input[1].data_type: ",
        ),
        ("dims", ("dims: [ 3 ] }", "dims: [ 4 ] }"), "line 5: output[0].dims: "),
        ("spare", ("{ name: \"n\"", "{ name: \"m\""), "line 6: output[1].name: "),
    ];
    for (model, change, _) in cases {
        models.add(model, &scaled()).write(&format!("{model}/config.pbtxt"), settings(change));
    }
    let server = Server::start_unready(models.path(), &[]);
    for (model, _, place) in cases {
        let reason = server.wait_for_state(model, "1", "UNAVAILABLE");
        assert!(reason.starts_with(&format!("{model}/config.pbtxt: {place}")), "{reason}");
        assert!(reason.contains("graph"), "{reason}");
    }
    assert!(server.state("spare", "1").unwrap().1.contains("its outputs are 'y', 'n'"));
}

#[test]
fn a_request_is_rejected_when_its_time_in_the_queue_has_passed() {
    let models = Models::empty();
    models.add("long", &as_long_as_wanted());
    models.write("long/config.pbtxt", with_queue_policy("default_timeout_microseconds: 100000"));
    let server = Server::start(models.path());
    let mut client = server.connect();
    client.send_request("POST", "/v2/models/long/infer", &[], LONG_REQUEST.as_bytes());
    support::wait_until("the long run", || server.infer("long", short_request(0)).status != 200);
    // An hour of its own does not replace the fixed time.
    let own = LONG_REQUEST.replacen('{', r#"{"parameters": {"timeout": 3600000000}, "#, 1);
    let begun = Instant::now();
    let answer = server.infer("long", own);
    answer.expect_error(
        answer.status,
        "waited in the queue for longer than its timeout of 100000 us",
    );
    assert!(answer.status >= 400 && begun.elapsed() >= Duration::from_millis(100));
    drop(client);
}

#[test]
fn an_operator_library_that_can_not_be_loaded_is_named() {
    let models = Models::empty();
    models.add("text", &add(1.0)).write("text/ops.so", "no library");
    models.write("text/config.pbtxt", "model_operations { op_library_filename: 'ops.so' }");
    models.add("missing", &add(1.0));
    models.write("missing/config.pbtxt", "model_operations { op_library_filename: 'a/b.so' }");
    models.add("plain", &add(1.0));
    let server = Server::start_unready(models.path(), &[]);
    for (model, file) in [("text", "text/ops.so"), ("missing", "missing/a/b.so")] {
        let reason = server.wait_for_state(model, "1", "UNAVAILABLE");
        assert!(reason.contains("operator library") && reason.contains(file), "{reason}");
    }
    server.wait_for_state("plain", "1", "READY");
    assert_eq!(server.infer("plain", ADD_REQUEST).status, 200);
    let log = server.log();
    assert!(log.contains("ops.so runs in the server, with all its rights"), "{log}");
}

/// Compiles a library that leaves a file behind when ONNX Runtime registers it.
fn operator_library(models: &Models, library: &str) -> std::path::PathBuf {
    let registered = models.path().join(".registered");
    models.write(
        ".ops.rs",
        format!(
            "use std::ffi::c_void;\n\
             #[no_mangle]\n\
             pub extern \"C\" fn RegisterCustomOps(_: *mut c_void, _: *const c_void) -> *mut c_void {{\n\
                 std::fs::write({registered:?}, \"\").unwrap();\n\
                 std::ptr::null_mut()\n\
             }}\n"
        ),
    );
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = std::process::Command::new(rustc)
        .args(["--edition=2021", "--crate-type=cdylib", "--crate-name=ops", "-o"])
        .arg(models.path().join(library))
        .arg(models.path().join(".ops.rs"))
        .status();
    assert!(status.unwrap().success());
    registered
}

#[test]
fn an_operator_library_registers_with_the_runtime() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    models.write("add/config.pbtxt", "model_operations { op_library_filename: 'ops.so' }");
    let registered = operator_library(&models, "add/ops.so");
    let server = Server::start(models.path());
    assert_eq!(server.infer("add", ADD_REQUEST).status, 200);
    assert!(registered.exists());
}

#[test]
fn a_library_by_flag_is_of_every_model() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let library = models.path().join("none.so");
    let server = Server::start_unready(models.path(), &["--op-library", library.to_str().unwrap()]);
    let reason = server.wait_for_state("add", "1", "UNAVAILABLE");
    assert!(reason.contains("none.so"), "{reason}");
    let log = server.log();
    assert!(log.contains("none.so runs in the server"), "{log}");
}
