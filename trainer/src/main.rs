//! `skysail-train`: trains, compresses and evaluates ONNX models.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
