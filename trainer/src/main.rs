//! `skysail-train`: trains ONNX graphs as recipes say, and measures them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
