//! Small convolutional network, whose runs are worth two threads, for one and 64 connections: beside
//! ONNX Runtime and the old build.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::engine_under_test::install_model;
use crate::limit::BoundSession;
use crate::load::ClosedLoop;
use crate::targets::{Figures, Target};
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor};
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;

/// Shape of a row: one image.
const IMAGE: [usize; 3] = [3, 32, 32];

/// Channels of the convolutions; every second one is followed by a pool.
const CHANNELS: [u64; 7] = [3, 32, 32, 64, 64, 128, 128];

/// Number of classes.
const CLASSES: u64 = 10;

/// Connections, with the least throughput relative to the old build. Triton served one connection
/// 938 requests a second where the old build served 738.
const LOADS: [(usize, f64); 2] = [(1, 1.27), (64, 1.0)];

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let duration = bench.extent.duration;
    let folder = tempfile::tempdir()?;
    let file = install_model(folder.path(), "cnn", &cnn()?)?.join("1/model.onnx");
    let servers = bench.start(folder.path(), &[])?;
    let mut session = BoundSession::open(&bench.environment, &file, &IMAGE, bench.cores, 1)?;
    writeln!(
        out,
        "ONNX Runtime runs one image at a time on {} threads.\n\n\
         | connections | build | replicas, threads of each | req/s | ONNX Runtime's | relative to \
         it |\n|---:|---|---|---:|---:|---:|",
        bench.cores
    )?;
    let mut figures = Figures::new();
    for (connections, least) in LOADS {
        let closed =
            ClosedLoop { models: &["cnn"], protocol: Protocol::Binary, connections, duration };
        servers.iter().try_for_each(|server| closed.warm_up(server))?;
        let mut sides: Vec<Side<'_, f64>> = Vec::new();
        for server in &servers {
            sides.push(Box::new(|| Ok(closed.run(&server.http)?.requests_per_s)));
        }
        sides.push(Box::new(|| session.rows_per_s(duration)));
        let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
        let (builds, limit) = measured.split_at(servers.len());
        let limit = &limit[0];
        for ((build, server), rates) in bench.builds.iter().zip(&servers).zip(builds) {
            let (count, threads) = server.replicas("cnn")?;
            writeln!(
                out,
                "| {connections} | {} | {count}, {threads} | {:.0} | {:.0} | {:.2} |",
                build.name,
                median(rates),
                median(limit),
                ratio(rates, limit)
            )?;
        }
        if let [old, new] = builds {
            let what = format!("CNN, {connections} connections: req/s, new/old");
            figures.push((what, ratio(new, old), Target::AtLeast(least)));
        }
    }
    Ok(figures)
}

/// Network of six convolutions of 3 × 3 with ReLU, and a fully connected layer.
fn cnn() -> Result<Model> {
    let mut random = StdRng::seed_from_u64(1);
    let mut weights = |shape: &[u64]| {
        let inputs: u64 = shape[1..].iter().product();
        let bound = (6.0 / inputs as f32).sqrt();
        let count: u64 = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| random.random_range(-bound..bound)).collect();
        Tensor::new(shape, &values)
    };
    let image = IMAGE.map(|size| Dim::Fixed(size as u64));
    let dims: Vec<Dim> = std::iter::once(Dim::from("batch")).chain(image).collect();
    let mut graph = GraphBuilder::new("cnn");
    graph.input("input", ElementType::Float32, &dims);
    let same = [("pads", Attribute::Ints(vec![1; 4]))];
    let halved = ["kernel_shape", "strides"].map(|name| (name, Attribute::Ints(vec![2; 2])));
    let mut current = "input".to_owned();
    for (layer, pair) in CHANNELS.windows(2).enumerate() {
        let name = |part: &str| format!("{part}{layer}");
        let (weight, conv, relu) = (name("weight"), name("conv"), name("relu"));
        graph
            .initializer(&weight, weights(&[pair[1], pair[0], 3, 3])?)
            .node("Conv", &[&current, &weight], &[&conv], &same)
            .node("Relu", &[&conv], &[&relu], &[]);
        current = relu;
        if layer % 2 == 1 {
            let pool = name("pool");
            graph.node("MaxPool", &[&current], &[&pool], &halved);
            current = pool;
        }
    }
    graph
        .node("GlobalAveragePool", &[&current], &["mean"], &[])
        .node("Flatten", &["mean"], &["flat"], &[])
        .initializer("weight", weights(&[CLASSES, CHANNELS[CHANNELS.len() - 1]])?)
        .node("Gemm", &["flat", "weight"], &["output"], &[("transB", Attribute::Int(1))])
        .output("output", ElementType::Float32, &[Dim::from("batch"), Dim::Fixed(CLASSES)]);
    Ok(graph.finish()?)
}
