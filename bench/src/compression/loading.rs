//! Time until a package is ready to serve, beside its dense ONNX file.

use super::{Bench, Figure};
use crate::engine_under_test::{WIDE_MLP, install};
use crate::process::Server;
use crate::targets::Target;
use anyhow::{Result, ensure};
use ort::session::Session;
use skysail_loadtest::quantiles::median;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Instant;

/// Number of loads.
const ROUNDS: usize = 9;

/// Package with the ONNX file of the same weights.
pub(super) struct Wide {
    pub(super) package: PathBuf,
    onnx: PathBuf,
}

/// Packs the wide MLP at the density and bits of Deep Compression's fully connected layers.
pub(super) fn wide(bench: &Bench) -> Result<Wide> {
    let source = bench.packer.path("wide-source.onnx");
    skysail_graph::mlp(WIDE_MLP, 1)?.save(&source)?;
    let layers = ["fc0.weight=9%", "fc1.weight=9%", "fc2.weight=9%"];
    let mut flags = vec!["--bits", "5"];
    flags.extend(layers.into_iter().flat_map(|layer| ["--prune-layer", layer]));
    let package = bench.packer.pack("wide", &source, &flags)?;
    let onnx = bench.packer.unpack(&package)?;
    Ok(Wide { package, onnx })
}

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism()?.get();
    let wide = wide(bench)?;
    let models = tempfile::tempdir()?;
    install(models.path(), "sparse", &wide.package)?;
    install(models.path(), "dense", &wide.onnx)?;
    let control = ["--model-control", "explicit"];
    let server = Server::start_with(&bench.server, models.path(), &control)?;
    let environment = skysail_engine::runtime::load(cores)?;
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (model, times) in ["sparse", "dense"].into_iter().zip(&mut times) {
            times.push(ms(|| repository(&server, model, "load"))?);
            repository(&server, model, "unload")?;
        }
        let session = || {
            Session::builder(&environment)?.commit_from_file(&wide.onnx)?;
            Ok(())
        };
        times[2].push(ms(session)?);
    }
    let [package, onnx, runtime] = times.map(|times| median(&times));
    writeln!(
        out,
        "\n## Loading the wide MLP at 9 %, {cores} cores\n\n| what | ms |\n|---|---:|\n\
         | the package, until the server is ready | {package:.0} |\n\
         | its dense ONNX file, until the server is ready | {onnx:.0} |\n\
         | its dense ONNX file, ONNX Runtime's session alone | {runtime:.0} |"
    )?;
    let what = "package until ready, against ONNX Runtime's session of the dense file";
    Ok(vec![(what.into(), package / runtime, Target::AtMost(1.0))])
}

fn ms(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Loads or unloads a model, and waits for it.
fn repository(server: &Server, model: &str, action: &str) -> Result<()> {
    let mut stream = TcpStream::connect(&server.http)?;
    write!(
        stream,
        "POST /v2/repository/models/{model}/{action} HTTP/1.1\r\nHost: {}\r\n\
         Connection: close\r\nContent-Length: 0\r\n\r\n",
        server.http
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{model}: {answer}");
    Ok(())
}
