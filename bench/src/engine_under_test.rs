//! Engine in this process, whose models are loaded and unloaded by name.

use crate::load::block_on;
use anyhow::{Context, Result};
use skysail_engine::Engine;
use skysail_engine::config::{ControlMode, EngineConfig, ReadyWhen};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::repository::LoadWith;
use skysail_graph::{Dim, ElementType, GraphBuilder, Model, Tensor};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Running engine with a folder of models.
pub(crate) struct TestEngine {
    engine: Engine,
    folder: TempDir,
}

impl TestEngine {
    /// Starts an engine with these cores and this latency objective.
    pub(crate) fn start(cores: usize, objective_ms: Option<f64>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let engine = Engine::start(EngineConfig {
            models: folder.path().to_owned().into(),
            control: ControlMode::Explicit,
            poll_ms: 1_000,
            load_at_start: Vec::new(),
            ready_when: ReadyWhen::All,
            cores,
            objective_ms,
            probe: None,
            operator_libraries: Vec::new(),
        })?;
        Ok(Self { engine, folder })
    }

    /// Installs a model's file, `model.onnx` or `model.sky`, and returns the model's folder.
    pub(crate) fn install(&self, name: &str, file: &Path) -> Result<PathBuf> {
        install(self.folder.path(), name, file)
    }

    /// Loads an installed model.
    pub(crate) fn load(&self, name: &str) -> Result<Arc<Endpoint>> {
        let loading = self.engine.repository().load(name, LoadWith::default());
        block_on(loading)?.with_context(|| format!("{name} is not loaded"))?;
        Ok(self.engine.lookup(name, None)?)
    }

    /// Unloads a model.
    pub(crate) fn unload(&self, name: &str) -> Result<()> {
        let unloading = self.engine.repository().unload(name);
        block_on(unloading)?.with_context(|| format!("{name} is not unloaded"))
    }
}

/// Links a file as version 1 of a model, and returns the model's folder.
pub(crate) fn install(models: &Path, name: &str, file: &Path) -> Result<PathBuf> {
    let folder = models.join(name);
    let version = folder.join("1");
    fs::create_dir_all(&version)?;
    let is_package = file.extension().is_some_and(|extension| extension == "sky");
    let target = version.join(if is_package { "model.sky" } else { "model.onnx" });
    if !target.exists() {
        std::os::unix::fs::symlink(std::path::absolute(file)?, target)
            .with_context(|| format!("cannot install {}", file.display()))?;
    }
    Ok(folder)
}

/// Layers of the small MLP, the input's width first.
pub(crate) const SMALL_MLP: &[u64] = &[784, 300, 100, 10];
/// Layers of the wide MLP, with 100 MB of weights.
pub(crate) const WIDE_MLP: &[u64] = &[1024, 4096, 4096, 1000];

/// Saves a model as version 1, and returns the model's folder.
pub(crate) fn install_model(models: &Path, name: &str, model: &Model) -> Result<PathBuf> {
    let folder = models.join(name);
    let version = folder.join("1");
    fs::create_dir_all(&version)?;
    model.save(version.join("model.onnx"))?;
    Ok(folder)
}

/// Builds a model that adds `value` to two numbers as version 1 of a model.
pub(crate) fn install_tiny(models: &Path, name: &str, value: f32) -> Result<PathBuf> {
    let dims = [Dim::from("batch"), Dim::from(2)];
    let mut graph = GraphBuilder::new("tiny");
    graph
        .input("x", ElementType::Float32, &dims)
        .initializer("value", Tensor::new(&[], &[value])?)
        .node("Add", &["x", "value"], &["y"], &[])
        .output("y", ElementType::Float32, &dims);
    install_model(models, name, &graph.finish()?)
}

/// Builds an MLP with random weights as version 1 of a model, and returns the model's folder.
pub(crate) fn install_mlp(models: &Path, name: &str, layers: &[u64]) -> Result<PathBuf> {
    install_model(models, name, &skysail_graph::mlp(layers, 1)?)
}
