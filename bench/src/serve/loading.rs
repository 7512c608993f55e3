//! Load and unload of a large model: time, and the memory that is left.

use super::Bench;
use crate::alternation::{Side, alternate_all};
use crate::build::Build;
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::http;
use crate::session_alone;
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::quantiles::median;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Greatest time to load, relative to ONNX Runtime's session.
const TIME_MAX: f64 = 1.5;
/// Most memory that a loaded model takes beyond its weights.
const LEFT_MB_MAX: f64 = 20.0;
/// Most memory that is not given back by unloading.
const KEPT_MB_MAX: f64 = 10.0;

/// Costs of one load and unload.
#[derive(Clone, Copy, Default)]
struct Costs {
    /// Time to load a file that was not seen before.
    unseen_ms: f64,
    /// Time to load it again.
    seen_ms: f64,
    /// Memory of the loaded model, after a response and a rest.
    loaded_mb: f64,
    /// Memory that remains after unloading.
    kept_mb: f64,
}

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let (folder, rest) = (tempfile::tempdir()?, bench.extent.rest);
    let install = |name: &str, layers: &[u64]| -> Result<(PathBuf, u64)> {
        Ok((install_mlp(folder.path(), name, layers)?.join("1/model.onnx"), layers[0]))
    };
    let small = install("small", SMALL_MLP)?;
    let heavy = install("heavy", bench.extent.heavy)?;
    let mut sides: Vec<Side<'_, Costs>> = Vec::new();
    for build in &bench.builds {
        sides.push(Box::new(|| of_server(build, folder.path(), rest)));
    }
    sides.push(Box::new(|| {
        let cost = session_alone::measure((&heavy.0, heavy.1), (&small.0, small.1), rest)?;
        Ok(Costs { unseen_ms: cost.create_ms, loaded_mb: cost.resident_mb, ..Costs::default() })
    }));
    let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
    let of = |side: usize, cost: fn(&Costs) -> f64| {
        median(&measured[side].iter().map(cost).collect::<Vec<f64>>())
    };
    let session = bench.builds.len();
    let (session_ms, session_mb) = (of(session, |it| it.unseen_ms), of(session, |it| it.loaded_mb));
    let weights_mb = bench.extent.heavy_mb();
    writeln!(
        out,
        "An MLP with {weights_mb:.0} MB of weights, loaded by the API.\n\n\
         | what loads | unseen, ms | seen before, ms | resident MB | left after unloading, MB |\n\
         |---|---:|---:|---:|---:|\n\
         | a session of ONNX Runtime | {session_ms:.0} | | {session_mb:.1} | |"
    )?;
    let mut figures = Figures::new();
    for (side, build) in bench.builds.iter().enumerate() {
        let (unseen_ms, seen_ms) = (of(side, |it| it.unseen_ms), of(side, |it| it.seen_ms));
        let (loaded_mb, kept_mb) = (of(side, |it| it.loaded_mb), of(side, |it| it.kept_mb));
        let name = build.name;
        writeln!(
            out,
            "| {name} build | {unseen_ms:.0} | {seen_ms:.0} | {loaded_mb:.1} | {kept_mb:.1} |"
        )?;
        if build.is_new() {
            let (unseen, seen) = (unseen_ms / session_ms, seen_ms / session_ms);
            for (what, value, most) in [
                ("load of an unseen file, relative to a session", unseen, TIME_MAX),
                ("load of a file seen before, relative to a session", seen, TIME_MAX),
                ("loaded: MB beyond the weights", loaded_mb - weights_mb, LEFT_MB_MAX),
                ("loaded: MB beyond a session", loaded_mb - session_mb, LEFT_MB_MAX),
                ("unloaded: MB that remain", kept_mb, KEPT_MB_MAX),
            ] {
                figures.push((what.to_owned(), value, Target::AtMost(most)));
            }
        }
    }
    Ok(figures)
}

/// Loads, unloads and loads the heavy model on a server that serves the small one.
fn of_server(build: &Build, models: &Path, rest: Duration) -> Result<Costs> {
    let flags = ["--model-control", "explicit", "--load-model", "small"];
    let server = build.start_anew(models, &flags)?;
    server.first_answer("small")?;
    let ask = |what: &str| {
        let started = Instant::now();
        http::post(&server.http, &format!("/v2/repository/models/heavy/{what}"), "")?;
        Ok::<f64, anyhow::Error>(started.elapsed().as_secs_f64() * 1e3)
    };
    let before_mb = server.resident_mb_after(rest)?;
    let unseen_ms = ask("load")?;
    server.first_answer("heavy")?;
    let loaded_mb = server.resident_mb_after(rest)? - before_mb;
    ask("unload")?;
    let kept_mb = server.resident_mb_after(rest)? - before_mb;
    let seen_ms = ask("load")?;
    Ok(Costs { unseen_ms, seen_ms, loaded_mb, kept_mb })
}
