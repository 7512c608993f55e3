//! The dashboard: its page, its events, and both in a real browser under load.

#![allow(clippy::unwrap_used, reason = "a test panics")]

mod support;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use support::browser::Browser;
use support::http::Connection;
use support::models::{ADD_REQUEST, Models, SLOW_REQUEST, add, slow, small_mlp, unsupported};
use support::{Server, TIMEOUT, wait_for, wait_until};

/// Name of a model that would be harmful as HTML.
const MARKUP: &str = "<img src=x onerror=alert(1)>";

/// Id of a request that would be harmful as HTML.
const ID: &str = "<script>alert(2)</script>";

/// Most viewers at once.
const WATCHERS_MAX: usize = 16;

/// Sends a request and reads until the server ends the connection.
fn exchange(address: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A viewer of the events.
struct Watcher {
    stream: TcpStream,
    text: String,
}

impl Watcher {
    /// Requests the events, and waits for the first bytes of the response.
    fn new(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "GET /dashboard/events HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
        let mut watcher = Self { stream, text: String::new() };
        watcher.read_until("\r\n\r\n");
        watcher
    }

    fn is_let_in(&self) -> bool {
        self.text.starts_with("HTTP/1.0 200")
    }

    /// Reads until some text has arrived, and returns everything up to it.
    fn read_until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.text.find(text) {
                return self.text[..at + text.len()].to_owned();
            }
            let mut bytes = vec![0; 64 << 10];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the stream ended before '{text}':\n{}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }
}

fn page(server: &Server) -> String {
    Connection::open(server.metrics()).request("GET", "/", &[], b"").text()
}

#[test]
fn the_page_is_self_contained_and_has_a_strict_policy() {
    let models = Models::digits();
    let server = Server::start(models.path());
    let page = Connection::open(server.metrics()).request("GET", "/", &[], b"");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    assert!(text.contains("<h1>Skysail</h1>") && text.contains(">digits<"), "{text}");
    for outside in ["http:", "https:", "style=", "onclick", "<script>", "<style"] {
        assert!(!text.contains(outside), "{outside}");
    }
    for (file, kind) in [
        ("style.css", "text/css; charset=utf-8"),
        ("script.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        assert!(text.contains(&format!("\"dashboard/{file}\"")), "{file}");
        let path = format!("/dashboard/{file}");
        let answer = Connection::open(server.metrics()).request("GET", &path, &[], b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{file}");
    }
}

#[test]
fn other_methods_and_paths_are_errors_with_a_message() {
    let models = Models::empty();
    let server = Server::start(models.path());
    let ask = |method, path| Connection::open(server.metrics()).request(method, path, &[], b"");
    for path in ["/", "/dashboard/style.css"] {
        let head = exchange(server.metrics(), "HEAD", path);
        assert!(head.starts_with("HTTP/1.0 200") && head.ends_with("\r\n\r\n"), "{head}");
    }
    let post = ask("POST", "/");
    post.expect_error(405, "GET, HEAD");
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
    ask("POST", "/dashboard/style.css").expect_error(405, "GET, HEAD");
    for path in ["/dashboard", "/dashboard/", "/dashboard/../metrics", "/dashboard/nothing"] {
        ask("GET", path).expect_error(404, path);
    }
    ask("POST", "/dashboard/events").expect_error(405, "GET");
    assert!(ask("GET", "/metrics").text().contains("process_resident_memory_bytes"));
    assert!(page(&server).contains("The repository holds no model."));
}

#[test]
fn names_reasons_and_ids_are_escaped() {
    let models = Models::empty();
    models.add("add", &add(1.0)).add(MARKUP, &add(1.0));
    models.write("broken/1/model.onnx", "<script>").write("broken/model.toml", "\"<b>\" = 1");
    let server = Server::start(models.path());
    let request = ADD_REQUEST.replacen('{', &format!("{{\"id\": \"{ID}\","), 1);
    assert_eq!(server.infer("add", request).status, 200);
    wait_until("the request to be shown", || page(&server).contains("alert(2)"));
    let page = page(&server);
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(2)&lt;/script&gt;"), "{page}");
    for markup in ["<img src=x", "<script>", "<b>\""] {
        assert!(!page.contains(markup), "{markup} in {page}");
    }
}

#[test]
fn events_contain_the_changed_parts() {
    let models = Models::empty();
    models.add("add", &add(1.0));
    let server = Server::start(models.path());
    let mut watcher = Watcher::new(server.metrics());
    assert!(watcher.is_let_in(), "{}", watcher.text);
    assert!(watcher.read_until("\r\n\r\n").contains("content-type: text/event-stream"));
    watcher.read_until("event: totals\n");
    let answered = ">7 in five minutes<";
    assert!(!watcher.text.contains(answered));
    (0..7).for_each(|_| assert_eq!(server.infer("add", ADD_REQUEST).status, 200));
    watcher.read_until(answered);
    watcher.read_until("event: model-0\ndata: <article");
    let (_, events) = watcher.text.split_once("\r\n\r\n").unwrap();
    for line in events.lines().filter(|line| !line.is_empty()) {
        let field = line.split_once(':').unwrap().0;
        assert!(["event", "data", "retry", ""].contains(&field), "{line}");
    }
}

#[test]
fn the_number_of_viewers_is_limited() {
    let models = Models::empty();
    let server = Server::start(models.path());
    let mut watchers: Vec<_> = (0..WATCHERS_MAX).map(|_| Watcher::new(server.metrics())).collect();
    assert!(watchers.iter().all(Watcher::is_let_in));
    let rejected = Watcher::new(server.metrics());
    assert!(rejected.text.starts_with("HTTP/1.0 503"), "{}", rejected.text);
    assert!(rejected.text.contains("retry-after"), "{}", rejected.text);
    watchers.pop();
    wait_until("a place", || Watcher::new(server.metrics()).is_let_in());
}

#[test]
fn stopping_ends_the_event_streams() {
    let models = Models::empty();
    let server = Server::start_with(models.path(), &["--stop-timeout-ms", "20000"]);
    let mut watcher = Watcher::new(server.metrics());
    watcher.read_until("retry:");
    let log = server.stop();
    assert!(!log.contains("still ran"), "{log}");
    let mut rest = String::new();
    watcher.stream.read_to_string(&mut rest).unwrap();
}

/// Models in every state, and one that misses its objective under load.
fn busy_repository() -> Models {
    let models = Models::digits();
    models.add("add", &add(1.0)).add("wide", &small_mlp(1)).add(MARKUP, &add(1.0));
    models.add("broken", &unsupported()).add("slow", &slow());
    models.write("slow/model.toml", "objective_ms = 400\n");
    models.write("add/model.toml", "objective_ms = 50\ncache = { bytes_max = 1048576 }\n");
    models
}

/// Sends requests to two models on separate connections, until told to stop.
fn load(server: &Server, is_over: &AtomicBool) {
    std::thread::scope(|threads| {
        let ask = |model: &'static str, request: &'static str| {
            let address = server.http();
            move || {
                let mut connection = Connection::open(address);
                let path = format!("/v2/models/{model}/infer");
                while !is_over.load(Relaxed) {
                    connection.request("POST", &path, &[], request.as_bytes());
                }
            }
        };
        (0..2).for_each(|_| drop(threads.spawn(ask("add", ADD_REQUEST))));
        (0..4).for_each(|_| drop(threads.spawn(ask("slow", SLOW_REQUEST))));
    });
}

/// Waits until a script returns a value that is not null.
fn find(browser: &Browser, what: &str, script: &str) -> Value {
    wait_for(what, || Some(browser.run(script)).filter(|value| !value.is_null()))
}

/// A script for the cell of a model under a label, or null if it is empty.
fn cell(model: &str, label: &str) -> String {
    format!(
        "for (const row of document.querySelectorAll('#versions tbody tr')) {{
            if (row.querySelector('.name').textContent !== '{model}') continue;
            const text = row.querySelector('[data-label=\"{label}\"]')?.textContent.trim();
            return /[1-9]/.test(text ?? '') ? text : null;
        }}
        return null;"
    )
}

#[test]
fn a_browser_shows_the_load() {
    let Some(browser) = Browser::start() else { return };
    let models = busy_repository();
    let server = Server::start(models.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| load(&server, &is_over));
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            watch(&browser, &server);
        }));
        is_over.store(true, Relaxed);
        if let Err(panic) = seen {
            std::panic::resume_unwind(panic);
        }
    });
}

fn watch(browser: &Browser, server: &Server) {
    browser.resize(1440, 1000);
    browser.prefer("light");
    browser.open(&format!("http://{}/", server.metrics()));
    let live = "return document.getElementById('connection').textContent === 'Live' || null";
    find(browser, "the page to be live", live);
    for label in ["Requests/s", "p50", "p99", "Objective", "Replicas"] {
        find(browser, label, &cell("add", label));
        find(browser, label, &cell("slow", label));
    }
    find(browser, "hits of the cache", &cell("add", "Cache hits"));
    find(
        browser,
        "a shed request",
        "return document.querySelector('#unanswered tbody tr')?.textContent",
    );
    let cause = "return document.querySelector('#slow [data-label=\"Why\"]')?.textContent";
    find(browser, "a slow request with its cause", cause);
    let lines = "return document.querySelectorAll('.plot polyline.p99').length > 1 || null";
    find(browser, "the charts", lines);
    check_structure(browser);
    check_updates(browser);
    browser.screenshot("dashboard-light.png");
    check_contrast(browser);
    let light = browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.prefer("dark");
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    assert_ne!(light, dark);
    check_contrast(browser);
    browser.screenshot("dashboard-dark.png");
    check_phone(browser);
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Checks headings, names of tables and drawings, and escaped text.
fn check_structure(browser: &Browser) {
    let count = |selector: &str| {
        browser
            .run(&format!("return document.querySelectorAll(`{selector}`).length"))
            .as_u64()
            .unwrap()
    };
    assert_eq!(count("h1"), 1);
    assert!(count("h2") >= 4 && count("h3") >= 3);
    assert_eq!(count("table:not(:has(> caption))"), 0);
    assert!(count("table") >= 3);
    assert_eq!(count("svg[role=img]:not([aria-label])") + count("img:not([alt])"), 0);
    assert!(count(".chart") >= 12 && count("#versions tbody tr") == 6);
    let failed = browser.run(
        "const pills = [...document.querySelectorAll('#versions .pill.failed')];
         return pills.filter((pill) => pill.textContent === 'Failed').length;",
    );
    assert_eq!(failed, 1);
    assert_eq!(count("img[src=x]"), 0);
}

/// Checks that figures update by themselves, pause, and continue.
fn check_updates(browser: &Browser) {
    let text = "return document.getElementById('totals').textContent";
    let before = browser.run(text);
    wait_until("the figures to change", || browser.run(text) != before);
    browser.run("document.getElementById('pause').click()");
    let state = "return document.getElementById('connection').textContent";
    assert_eq!(browser.run(state), "Paused");
    browser.run("document.getElementById('pause').click()");
    wait_until("the page to go on", || browser.run(state) == "Live");
}

/// Checks the contrast of text: at least 4.5 to 1, as in WCAG 2.2 (1.4.3).
fn check_contrast(browser: &Browser) {
    let poor = browser.run(
        "const channels = (text) => text.match(/[\\d.]+/g).map(Number);
         const light = (text) => {
             const [r, g, b] = channels(text).map((c) => c / 255)
                 .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
             return 0.2126 * r + 0.7152 * g + 0.0722 * b;
         };
         const behind = (one) => {
             const colour = getComputedStyle(one).backgroundColor;
             const opaque = channels(colour).length === 3;
             return opaque ? colour : behind(one.parentElement ?? document.body);
         };
         const poor = [];
         for (const one of document.querySelectorAll('body *:not(svg, svg *)')) {
             const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
             if (!own || !one.checkVisibility()) continue;
             const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
             const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
             if (contrast < 4.5) poor.push(`${one.textContent.trim()}: ${contrast.toFixed(2)}`);
         }
         return poor;",
    );
    assert_eq!(poor, serde_json::json!([]));
}

/// Checks the layout on a phone: one column, and nothing beyond the edge.
fn check_phone(browser: &Browser) {
    browser.resize(390, 844);
    let wide = browser.run(
        "const seen = document.documentElement.clientWidth;
         const wide = [...document.querySelectorAll('body *')]
             .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > seen + 1);
         const over = document.documentElement.scrollWidth - seen;
         return [window.innerWidth, over, wide.map((one) => one.outerHTML.slice(0, 90))];",
    );
    assert_eq!(wide, serde_json::json!([390, 0, []]));
    let columns = browser.run(
        "const left = (one) => Math.round(one.getBoundingClientRect().left);
         return new Set([...document.querySelectorAll('.chart')].map(left)).size;",
    );
    assert_eq!(columns, 1);
    browser.screenshot("dashboard-phone.png");
}
