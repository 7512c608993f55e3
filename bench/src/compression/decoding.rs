//! Speed of decoding a package's tensors to floats.

use super::inputs;
use super::{Bench, Figure, least};
use crate::targets::Target;
use anyhow::Result;
use skysail_compression::Package;
use skysail_loadtest::quantiles::median;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Least MB of float32 a second on one core.
const MB_PER_S_MIN: f64 = 300.0;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Decoding, one core\n\n| package | bytes | dense MB | ms | MB/s |\n\
         |---|---:|---:|---:|---:|"
    )?;
    let mut speeds = Vec::new();
    let wide = super::loading::wide(bench)?;
    let noise = bench.packer.path("noise-source.onnx");
    skysail_graph::mlp(&[1024, 4096, 1000], 2)?.save(&noise)?;
    let noise = bench.packer.pack("noise", &noise, &[])?;
    let mut packages =
        vec![("wide MLP, 9 %, 5 bits", wide.package), ("MLP of random floats, lossless", noise)];
    if let Some(model) = inputs::model(bench, "squeezenet1.0") {
        packages.push(("squeezenet1.0, lossless", bench.packer.pack("decoded", &model, &[])?));
    }
    for (name, path) in packages {
        let (bytes, megabytes, seconds) = decode(&path, bench)?;
        let speed = megabytes / seconds;
        let ms = seconds * 1e3;
        writeln!(out, "| {name} | {bytes} | {megabytes:.1} | {ms:.1} | {speed:.0} |")?;
        speeds.push(speed);
    }
    let slowest = least(&speeds);
    Ok(vec![("decoding, the slowest, MB/s a core".into(), slowest, Target::AtLeast(MB_PER_S_MIN))])
}

/// Size of the file in bytes, of its tensors in MB, and the median seconds to decode them all.
fn decode(path: &Path, bench: &Bench) -> Result<(u64, f64, f64)> {
    let bytes = fs::read(path)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut seconds = Vec::new();
    let started = Instant::now();
    let mut megabytes = 0.0;
    while seconds.len() < 3 || started.elapsed() < bench.time {
        let package = Package::from_bytes(bytes.clone())?;
        let start = Instant::now();
        let tensors = package.tensors().iter();
        let decoded: Vec<_> =
            pool.install(|| tensors.map(|entry| package.tensor(&entry.name)).collect());
        seconds.push(start.elapsed().as_secs_f64());
        megabytes = 0.0;
        for tensor in decoded {
            megabytes += tensor?.bytes().len() as f64 / 1e6;
        }
    }
    Ok((bytes.len() as u64, megabytes, median(&seconds)))
}
