//! Tells for each model file if its rows are proven independent: `cargo run --example rows --
//! FILE...`
#![expect(clippy::print_stdout, reason = "says what it finds to the person who started it")]

use skysail_graph::{Independence, Model};
use std::time::Instant;

fn main() {
    for path in std::env::args().skip(1) {
        let model = match Model::load(&path) {
            Ok(model) => model,
            Err(error) => {
                println!("unreadable  {path}: {error}");
                continue;
            }
        };
        let started = Instant::now();
        let verdict = model.row_independence();
        let ms = started.elapsed().as_secs_f64() * 1e3;
        match verdict {
            Independence::Independent => println!("independent {path} ({ms:.1} ms)"),
            Independence::Dependent(cause) => println!("dependent   {path} ({ms:.1} ms): {cause}"),
            Independence::Unknown(cause) => println!("unknown     {path} ({ms:.1} ms): {cause}"),
        }
    }
}
