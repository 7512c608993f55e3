//! The highest classes of an output, with labels from a file.

mod support;

use serde_json::{Value, json};
use support::Server;
use support::models::{ADD_REQUEST, Models, add, same};

const CONFIG: &str = "max_batch_size: 4\noutput { name: 'y' label_filename: 'labels/en.txt' }\n";

/// A server of `same`, whose outputs are the scores that it gets.
fn server() -> (Models, Server) {
    let models = Models::empty();
    models.add("same", &same()).write("same/config.pbtxt", CONFIG);
    models.write("same/labels/en.txt", "cat\ndog\n\n");
    models.add("plain", &same()).write("plain/model.toml", "max_batch_size = 0\n");
    let server = Server::start(models.path());
    (models, server)
}

/// A request for the classes of two rows with three scores.
fn request(classification: &Value) -> String {
    let input = json!({"name": "x", "shape": [2, 3], "datatype": "FP32",
                       "data": [0.1, 0.7, 0.2, 0.5, 0, 0.5]});
    let output = json!({"name": "y", "parameters": {"classification": classification}});
    json!({"inputs": [input], "outputs": [output]}).to_string()
}

#[test]
fn classes_are_strings_with_score_number_and_label() {
    let (_models, server) = server();
    let answer = server.infer("same", request(&json!(2)));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let wanted = json!({"name": "y", "datatype": "BYTES", "shape": [2, 2],
        "data": ["0.700000:1:dog", "0.200000:2", "0.500000:0:cat", "0.500000:2"]});
    assert_eq!(answer.json()["outputs"][0], wanted);
    // Without a batch dimension, all elements are the classes of one.
    let answer = server.infer("plain", request(&json!(2)));
    let output = &answer.json()["outputs"][0];
    assert_eq!(
        (&output["shape"], &output["data"]),
        (&json!([2]), &json!(["0.700000:1", "0.500000:3"]))
    );
    let all = server.infer("same", request(&json!(1000))).json();
    assert_eq!(all["outputs"][0]["shape"], json!([2, 3]));
}

#[test]
fn metadata_and_other_requests_are_as_before() {
    let (_models, server) = server();
    assert_eq!(server.get("/v2/models/same").json()["outputs"][0]["datatype"], "FP32");
    let config = server.get("/v2/models/same/config").json();
    assert_eq!(config["output"][0]["label_filename"], "labels/en.txt");
    let extensions = server.get("/v2").json()["extensions"].clone();
    assert!(extensions.as_array().unwrap().contains(&json!("classification")));
    // Zero asks for no classes, as in Triton.
    let answer = server.infer("same", request(&json!(0))).json();
    assert_eq!(answer["outputs"][0]["datatype"], "FP32");
    assert_eq!(server.infer("plain", ADD_REQUEST).status, 200);
}

#[test]
fn classes_that_cannot_be_are_errors() {
    let (_models, server) = server();
    for wrong in [json!(-1), json!("2"), json!(1.5), json!(true), json!([2])] {
        server.infer("same", request(&wrong)).expect_error(400, "'classification'");
    }
    let unknown = request(&json!(1)).replace("\"y\"", "\"z\"");
    server.infer("same", unknown).expect_error(400, "no output 'z'");
}

#[test]
fn a_changed_file_of_labels_is_read_again() {
    let (models, server) = server();
    models.write("same/labels/en.txt", "chat\nchien\n");
    support::wait_until("the new labels", || {
        server.infer("same", request(&json!(1))).text().contains("0.700000:1:chien")
    });
}

#[test]
fn image_formats_are_returned_for_clients() {
    let models = Models::empty();
    let input = "input { name: 'x' data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ -1 ] }\n";
    models.add("same", &same()).write("same/config.pbtxt", format!("max_batch_size: 4\n{input}"));
    let server = Server::start(models.path());
    let config = server.get("/v2/models/same/config").json();
    assert_eq!(config["input"][0]["format"], "FORMAT_NCHW");
    assert!(!server.log().contains("format"), "{}", server.log());
}

#[test]
fn a_file_of_labels_must_be_there_and_readable() {
    let models = Models::empty();
    let reason = |name: &str, labels: Option<&[u8]>, words: &str| {
        models.add(name, &add(1.0)).write(&format!("{name}/config.pbtxt"), CONFIG);
        if let Some(labels) = labels {
            models.write(&format!("{name}/labels/en.txt"), labels);
        }
        (name.to_owned(), words.to_owned())
    };
    let wanted = [
        reason("missing", None, "'labels/en.txt' is not there"),
        reason("binary", Some(b"\xff\xfe"), "'labels/en.txt' is not UTF-8"),
        reason("long", Some(&[b'x'; 2000]), "more than 1024 bytes in line 1"),
    ];
    let server = Server::start_unready(models.path(), &[]);
    for (name, words) in wanted {
        let reason = server.wait_for_state(&name, "1", "UNAVAILABLE");
        assert!(reason.contains(&words), "{name}: {reason}");
        assert!(!reason.contains("/tmp"), "{reason}");
    }
}
