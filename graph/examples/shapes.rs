//! Lists the inferred shape of each value of a model:
//! `cargo run -p skysail-graph --example shapes -- model.onnx [INPUT=1x3x224x224...]`.

use skysail_graph::{GraphError, Model};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: shapes FILE.onnx [INPUT=SIZExSIZE...]";
const BAD_USAGE: u8 = 2;

#[expect(clippy::print_stderr, reason = "tells what went wrong")]
fn main() -> ExitCode {
    let Some((path, inputs)) = wanted(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(BAD_USAGE);
    };
    match described(&path, &inputs).map(|text| std::io::stdout().write_all(text.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Name and dimensions of an input.
type Input = (String, Vec<u64>);

fn wanted(mut arguments: impl Iterator<Item = String>) -> Option<(String, Vec<Input>)> {
    let path = arguments.next()?;
    let input = |argument: String| {
        let (name, sizes) = argument.split_once('=')?;
        let sizes = sizes.split('x').filter(|size| !size.is_empty());
        let sizes: Result<Vec<u64>, _> = sizes.map(str::parse).collect();
        Some((name.to_owned(), sizes.ok()?))
    };
    Some((path, arguments.map(input).collect::<Option<_>>()?))
}

/// A line for each value that a node produces.
fn described(path: &str, inputs: &[Input]) -> Result<String, GraphError> {
    let model = Model::load(path)?;
    let inputs: Vec<(&str, &[u64])> =
        inputs.iter().map(|(name, sizes)| (name.as_str(), sizes.as_slice())).collect();
    let shapes = model.graph().shapes_for(&inputs);
    let nodes = model.graph().nodes();
    let values = nodes.flat_map(|node| node.outputs()).filter(|value| !value.is_empty());
    Ok(values.map(|value| format!("{value}: {}\n", shapes.kind(value))).collect())
}
