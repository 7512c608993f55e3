//! Models in object stores, against a real S3 server: moto, of PyPI. Its limits: it keeps all in memory,
//! asks for no credentials, and knows neither encryption nor versions by region.
//!
//! SKYSAIL_CLIENTS_PYTHON names the interpreter that has it. Without it the tests are skipped.

#![cfg(feature = "object-stores")]
#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use parking_lot::Mutex;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use support::http::Connection;
use support::models::{ADD_REQUEST, add};
use support::{Server, wait_until};

/// A header of a signed request. This store believes every signature.
const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

/// Bytes of the large file of a model, of which a part arrives before a cut.
const LARGE: usize = 4 << 20;

/// A running S3 server with the bucket `models`.
struct Store {
    process: Child,
    address: SocketAddr,
}

impl Store {
    /// Starts a store; prints a note and returns `None` if there is none.
    #[expect(clippy::print_stdout, reason = "says that a test was skipped")]
    fn start() -> Option<Self> {
        let address = free_address();
        let store = Self::start_at(address);
        if store.is_none() {
            println!(
                "skipped: there is no Python with moto[server]: `cargo xtask setup --clients`"
            );
        }
        store
    }

    fn start_at(address: SocketAddr) -> Option<Self> {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
        let python = env::var_os("SKYSAIL_CLIENTS_PYTHON").map_or(default, PathBuf::from);
        let has_it = Command::new(&python)
            .args(["-c", "import moto.server"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !has_it {
            return None;
        }
        let port = address.port().to_string();
        let process = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let store = Self { process, address };
        wait_until("the store", || TcpStream::connect(address).is_ok());
        store.send("PUT", "/models", b"");
        Some(store)
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) {
        send(self.address, method, path, body);
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.send("PUT", &format!("/models/{key}"), bytes);
    }

    fn put_model(&self, key: &str, value: f32) {
        self.put(key, &add(value).to_bytes().unwrap());
    }

    /// Starts a server of models in the store, through `address`.
    fn serve_at(&self, address: SocketAddr, cache: &Path, flags: &[&str]) -> Server {
        let empty = cache.join("empty");
        fs::create_dir_all(&empty).unwrap();
        let endpoint = format!("http://{address}");
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        let cache = cache.to_str().unwrap();
        let flags =
            [&["--store-cache", cache, "--store-poll-ms", "20", "--poll-ms", "5"], flags].concat();
        Server::start_in(&empty, &flags, &variables)
    }

    fn serve(&self, cache: &Path, flags: &[&str]) -> Server {
        self.serve_at(self.address, cache, flags)
    }

    fn stop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

fn send(address: SocketAddr, method: &str, path: &str, body: &[u8]) {
    let headers = [SIGNED, "x-amz-acl: public-read"];
    let answer = Connection::open(address).request(method, path, &headers, body);
    assert!(answer.status < 300, "{method} {path}: {}", answer.text());
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// First sum that a model answers with, if it answers.
fn sum(server: &Server, model: &str) -> Option<f64> {
    let answer = server.infer(model, ADD_REQUEST);
    (answer.status == 200).then(|| answer.json()["outputs"][0]["data"][0].as_f64().unwrap())
}

fn wait_for_sum(server: &Server, model: &str, wanted: f64) {
    wait_until(&format!("{model} to answer {wanted}"), || sum(server, model) == Some(wanted));
}

#[test]
fn a_repository_in_a_store_is_served_and_followed() {
    let Some(mut store) = Store::start() else { return };
    let cache = tempfile::tempdir().unwrap();
    store.put_model("p/add/1/model.onnx", 1.0);
    store.put("p/add/config.pbtxt", b"version_policy: { all: {} }");
    let server = store.serve(cache.path(), &["--models", "s3://models/p"]);
    wait_for_sum(&server, "add", 2.0);
    wait_until("readiness", || server.get("/v2/health/ready").status == 200);
    store.put_model("p/add/2/model.onnx", 2.0);
    wait_for_sum(&server, "add", 3.0);
    assert_eq!(server.log().matches("'add' version 1 is ready").count(), 1, "{}", server.log());
    store.put_model("p/new/1/model.onnx", 5.0);
    wait_for_sum(&server, "new", 6.0);
    store.send("DELETE", "/models/p/new/1/model.onnx", b"");
    wait_until("the removed model", || server.infer("new", ADD_REQUEST).status == 404);
    assert!(server.metric("skysail_store_downloaded_bytes_total", &[]) > 0.0);
    assert!(server.metric("skysail_store_cache_bytes", &[]) > 0.0);

    // A store that is away changes nothing that serves, and is told.
    assert_eq!(server.metric("skysail_store_up", &["s3://models/p"]), 1.0);
    store.stop();
    wait_until("the store to be missed", || server.metric("skysail_store_up", &[]) == 0.0);
    assert_eq!(sum(&server, "add"), Some(3.0));
    assert_eq!(server.get("/v2/health/ready").status, 200);
    let (state, reason) = server.state("add", "2").unwrap();
    assert!(state == "READY" && reason.contains("s3://models/p can not be read"), "{reason}");
    drop(server);

    // Nor does a restart without it.
    let server = store.serve(cache.path(), &["--models", "s3://models/p"]);
    wait_for_sum(&server, "add", 3.0);
    wait_until("readiness", || server.get("/v2/health/ready").status == 200);
    let mut store = Store::start_at(store.address).unwrap();
    store.put_model("p/add/3/model.onnx", 7.0);
    wait_for_sum(&server, "add", 8.0);
    store.stop();
}

#[test]
fn a_key_that_leads_elsewhere_is_refused() {
    let Some(store) = Store::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    store.put_model("p/add/1/model.onnx", 1.0);
    let cache = folder.path().join("cache");
    let server = store.serve(&cache, &["--models", "s3://models/p"]);
    wait_for_sum(&server, "add", 2.0);
    store.put("p/%2E%2E/%2E%2E/evil/1/model.onnx", b"x");
    wait_until("the complaint", || server.log().contains("a key can not be the path of a file"));
    assert_eq!(sum(&server, "add"), Some(2.0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    store.send("DELETE", "/models/p/%2E%2E/%2E%2E/evil/1/model.onnx", b"");
    store.put_model("p/add/2/model.onnx", 2.0);
    wait_for_sum(&server, "add", 3.0);
}

#[test]
fn a_model_in_a_store_has_a_name_of_its_own() {
    let Some(store) = Store::start() else { return };
    let cache = tempfile::tempdir().unwrap();
    let server = store.serve(
        cache.path(),
        &[
            "--model=folder=s3://models/folder",
            "--model=file=s3://models/file.onnx",
            &format!("--model=web=http://{}/models/web.onnx", store.address),
        ],
    );
    let reason = server.wait_for_state("folder", "", "LOADING");
    assert!(reason.contains("s3://models/folder"), "{reason}");
    store.put_model("folder/model.onnx", 1.0);
    store.put_model("file.onnx", 2.0);
    store.put_model("web.onnx", 3.0);
    for (model, wanted) in [("folder", 2.0), ("file", 3.0), ("web", 4.0)] {
        wait_for_sum(&server, model, wanted);
    }
    store.put_model("web.onnx", 4.0);
    wait_for_sum(&server, "web", 5.0);
}

#[test]
fn models_are_copied_by_name_in_mode_explicit() {
    let Some(mut store) = Store::start() else { return };
    let cache = tempfile::tempdir().unwrap();
    store.put_model("p/add/1/model.onnx", 1.0);
    store.put_model("p/other/1/model.onnx", 2.0);
    let flags = ["--models", "s3://models/p", "--model-control", "explicit", "--load-model", "add"];
    let server = store.serve(cache.path(), &flags);
    wait_for_sum(&server, "add", 2.0);
    server.wait_for_state("other", "", "UNAVAILABLE");
    let load = |model: &str| server.post(&format!("/v2/repository/models/{model}/load"), "{}");
    assert_eq!(load("other").status, 200);
    assert_eq!(sum(&server, "other"), Some(3.0));
    store.put_model("p/add/1/model.onnx", 5.0);
    assert_eq!((load("add").status, sum(&server, "add")), (200, Some(6.0)));
    load("missing").expect_error(404, "missing");
    store.stop();
    load("add").expect_error(400, "s3://models/p");
    assert_eq!(sum(&server, "add"), Some(6.0));
}

/// Passes bytes between a server and a store, and cuts the first long answer in the middle.
struct Cut {
    address: SocketAddr,
    /// Bytes from the store.
    passed: Arc<AtomicUsize>,
}

impl Cut {
    /// `at_cut` runs once, before the connection is cut.
    fn start(store: SocketAddr, at_cut: impl FnOnce() + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicUsize::new(0));
        let at_cut = Arc::new(Mutex::new(Some(at_cut)));
        let counter = Arc::clone(&passed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(store) else { continue };
                let (counter, at_cut) = (Arc::clone(&counter), Arc::clone(&at_cut));
                let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, |_| true));
                std::thread::spawn(move || {
                    pass(upstream, client, |total| {
                        counter.fetch_add(total.1, SeqCst);
                        let is_cut = total.0 > LARGE / 2;
                        match at_cut.lock().take_if(|_| is_cut) {
                            Some(run) => {
                                run();
                                false
                            }
                            None => true,
                        }
                    });
                });
            }
        });
        Self { address, passed }
    }
}

/// Copies bytes until the end, or until `goes_on` says no to the bytes so far and the new ones.
fn pass(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut((usize, usize)) -> bool) {
    let (mut bytes, mut total) = (vec![0; 64 << 10], 0);
    while let Ok(count) = from.read(&mut bytes) {
        total += count;
        if count == 0 || to.write_all(&bytes[..count]).is_err() || !goes_on((total, count)) {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let Some(store) = Store::start() else { return };
    let cache = tempfile::tempdir().unwrap();
    store.put_model("p/add/1/model.onnx", 1.0);
    store.put("p/add/1/large.bin", &vec![7; LARGE]);
    let cut = Cut::start(store.address, || {});
    let server = store.serve_at(cut.address, cache.path(), &["--models", "s3://models/p"]);
    wait_for_sum(&server, "add", 2.0);
    let passed = cut.passed.load(SeqCst);
    assert!(passed < LARGE + LARGE / 4, "{passed} bytes passed for {LARGE}");
}

#[test]
fn an_object_that_changes_while_it_is_downloaded_is_downloaded_anew() {
    let Some(store) = Store::start() else { return };
    let cache = tempfile::tempdir().unwrap();
    store.put_model("p/add/1/model.onnx", 1.0);
    store.put("p/add/1/large.bin", &vec![7; LARGE]);
    let address = store.address;
    let change = move || send(address, "PUT", "/models/p/add/1/large.bin", &vec![8; LARGE]);
    let cut = Cut::start(store.address, change);
    let server = store.serve_at(cut.address, cache.path(), &["--models", "s3://models/p"]);
    wait_for_sum(&server, "add", 2.0);
    let contents = fs::read_dir(cache.path().join("contents")).unwrap();
    let large: Vec<Vec<u8>> = contents
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .filter(|bytes| bytes.len() >= LARGE)
        .collect();
    assert_eq!(large.len(), 1);
    assert!(large[0].iter().all(|byte| *byte == 8), "no byte of the older content is in it");
}
