//! `cargo xtask serve`: the server in the foreground, and a request to try once it is ready.

use crate::{setup, workspace};
use anyhow::{Context, Result};
use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::{CommandExt, parent_id},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The profile of the first build.
const QUICK: &str = "quick";
/// Features of the first build, without those that few need at first.
const QUICK_FEATURES: [&str; 3] = ["--no-default-features", "--features", "dashboard"];
const QUICK_NOTE: &str = "a quick build, which serves small models at about two thirds of full speed; \
    `cargo xtask serve --release` makes the fast one";
const READY_WITHIN: Duration = Duration::from_secs(300);
const POLL_EVERY: Duration = Duration::from_millis(100);
const RESPONSE_WITHIN: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /v2/health/ready HTTP/1.0\r\n\r\n";

/// Sets up, builds the server and becomes it: its signals and its exit status are its own.
pub(crate) fn serve(is_release: bool, flags: &[String]) -> Result<()> {
    let profile = if is_release { "release" } else { QUICK };
    let mut server = vec!["--profile", profile, "--package", "skysail-server"];
    if !is_release {
        println!("serve: {QUICK_NOTE}");
        server.extend(QUICK_FEATURES);
    }
    // The download waits for the network while the build computes.
    workspace::run_beside(workspace::cargo("build").args(&server), setup::onnx_runtime)?;
    let own_models = value_of("--models", flags).is_some();
    let address = value_of("--http", flags).unwrap_or("127.0.0.1:8000");
    // A server that is ready there now is another one, and this one will report the conflict.
    if !own_models && !is_ready(address) {
        announce_later(address)?;
    }
    // Cargo knows where the program is, and becomes the program in turn.
    let mut run = workspace::cargo("run");
    run.arg("--quiet").args(&server).arg("--");
    if !own_models {
        run.args(["--models", "models"]);
    }
    Err(run.args(flags).exec()).context("cannot start the server")
}

/// Prints a request to try once the server at `address` is ready. Stops waiting when its process
/// `server_pid`, the parent of this one, ends.
pub(crate) fn announce(address: &str, server_pid: u32) {
    let start = Instant::now();
    while parent_id() == server_pid && start.elapsed() < READY_WITHIN {
        if is_ready(address) {
            println!("\nReady. Try it from another terminal:\n\n  {}\n", example(address));
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "polls another process")]
        thread::sleep(POLL_EVERY);
    }
}

/// Starts `announce` beside the server that this process is about to become.
fn announce_later(address: &str) -> Result<()> {
    let mut announcer = Command::new(env::current_exe()?);
    announcer.args(["announce", address]).arg(process::id().to_string()).stdin(Stdio::null());
    announcer.spawn().context("cannot start the announcer")?;
    Ok(())
}

/// A request for a model in `models/`.
fn example(address: &str) -> String {
    format!("curl -d @models/digits/example.json http://{address}/v2/models/digits/infer")
}

/// Returns true if a server at `address` is ready.
fn is_ready(address: &str) -> bool {
    let response = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(RESPONSE_WITHIN))?;
        stream.write_all(REQUEST)?;
        let mut start = String::new();
        stream.take("HTTP/1.0 200".len() as u64).read_to_string(&mut start)?;
        Ok(start)
    };
    response().is_ok_and(|start| start.ends_with(" 200"))
}

/// The value of `flag` among `flags`, given as `--flag value` or `--flag=value`.
fn value_of<'a>(flag: &str, flags: &'a [String]) -> Option<&'a str> {
    flags.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(flag)? {
        "" => flags.get(at + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    })
}

#[cfg(test)]
mod tests {
    use super::{REQUEST, is_ready, value_of};
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    #[test]
    fn flags_are_read_in_both_forms() {
        let flags = ["--https", "a", "--http", "b", "--models=c"].map(String::from);
        assert_eq!(value_of("--http", &flags), Some("b"));
        assert_eq!(value_of("--models", &flags), Some("c"));
        assert_eq!(value_of("--grpc", &flags), None);
    }

    #[test]
    fn only_status_200_is_ready() {
        for (status, ready) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // The client closes the connection at the status, so a second write would fail.
                stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            });
            assert_eq!(is_ready(&address), ready);
            server.join().unwrap();
            assert!(!is_ready(&address), "the server has gone");
        }
    }
}
