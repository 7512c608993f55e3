//! Tensors in system shared memory: regions, places of tensors, and clients that break the rules.

mod support;

use serde_json::{Value, json};
use support::Server;
use support::http::Answer;
use support::memory::{Memory, PREFIX};
use support::models::{Models, add, same, slow};

/// A server of `add`, `same` and `slow`, which allows regions of the tests' keys.
fn server() -> (Models, Server) {
    let models = Models::empty();
    models.add("add", &add(1.0)).add("same", &same()).add("slow", &slow());
    let server = Server::start_with(models.path(), &["--shared-memory", PREFIX]);
    (models, server)
}

/// Asks for a region of all the bytes of a memory.
fn register(server: &Server, name: &str, memory: &Memory) {
    let region = json!({"key": memory.key(), "offset": 0, "byte_size": memory.bytes().len()});
    let path = format!("/v2/systemsharedmemory/region/{name}/register");
    let answer = server.post(&path, region.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn unregister(server: &Server, name: &str) {
    let path = format!("/v2/systemsharedmemory/region/{name}/unregister");
    assert_eq!(server.post(&path, "").status, 200);
}

/// Parameters of a tensor in a region.
fn place(region: &str, offset: u64, byte_size: u64) -> Value {
    json!({"shared_memory_region": region, "shared_memory_offset": offset,
           "shared_memory_byte_size": byte_size})
}

/// Input `x` of one row with two numbers.
fn input(parameters: &Value) -> Value {
    json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": parameters})
}

fn ask(server: &Server, model: &str, input: &Value, output: Option<&Value>) -> Answer {
    let outputs = output.map(|parameters| json!([{"name": "y", "parameters": parameters}]));
    let request = json!({"inputs": [input], "outputs": outputs.unwrap_or(json!([{"name": "y"}]))});
    server.infer(model, request.to_string())
}

#[test]
fn inputs_and_outputs_lie_where_the_request_says() {
    let (_models, server) = server();
    let memory = Memory::of_floats(&[9.0, 1.0, 2.0, 9.0, 9.0, 9.0]);
    register(&server, "r", &memory);
    let answer = ask(&server, "add", &input(&place("r", 4, 8)), Some(&place("r", 12, 12)));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(memory.floats(), [9.0, 1.0, 2.0, 2.0, 3.0, 9.0]);
    let output = &answer.json()["outputs"][0];
    assert_eq!((&output["datatype"], &output["shape"]), (&json!("FP32"), &json!([1, 2])));
    // Triton's C++ client takes any parameters of an output as those of raw elements.
    assert!(output.get("data").is_none() && output.get("parameters").is_none());
    assert!(answer.header("inference-header-content-length").is_none());
    // One of both may be in the body.
    let answer = ask(&server, "add", &input(&place("r", 12, 8)), None);
    assert_eq!(answer.json()["outputs"][0]["data"], json!([3.0, 4.0]));
    let mut sent = input(&json!({}));
    sent["data"] = json!([5, 6]);
    assert_eq!(ask(&server, "add", &sent, Some(&place("r", 0, 8))).status, 200);
    assert_eq!(memory.floats()[..2], [6.0, 7.0]);
}

#[test]
fn regions_are_listed_and_forgotten() {
    let (_models, server) = server();
    let list = |path: &str| server.get(&format!("/v2/systemsharedmemory{path}/status"));
    assert_eq!(list("").json(), json!([]));
    let memory = Memory::of_floats(&[1.0, 2.0]);
    register(&server, "b", &memory);
    register(&server, "a%2F%C3%A4", &memory);
    let region = |name| json!({"name": name, "key": memory.key(), "offset": 0, "byte_size": 8});
    assert_eq!(list("").json(), json!([region("a/ä"), region("b")]));
    assert_eq!(list("/region/b").json(), json!([region("b")]));
    list("/region/c").expect_error(404, "no shared memory region 'c'");
    unregister(&server, "b");
    unregister(&server, "b");
    list("/region/b").expect_error(404, "'b'");
    assert_eq!(server.post("/v2/systemsharedmemory/unregister", "").status, 200);
    assert_eq!(list("").json(), json!([]));
    // CUDA's regions are answered, and cannot be made.
    assert_eq!(server.get("/v2/cudasharedmemory/status").json(), json!([]));
    assert_eq!(server.post("/v2/cudasharedmemory/unregister", "").status, 200);
    let cuda = server.post("/v2/cudasharedmemory/region/c/register", "{}");
    cuda.expect_error(501, "use system shared memory");
    server.get("/v2/systemsharedmemory/region/status").expect_error(404, "no path");
    server.post("/v2/systemsharedmemory/register", "{}").expect_error(404, "no path");
    assert_eq!(server.post("/v2/systemsharedmemory/status", "{}").status, 405);
}

#[test]
fn mistakes_in_a_registration_are_named() {
    let (_models, server) = server();
    let memory = Memory::of_floats(&[1.0, 2.0]);
    let key = memory.key();
    for (region, words) in [
        (json!({"byte_size": 8}), "'key' is missing"),
        (json!({"key": 7, "byte_size": 8}), "'key' of a shared memory region must be a string"),
        (json!({"key": key}), "'byte_size' is missing"),
        (json!({"key": key, "byte_size": "8"}), "'byte_size' of a shared memory region"),
        (json!({"key": key, "byte_size": -8}), "'byte_size' of a shared memory region"),
        (json!({"key": key, "offset": 0.5, "byte_size": 8}), "'offset' of a shared memory region"),
        (json!({"key": key, "offset": 1, "byte_size": 8}), "which has 8 bytes"),
        (json!({"key": key, "offset": u64::MAX, "byte_size": u64::MAX}), "which has 8 bytes"),
        (json!({"key": format!("{key}x"), "byte_size": 8}), "there is no shared memory with key"),
        (json!({"key": "/other", "byte_size": 8}), "--shared-memory"),
        (json!([]), "the body must be an object"),
    ] {
        let path = "/v2/systemsharedmemory/region/r/register";
        let answer = server.post(path, region.to_string());
        answer.expect_error(400, words);
        assert!(!answer.text().contains("/dev/shm"), "{}", answer.text());
    }
    register(&server, "r", &memory);
    let again = json!({"key": key, "byte_size": 4}).to_string();
    let again = server.post("/v2/systemsharedmemory/region/r/register", again);
    again.expect_error(400, "unregister it first");
}

#[test]
fn mistakes_in_a_place_are_named() {
    let (_models, server) = server();
    let memory = Memory::of_floats(&[1.0; 16]);
    register(&server, "r", &memory);
    register(&server, "same", &memory);
    let here = input(&place("r", 0, 8));
    let with_data = |parameters: Value| {
        let mut input = input(&parameters);
        input["data"] = json!([1, 2]);
        input
    };
    let fine = place("r", 8, 8);
    for (status, input, output, words) in [
        (404, input(&place("s", 0, 8)), None, "no shared memory region 's'"),
        (400, input(&place("r", 57, 8)), None, "beyond the region 'r', which has 64 bytes"),
        (400, input(&place("r", u64::MAX, 8)), None, "beyond the region"),
        (400, input(&place("r", 8, u64::MAX)), None, "beyond the region"),
        (400, input(&place("r", 0, 4)), None, "brings 4 bytes, and its shape and datatype need 8"),
        (400, input(&place("r", 0, 12)), None, "brings 12 bytes"),
        (400, input(&json!({"shared_memory_region": "r"})), None, "needs both parameters"),
        (400, input(&json!({"shared_memory_byte_size": 8})), None, "needs both parameters"),
        (400, input(&json!({"shared_memory_region": 1})), None, "'shared_memory_region' must be"),
        (400, with_data(place("r", 0, 8)), None, "one only"),
        (404, here.clone(), Some(place("s", 0, 8)), "no shared memory region 's'"),
        (400, here.clone(), Some(place("r", 60, 8)), "beyond the region"),
        (
            400,
            here.clone(),
            Some(place("r", 8, 4)),
            "has 8 bytes, and its shared_memory_byte_size is 4",
        ),
        (400, here.clone(), Some(place("r", 7, 8)), "output 'y'"),
        (400, here.clone(), Some(place("same", 4, 8)), "overlap in shared memory"),
        (
            400,
            here.clone(),
            Some(json!({"shared_memory_region": "r", "shared_memory_byte_size": 8,
                                        "shared_memory_offset": 8, "classification": 1})),
            "one only",
        ),
    ] {
        let answer = ask(&server, "add", &input, output.as_ref());
        answer.expect_error(status, words);
    }
    assert_eq!(memory.floats(), [1.0; 16], "nothing was written");
    assert_eq!(ask(&server, "add", &here, Some(&fine)).status, 200);
}

#[test]
fn inputs_in_shared_memory_count_as_the_body_does() {
    let models = Models::empty();
    models.add("same", &same());
    let flags = ["--shared-memory", PREFIX, "--body-bytes-max", "4096"];
    let server = Server::start_with(models.path(), &flags);
    let memory = Memory::new(&[0; 8192]);
    register(&server, "r", &memory);
    let input = |columns: u64| {
        json!({"name": "x", "shape": [1, columns], "datatype": "FP32",
               "parameters": place("r", 0, columns * 4)})
    };
    assert_eq!(ask(&server, "same", &input(1024), Some(&place("r", 4096, 4096))).status, 200);
    ask(&server, "same", &input(1025), None).expect_error(400, "--body-bytes-max");
    // Many inputs may name the same bytes.
    let inputs: Vec<_> = (0..5).map(|_| input(256)).collect();
    let request = json!({"inputs": inputs});
    server.infer("same", request.to_string()).expect_error(400, "more than 4096 bytes");
}

#[test]
fn a_client_that_makes_its_memory_smaller_gets_an_error() {
    let (_models, server) = server();
    let memory = Memory::of_floats(&[1.0; 4096]);
    register(&server, "r", &memory);
    memory.resize(4);
    let answer = ask(&server, "add", &input(&place("r", 0, 8)), None);
    answer.expect_error(400, "was made smaller");
    let mut sent = input(&json!({}));
    sent["data"] = json!([5, 6]);
    let answer = ask(&server, "add", &sent, Some(&place("r", 0, 8)));
    answer.expect_error(400, "was made smaller");
    assert_eq!(memory.bytes().len(), 4);
    memory.resize(8);
    assert_eq!(ask(&server, "add", &sent, Some(&place("r", 0, 8))).status, 200);
    assert_eq!(memory.floats(), [6.0, 7.0]);
}

#[test]
fn a_region_lives_as_long_as_a_request_uses_it() {
    let (_models, server) = server();
    let memory = Memory::of_floats(&[1.0, 0.0]);
    register(&server, "r", &memory);
    let parameters = place("r", 0, 4);
    let input = json!({"name": "x", "shape": [1], "datatype": "FP32", "parameters": parameters});
    let output = json!({"name": "y", "parameters": place("r", 4, 4)});
    let request = json!({"inputs": [input], "outputs": [output]}).to_string();
    let mut client = server.connect();
    client.send_request("POST", "/v2/models/slow/infer", &[], request.as_bytes());
    let runs = || server.metric("skysail_replicas_busy", &["model=\"slow\""]) == 1.0;
    support::wait_until("the run to begin", runs);
    unregister(&server, "r");
    drop(std::fs::remove_file(format!("/dev/shm{}", memory.key())));
    assert_eq!(client.answer().status, 200);
    server.get("/v2/systemsharedmemory/region/r/status").expect_error(404, "'r'");
}

#[test]
fn it_is_off_by_default_and_says_so() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let memory = Memory::of_floats(&[1.0, 2.0]);
    let region = json!({"key": memory.key(), "byte_size": 8}).to_string();
    let register = server.post("/v2/systemsharedmemory/region/r/register", region);
    register.expect_error(501, "shared memory is off");
    let answer = ask(&server, "add", &input(&place("r", 0, 8)), None);
    answer.expect_error(501, "--shared-memory");
    unregister(&server, "r");
    assert_eq!(server.get("/v2/systemsharedmemory/status").json(), json!([]));
    let advertised = |server: &Server| {
        let extensions = server.get("/v2").json()["extensions"].clone();
        extensions.as_array().unwrap().contains(&json!("system_shared_memory"))
    };
    assert!(!advertised(&server));
    assert!(advertised(&self::server().1));
    let models = models.path().to_str().unwrap();
    let output = support::run(&["--models", models, "--shared-memory", ""]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(64) && said.contains("shared-memory is empty"), "{said}");
}
