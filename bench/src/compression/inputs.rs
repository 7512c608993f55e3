//! Real models to pack, and typical inputs for them.

use super::Bench;
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_compression::npy;
use skysail_engine::request::{InputTensor, Request};
use skysail_engine::tensor::{DataType, Shape};
use skysail_graph::Tensor;
use std::fs;
use std::path::PathBuf;

/// Tokens of a random sentence.
pub(super) const TOKENS: usize = 24;

/// Kind of a model's input.
#[derive(Clone, Copy)]
pub(super) enum InputKind {
    /// Images of this many channels, rows and columns.
    Images(&'static str, [usize; 3]),
    /// Sentences.
    Tokens,
}

/// ONNX file of a real model, if the data has it.
pub(super) fn model(bench: &Bench, name: &str) -> Option<PathBuf> {
    let path = bench.data.join("models").join(name).join("model.onnx");
    path.is_file().then_some(path)
}

impl InputKind {
    /// Makes a request of a number of rows.
    pub(super) fn request(self, rows: usize) -> Request {
        let inputs: Vec<InputTensor> = match self {
            Self::Images(name, dims) => {
                let mut random = StdRng::seed_from_u64(3);
                let count = rows * dims.iter().product::<usize>();
                let values = (0..count).flat_map(|_| random.random::<f32>().to_le_bytes());
                let shape = [&[rows], &dims[..]].concat();
                vec![tensor(name, DataType::Fp32, &shape, values.collect())]
            }
            Self::Tokens => sentences(rows, 4)
                .into_iter()
                .map(|(name, ids)| tensor(name, DataType::Int64, &[rows, TOKENS], bytes(&ids)))
                .collect(),
        };
        Request { inputs: inputs.into(), ..Request::default() }
    }

    /// Writes a folder of typical inputs, in the packager's format.
    pub(super) fn calibration(self, bench: &Bench) -> Result<PathBuf> {
        let folder = bench.packer.path(match self {
            Self::Images(..) => "images",
            Self::Tokens => "sentences",
        });
        fs::create_dir_all(&folder)?;
        match self {
            Self::Images(..) => {
                let images = Tensor::new(&[64, 3, 32, 32], &cifar(bench)?)?;
                fs::write(folder.join("input_0.npy"), npy::write(&images)?)?;
            }
            Self::Tokens => {
                for (index, (_, ids)) in sentences(32, 5).into_iter().enumerate() {
                    let path = folder.join(format!("input_{index}.npy"));
                    let ids = Tensor::new(&[32, TOKENS as u64], &ids)?;
                    fs::write(path, npy::write(&ids)?)?;
                }
            }
        }
        Ok(folder)
    }
}

fn tensor(name: &str, datatype: DataType, shape: &[usize], data: Vec<u8>) -> InputTensor {
    InputTensor { name: name.into(), datatype, shape: Shape::from_slice(shape), data: data.into() }
}

fn bytes(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Inputs of a sentence encoder: random words, none of them in the sentences that outputs are
/// compared on.
pub(super) fn sentences(rows: usize, seed: u64) -> [(&'static str, Vec<i64>); 3] {
    /// Tokens that start and end a sentence, and the range of words.
    const START: i64 = 101;
    const END: i64 = 102;
    const WORDS: std::ops::Range<i64> = 1_000..30_000;
    let mut random = StdRng::seed_from_u64(seed);
    let mut token = |place: usize| match place {
        0 => START,
        place if place == TOKENS - 1 => END,
        _ => random.random_range(WORDS),
    };
    let ids = (0..rows * TOKENS).map(|place| token(place % TOKENS)).collect();
    let same = |value| vec![value; rows * TOKENS];
    [("input_ids", ids), ("attention_mask", same(1)), ("token_type_ids", same(0))]
}

/// Images of CIFAR-10, channel by channel and normalized as in ResNet-20's training.
fn cifar(bench: &Bench) -> Result<Vec<f32>> {
    const PIXELS: usize = 32 * 32;
    const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
    let path = bench.data.join("images/cifar10_train_first64.npy");
    let file = fs::read(&path).with_context(|| path.display().to_string())?;
    let pixels = npy::read(&file)?.bytes;
    ensure!(pixels.len() == 64 * PIXELS * 3, "{} has other images", path.display());
    let value = |image: &[u8], channel: usize, place: usize| {
        (f32::from(image[place * 3 + channel]) / 255.0 - MEAN[channel]) / DEVIATION[channel]
    };
    let values = pixels.chunks(PIXELS * 3).flat_map(|image| {
        (0..3).flat_map(move |channel| (0..PIXELS).map(move |place| value(image, channel, place)))
    });
    Ok(values.collect())
}
