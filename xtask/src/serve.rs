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

const READY_WITHIN: Duration = Duration::from_secs(300);
const POLL_EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /v2/health/ready HTTP/1.0\r\n\r\n";

/// Sets up, builds the server and becomes it: its signals and its exit status are its own.
pub(crate) fn serve(flags: &[String]) -> Result<()> {
    setup::onnx_runtime()?;
    workspace::run(workspace::cargo("build").args(["--release", "--package", "skysail-server"]))?;
    let own_models = value_of("--models", flags).is_some();
    let address = value_of("--http", flags).unwrap_or("127.0.0.1:8000");
    // A server that already answers there is another one: this one will say so itself.
    if !own_models && !is_ready(address) {
        announce_later(address)?;
    }
    // Through cargo, which knows where it put the binary and turns into it in turn.
    let mut server = workspace::cargo("run");
    server.args(["--quiet", "--release", "--package", "skysail-server", "--"]);
    if !own_models {
        server.args(["--models", "models"]);
    }
    Err(server.args(flags).exec()).context("cannot start the server")
}

/// Waits until the server answers at `address`, then says how to try it; gives up when the
/// process `server_pid`, this one's parent, ends.
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

/// A request that the shipped model answers.
fn example(address: &str) -> String {
    format!("curl -d @models/digits/example.json http://{address}/v2/models/digits/infer")
}

/// Whether a server says at `address` that it is ready.
fn is_ready(address: &str) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(REQUEST)?;
        let mut start = String::new();
        stream.take("HTTP/1.0 200".len() as u64).read_to_string(&mut start)?;
        Ok(start)
    };
    answer().is_ok_and(|start| start.ends_with(" 200"))
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
                // All of the request read and the answer in one write: whoever asks hangs up
                // at the status, and a second write would then fail.
                stream.read_exact(&mut [0; REQUEST.len()]).unwrap();
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            });
            assert_eq!(is_ready(&address), ready);
            server.join().unwrap();
            assert!(!is_ready(&address), "nobody answers any more");
        }
    }
}
