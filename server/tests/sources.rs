//! Places that models come from: several repositories, models with a path of their own, weights
//! beside their model, and files that come with a request.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::http::Answer;
use support::models::{ADD_REQUEST, Models, add};
use support::{Server, wait_until};

/// First sum that a model answers with, if it answers.
fn sum(server: &Server, model: &str) -> Option<f64> {
    let answer = server.infer(model, ADD_REQUEST);
    (answer.status == 200).then(|| answer.json()["outputs"][0]["data"][0].as_f64().unwrap())
}

/// Waits until a model answers with this sum.
fn wait_for_sum(server: &Server, model: &str, wanted: f64) {
    wait_until(&format!("{model} to answer {wanted}"), || sum(server, model) == Some(wanted));
}

/// A server that polls very often.
fn polling(models: &Models, flags: &[&str]) -> Server {
    Server::start_unready(models.path(), &[&["--poll-ms", "5"], flags].concat())
}

/// Writes `y = x + value` whose weight lies in another file.
fn write_with_weight(models: &Models, file: &str, location: &str, value: f32) {
    let mut model = add(0.0);
    model.move_initializer("value", location);
    let folder = Path::new(file).parent().unwrap();
    // The weight goes first, so that no scan sees the model without it.
    let weight = folder.join(location);
    models.write(weight.to_str().unwrap(), value.to_le_bytes());
    models.write(file, model.to_bytes().unwrap());
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

#[test]
fn several_repositories_serve_side_by_side() {
    let (first, second) = (Models::empty(), Models::empty());
    first.add("one", &add(1.0)).add("both", &add(1.0));
    second.add("two", &add(2.0)).add("both", &add(2.0));
    let server = polling(&first, &["--models", second.path().to_str().unwrap()]);
    wait_for_sum(&server, "one", 2.0);
    wait_for_sum(&server, "two", 3.0);
    let reason = server.wait_for_state("both", "", "UNAVAILABLE");
    assert!(reason.contains("repositories"), "{reason}");
    for folder in [&first, &second] {
        let path = folder.path().join("both");
        assert!(server.log().contains(path.to_str().unwrap()), "{}", server.log());
        assert!(!reason.contains(path.to_str().unwrap()), "{reason}");
    }
    server.infer("both", ADD_REQUEST).expect_error(503, "only one of them can have it");
    second.delete("both");
    wait_for_sum(&server, "both", 2.0);
    // A repository that goes away changes nothing that serves.
    let away = second.path().with_extension("away");
    fs::rename(second.path(), &away).unwrap();
    first.add("three", &add(3.0));
    wait_for_sum(&server, "three", 4.0);
    assert_eq!(sum(&server, "two"), Some(3.0));
    fs::rename(away, second.path()).unwrap();
}

#[test]
fn a_path_may_be_a_file_or_a_folder_that_is_the_model() {
    let (models, elsewhere) = (Models::empty(), Models::empty());
    models.add("one", &add(1.0));
    elsewhere.write("file.onnx", add(10.0).to_bytes().unwrap());
    elsewhere.write("direct/model.onnx", add(20.0).to_bytes().unwrap());
    elsewhere.add_version("versions", 7, &add(30.0)).write("versions/model.toml", "");
    let flags = [("file", "file.onnx"), ("direct", "direct"), ("versions", "versions")]
        .map(|(name, path)| format!("--model={}", flag(name, &elsewhere.path().join(path))));
    let server = polling(&models, &flags.each_ref().map(String::as_str));
    for (model, wanted) in [("one", 2.0), ("file", 11.0), ("direct", 21.0), ("versions", 31.0)] {
        wait_for_sum(&server, model, wanted);
    }
    assert!(server.state("versions", "7").is_some());
    let named = [&flags.each_ref().map(String::as_str)[..], &["--model-control", "explicit"]];
    let by_name = Server::start_with(
        models.path(),
        &[&named.concat()[..], &["--load-model", "file"]].concat(),
    );
    assert_eq!((sum(&by_name, "file"), sum(&by_name, "direct")), (Some(11.0), None));
    assert_eq!(load(&by_name, "direct", &json!({})).status, 200);
    assert_eq!(sum(&by_name, "direct"), Some(21.0));
    elsewhere.write("file.onnx", add(11.0).to_bytes().unwrap());
    wait_for_sum(&server, "file", 12.0);
}

#[test]
fn a_link_is_waited_for_and_followed() {
    let (models, elsewhere) = (Models::empty(), Models::empty());
    let link = elsewhere.path().join("mounted");
    let server = polling(&models, &["--model", &flag("late", &link)]);
    let reason = server.wait_for_state("late", "", "UNAVAILABLE");
    assert!(reason.contains("is not there"), "{reason}");
    server.infer("late", ADD_REQUEST).expect_error(503, "is not there");
    for value in [1.0_f32, 2.0] {
        let target = format!("v{value}");
        elsewhere.write(&format!("{target}/model.onnx"), add(value).to_bytes().unwrap());
        let unseen = elsewhere.path().join("unseen");
        symlink(&target, &unseen).unwrap();
        fs::rename(&unseen, &link).unwrap();
        wait_for_sum(&server, "late", 1.0 + f64::from(value));
    }
}

#[test]
fn a_volume_of_kubernetes_is_served_and_followed() {
    let (models, volume) = (Models::empty(), Models::empty());
    let swap = |folder: &str| {
        symlink(folder, volume.path().join("..new")).unwrap();
        fs::rename(volume.path().join("..new"), volume.path().join("..data")).unwrap();
    };
    write_with_weight(&volume, "..1/model.onnx", "weight.bin", 1.0);
    swap("..1");
    for file in ["model.onnx", "weight.bin"] {
        symlink(Path::new("..data").join(file), volume.path().join(file)).unwrap();
    }
    let server = polling(&models, &["--model", &flag("m", volume.path())]);
    wait_for_sum(&server, "m", 2.0);
    write_with_weight(&volume, "..2/model.onnx", "weight.bin", 2.0);
    swap("..2");
    wait_for_sum(&server, "m", 3.0);
}

#[test]
fn weights_beside_the_model_are_part_of_it() {
    let models = Models::empty();
    for file in ["beside/1/model.onnx", "folder/1/model.onnx/model.onnx"] {
        write_with_weight(&models, file, "weights/w.bin", 1.0);
    }
    let server = polling(&models, &[]);
    for (model, weight) in
        [("beside", "beside/1/weights/w.bin"), ("folder", "folder/1/model.onnx/weights/w.bin")]
    {
        wait_for_sum(&server, model, 2.0);
        models.write(weight, 5.0_f32.to_le_bytes());
        wait_for_sum(&server, model, 6.0);
    }
}

#[test]
fn weights_outside_of_the_version_are_refused() {
    let models = Models::empty();
    models.write("secret.bin", 1.0_f32.to_le_bytes());
    write_with_weight(&models, "dots/1/model.onnx", "../../secret.bin", 1.0);
    write_with_weight(&models, "linked/1/model.onnx", "w.bin", 1.0);
    let weight = models.path().join("linked/1/w.bin");
    fs::remove_file(&weight).unwrap();
    symlink(models.path().join("secret.bin"), weight).unwrap();
    let server = polling(&models, &[]);
    for model in ["dots", "linked"] {
        let reason = server.wait_for_state(model, "1", "UNAVAILABLE");
        assert!(reason.contains("escapes model directory"), "{reason}");
    }
}

/// Parameters of a request to load, with the files in base64.
fn with_files(files: &[(&str, &[u8])]) -> Value {
    let encoded = |(path, bytes): &(&str, &[u8])| {
        (format!("file:{path}"), Value::from(BASE64_STANDARD.encode(bytes)))
    };
    let mut parameters: serde_json::Map<_, _> = files.iter().map(encoded).collect();
    parameters.insert("config".into(), "{}".into());
    json!({ "parameters": parameters })
}

fn load(server: &Server, model: &str, body: &Value) -> Answer {
    server.post(&format!("/v2/repository/models/{model}/load"), body.to_string())
}

#[test]
fn sent_files_serve_as_long_as_their_model() {
    let (models, temporary) = (Models::empty(), tempfile::tempdir().unwrap());
    models.add("add", &add(1.0));
    let flags = ["--model-control", "explicit", "--load-bytes-max", "20000"];
    let variables = [("TMPDIR", temporary.path().to_str().unwrap())];
    let server = Server::start_in(models.path(), &flags, &variables);
    let folders = || fs::read_dir(temporary.path()).unwrap().count();
    let idle = folders();
    let bytes = |value| add(value).to_bytes().unwrap();
    let load_ok = |model: &str, body: &Value| {
        let answer = load(&server, model, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    load_ok("add", &json!({}));
    load_ok("add", &with_files(&[("1/model.onnx", &bytes(5.0))]));
    assert_eq!(sum(&server, "add"), Some(6.0));
    load_ok("new", &with_files(&[("3/model.onnx", &bytes(7.0)), ("labels.txt", b"a")]));
    assert_eq!(sum(&server, "new"), Some(8.0));
    // A load that fails leaves what serves, and its files.
    load(&server, "new", &with_files(&[("3/model.onnx", b"no model")])).expect_error(400, "new");
    assert_eq!(sum(&server, "new"), Some(8.0));
    load_ok("add", &json!({}));
    assert_eq!(sum(&server, "add"), Some(2.0));
    assert_eq!(server.post("/v2/repository/models/new/unload", "{}").status, 200);
    wait_until("the files to be removed", || folders() == idle);
    server.infer("new", ADD_REQUEST).expect_error(404, "new");
}

#[test]
fn models_of_sent_files_alone_are_forgotten() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start_with(models.path(), &["--model-control", "explicit"]);
    let names = || {
        let index = server.post("/v2/repository/index", "{}").json();
        let models = index.as_array().unwrap().iter();
        models.map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sent = with_files(&[("1/model.onnx", &add(5.0).to_bytes().unwrap())]);
    for model in ["add", "one", "two"] {
        assert_eq!(load(&server, model, &sent).status, 200);
        assert_eq!(sum(&server, model), Some(6.0));
        let unload = format!("/v2/repository/models/{model}/unload");
        assert_eq!(server.post(&unload, "{}").status, 200);
    }
    let broken = with_files(&[("1/model.onnx", b"no model")]);
    load(&server, "three", &broken).expect_error(400, "three");
    wait_until("the models to be forgotten", || names() == ["add"]);
    server.infer("add", ADD_REQUEST).expect_error(503, "unloaded");
    // The name can be used again.
    assert_eq!(load(&server, "one", &sent).status, 200);
    assert_eq!(sum(&server, "one"), Some(6.0));
}

#[test]
fn sent_files_are_confined_and_limited() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let flags = ["--model-control", "explicit", "--load-bytes-max", "20000"];
    let server = Server::start_with(models.path(), &flags);
    for path in ["../1/model.onnx", "/etc/x", "1/../../x", "1/..", "1\\x", "", "1/.x", "1//x"] {
        let answer = load(&server, "add", &with_files(&[(path, b"x")]));
        answer.expect_error(400, "is no path of a model's file");
    }
    for model in ["..%2Fx", ".x"] {
        assert_eq!(load(&server, model, &with_files(&[("1/model.onnx", b"x")])).status, 404);
    }
    let answer = load(&server, "add", &with_files(&[("1/model.onnx", &[0; 30_000])]));
    answer.expect_error(413, "20000");
    let wrong = json!({"parameters": {"file:1/model.onnx": "not base64!"}});
    load(&server, "add", &wrong).expect_error(400, "file:1/model.onnx");
    let wrong = json!({"parameters": {"file:1/model.onnx": 5}});
    load(&server, "add", &wrong).expect_error(400, "file:1/model.onnx");
    let nothing = json!({"parameters": {"config": null}});
    assert_eq!(load(&server, "add", &nothing).status, 200);
    let polled = Server::start_with(models.path(), &[]);
    let answer = load(&polled, "add", &with_files(&[("1/model.onnx", b"x")]));
    answer.expect_error(503, "explicit");
}
