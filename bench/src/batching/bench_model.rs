//! Models under test, and their requests.

use crate::engine_under_test::{SMALL_MLP, WIDE_MLP};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{InputTensor, Request};
use skysail_engine::signature::TensorSpec;
use skysail_engine::tensor::{DataType, Shape, elements};
use std::path::{Path, PathBuf};

/// Real models, from light to heavy.
const REAL: [&str; 6] = [
    "sklearn-mnist-linear-svm",
    "sklearn-digits-rbf-svm",
    "sklearn-mnist-random-forest",
    "mnist-cnn-batch",
    "resnet20-cifar10",
    "all-minilm-l6-v2",
];

/// Names and layers of the models that are built here.
const BUILT: [(&str, &[u64]); 2] = [("small-mlp", SMALL_MLP), ("wide-mlp", WIDE_MLP)];

/// Size of variable dimensions other than the batch, such as tokens of a text.
const OPEN_DIM: usize = 16;

/// Number of different rows, sent in turn.
const ROWS: u64 = 64;

/// Model under test.
#[derive(Clone, Debug)]
pub(super) struct BenchModel {
    pub(super) name: String,
    /// ONNX file of the model.
    pub(super) file: PathBuf,
}

impl BenchModel {
    /// Finds the named models, or all by default. These are the real ones in `data` and one that is
    /// built into `folder`, or two if there are no real ones.
    ///
    /// # Errors
    /// Fails if a name is unknown.
    pub(super) fn all(names: &[String], data: &Path, folder: &Path) -> Result<Vec<Self>> {
        let at_hand = |name: &&str| data.join(name).join("model.onnx").is_file();
        let real: Vec<&str> = REAL.into_iter().filter(at_hand).collect();
        let built = BUILT.iter().map(|(name, _)| *name).filter(|&name| {
            name == "wide-mlp" || real.is_empty() || names.iter().any(|wanted| wanted == name)
        });
        let known: Vec<&str> = real.iter().copied().chain(built).collect();
        for name in names {
            let is_there = known.contains(&&**name) || at_hand(&&**name);
            ensure!(is_there, "no model is called {name}; there are {}", known.join(", "));
        }
        let wanted: Vec<&str> = match names {
            [] => known,
            names => names.iter().map(String::as_str).collect(),
        };
        wanted.into_iter().map(|name| Self::find(name, data, folder)).collect()
    }

    /// Names of the real models that `data` lacks.
    pub(super) fn missing(data: &Path) -> Vec<&'static str> {
        REAL.into_iter().filter(|name| !data.join(name).join("model.onnx").is_file()).collect()
    }

    fn find(name: &str, data: &Path, folder: &Path) -> Result<Self> {
        let file = match BUILT.iter().find(|(built, _)| *built == name) {
            None => std::path::absolute(data.join(name).join("model.onnx"))?,
            Some((_, layers)) => {
                let file = folder.join(format!("{name}.onnx"));
                skysail_graph::mlp(layers, 1)?.save(&file)?;
                file
            }
        };
        Ok(Self { name: name.to_owned(), file })
    }
}

/// Makes different requests of one row each.
///
/// # Errors
/// Fails for an input of strings, or one that is too large.
pub(super) fn requests(model: &Endpoint) -> Result<Vec<Request>> {
    let mut random = StdRng::seed_from_u64(1);
    let inputs = &model.signature().inputs;
    (0..ROWS)
        .map(|_| {
            let inputs = inputs.iter().map(|spec| tensor(spec, &mut random));
            Ok(Request { inputs: inputs.collect::<Result<_>>()?, ..Request::default() })
        })
        .collect()
}

fn tensor(spec: &TensorSpec, random: &mut StdRng) -> Result<InputTensor> {
    let mut shape: Shape = spec.dims.iter().map(|dim| dim.unwrap_or(OPEN_DIM)).collect();
    if let (Some(first), Some(None)) = (shape.first_mut(), spec.dims.first()) {
        *first = 1;
    }
    let count = elements(&shape).context("too large to be made up")?;
    let data = match spec.datatype {
        DataType::Fp32 => {
            (0..count).flat_map(|_| random.random::<f32>().to_le_bytes()).collect::<Bytes>()
        }
        // Ones are indices into every table, and the mask of a whole text.
        DataType::Int64 => (0..count).flat_map(|_| 1_i64.to_le_bytes()).collect(),
        DataType::Int32 => (0..count).flat_map(|_| 1_i32.to_le_bytes()).collect(),
        other => anyhow::bail!("no requests are made up for inputs of type {other}"),
    };
    let (name, datatype) = (spec.name.to_string(), spec.datatype);
    Ok(InputTensor { name, datatype, shape, data: data.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str]) -> Result<Vec<String>> {
        let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let models = BenchModel::all(&names, data.path(), folder.path())?;
        assert!(models.iter().all(|model| model.file.is_file()));
        Ok(models.into_iter().map(|model| model.name).collect())
    }

    #[test]
    fn without_real_models_the_built_ones_remain() {
        assert_eq!(all(&["small-mlp"]).unwrap(), ["small-mlp"]);
        let error = all(&["resnet20-cifar10"]).unwrap_err().to_string();
        assert!(error.contains("there are small-mlp, wide-mlp"), "{error}");
    }
}
