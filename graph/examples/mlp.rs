//! Writes a multi-layer perceptron with random weights as an ONNX file:
//! `cargo run -p skysail-graph --example mlp -- 784,300,100,10 out.onnx [SEED]`.

use skysail_graph::{GraphError, mlp};
use std::process::ExitCode;

const USAGE: &str = "usage: mlp SIZE,SIZE[,SIZE...] FILE.onnx [SEED]";
const BAD_USAGE: u8 = 2;

#[expect(clippy::print_stderr, reason = "tells what went wrong")]
fn main() -> ExitCode {
    let Some(wanted) = Wanted::from_arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(BAD_USAGE);
    };
    match wanted.write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Wanted {
    sizes: Vec<u64>,
    path: String,
    seed: u64,
}

impl Wanted {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let sizes = arguments.next()?;
        let sizes: Result<Vec<u64>, _> = sizes.split(',').map(str::parse).collect();
        let path = arguments.next()?;
        let seed = arguments.next().map_or(Some(0), |seed| seed.parse().ok())?;
        arguments.next().is_none().then_some(Self { sizes: sizes.ok()?, path, seed })
    }

    fn write(&self) -> Result<(), GraphError> {
        mlp(&self.sizes, self.seed)?.save(&self.path)
    }
}
