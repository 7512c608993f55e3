//! The command line. Parsed without clap: xtask is what a fresh clone builds first.

use crate::test;
use anyhow::{Context, Result, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Set-up, tests, benchmarks and checks, one command each

Usage: cargo xtask COMMAND

Commands:
  setup            Download ONNX Runtime into target/ (once; needs Python 3 with pip)
    --clients        Also download the Python clients that the tests use
  serve            Download ONNX Runtime, build the server and serve models/
    --release        Use the release build, which serves faster and takes longer to build
    -- FLAGS         Flags for the server
  test             Run every test, or compare the server with ONNX Runtime
    --onnx-backend   Compare on every case of the ONNX project, alone and beside other requests
    --models FOLDER  Compare on these models instead: NAME.onnx, or NAME/model.onnx with test data
    --json FILE      Write all findings of the comparison to a file
    --server FILE    Compare this server program instead of the release build
    -- ARGS          Arguments for the test runner or the comparison; a part of a name selects tests
  bench NAME ARGS  Run a benchmark on the release build: ab, serve, batching, compression, training,
                   tracing, loadgen or planning
  tidy             Check the style of the tree, and its dependencies if cargo-deny is installed

Examples:
  cargo xtask serve                            serve models/ on ports 8000, 8001 and 8002
  cargo xtask serve -- --http 127.0.0.1:9000   the same, with flags for the server
  cargo xtask test                             every test
  cargo xtask test -- digits                   tests with `digits` in their name
  cargo xtask test --onnx-backend              compare the server with ONNX Runtime
  cargo xtask bench batching                   compare the batching policies
  cargo xtask bench batching --help            flags of a benchmark

Exit status: 0 done, 1 failed, 2 bad usage; `serve` ends with the server's own.
";

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Setup {
        clients: bool,
    },
    Serve {
        release: bool,
        flags: Vec<String>,
    },
    Test(test::Flags),
    Bench {
        name: String,
        args: Vec<String>,
    },
    Tidy,
    /// Prints a request to try when the server is ready; started by `serve`.
    Announce {
        /// HTTP address of the server.
        address: String,
        /// Process id of the server.
        server_pid: u32,
    },
}

/// Parses the arguments that follow the program's name.
///
/// # Errors
/// A message for the person who typed them.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command> {
    let mut args = args.into_iter();
    let own = args.by_ref().take_while(|arg| arg != "--").collect::<Vec<_>>();
    let rest = strings(args)?;
    let mut parser = Parser::from_args(own);
    let command = match parser.next()? {
        Some(Arg::Value(command)) => command.string()?,
        None | Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help),
        Some(arg) => return Err(arg.unexpected().into()),
    };
    if command == "bench" {
        let Some(Arg::Value(name)) = parser.next()? else { bail!("name a benchmark") };
        let args = strings(parser.raw_args()?)?.into_iter().chain(rest).collect();
        return Ok(Command::Bench { name: name.string()?, args });
    }
    let mut parsed = match command.as_str() {
        "help" => Command::Help,
        "setup" => Command::Setup { clients: false },
        "serve" => Command::Serve { release: false, flags: rest },
        "test" => Command::Test(test::Flags { args: rest, ..test::Flags::default() }),
        "tidy" => Command::Tidy,
        "announce" => announce(&mut parser)?,
        _ => bail!("there is no command `{command}`"),
    };
    while let Some(arg) = parser.next()? {
        match (&mut parsed, arg) {
            (_, Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help),
            (Command::Setup { clients }, Arg::Long("clients")) => *clients = true,
            (Command::Serve { release, .. }, Arg::Long("release")) => *release = true,
            (Command::Test(flags), Arg::Long("onnx-backend")) => flags.onnx_backend = true,
            (Command::Test(flags), Arg::Long("models")) => {
                flags.models = Some(parser.value()?.into());
            }
            (Command::Test(flags), Arg::Long("json")) => flags.json = Some(parser.value()?.into()),
            (Command::Test(flags), Arg::Long("server")) => {
                flags.server = Some(parser.value()?.into());
            }
            (_, arg) => return Err(arg.unexpected().into()),
        }
    }
    if let Command::Test(flags) = &parsed {
        let compares =
            [&flags.models, &flags.json, &flags.server].iter().any(|flag| flag.is_some());
        ensure!(flags.onnx_backend || !compares, "this flag needs --onnx-backend");
    }
    Ok(parsed)
}

fn announce(parser: &mut Parser) -> Result<Command> {
    let address = parser.value()?.string()?;
    Ok(Command::Announce { address, server_pid: parser.value()?.parse()? })
}

fn strings(args: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    args.map(|arg| arg.into_string().ok().context("an argument is not UTF-8")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn every_command_is_parsed() {
        let serve = |release, flags| Command::Serve { release, flags: words(flags) };
        let bench = |name: &str, args| Command::Bench { name: name.into(), args: words(args) };
        let test = |args| test::Flags { args: words(args), ..test::Flags::default() };
        let folder = test::Flags {
            onnx_backend: true,
            models: Some("m".into()),
            server: Some("s".into()),
            ..test("--quick")
        };
        let announce = Command::Announce { address: "a:1".into(), server_pid: 7 };
        for (line, command) in [
            ("setup", Command::Setup { clients: false }),
            ("setup --clients", Command::Setup { clients: true }),
            ("serve", serve(false, "")),
            ("serve --release -- --http a -- b", serve(true, "--http a -- b")),
            ("test", Command::Test(test(""))),
            ("test -- digits", Command::Test(test("digits"))),
            ("test --onnx-backend --models m --server=s -- --quick", Command::Test(folder)),
            ("bench serve", bench("serve", "")),
            ("bench ab --old a --help", bench("ab", "--old a --help")),
            ("tidy", Command::Tidy),
            ("announce a:1 7", announce),
        ] {
            assert_eq!(parsed(line).unwrap(), command, "{line}");
        }
    }

    #[test]
    fn help_is_given_on_request() {
        for line in ["", "--help", "-h", "help", "serve --help", "tidy -h"] {
            assert_eq!(parsed(line).unwrap(), Command::Help, "{line}");
        }
    }

    #[test]
    fn bad_usage_is_an_error() {
        for line in [
            "server",
            "--release",
            "serve --http a",
            "serve models",
            "setup --release",
            "tidy all",
            "bench",
            "test digits",
            "test --models m",
            "test --onnx-backend --json",
            "announce a:1",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
