//! The two models of the benchmarks, and typical inputs of them.

use super::{load_npy, shared};
use skysail_compression::Batch;
use skysail_graph::{Model, Tensor};

/// Returns ResNet-20, and the 64 images in batches of 16, normalized as in its training.
pub(crate) fn resnet() -> Option<(Model, Vec<Batch>)> {
    const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
    let model = Model::load(shared("models/resnet20-cifar10/model.onnx")?).unwrap();
    let images = load_npy(&shared("images/cifar10_train_first64.npy")?);
    let pixel = |image: usize, channel: usize, position: usize| {
        let value = f32::from(images.bytes()[(image * 1024 + position) * 3 + channel]) / 255.0;
        (value - MEAN[channel]) / DEVIATION[channel]
    };
    let batch = |first: usize| {
        let images = (first..first + 16).flat_map(|image| {
            (0..3).flat_map(move |channel| {
                (0..1024).map(move |position| pixel(image, channel, position))
            })
        });
        let values: Vec<f32> = images.collect();
        vec![("input".to_owned(), Tensor::new(&[16, 3, 32, 32], &values).unwrap())]
    };
    Some((model, (0..64).step_by(16).map(batch).collect()))
}

/// Returns MiniLM, sentences, and random words for calibration, which must differ from the measured
/// sentences.
pub(crate) fn minilm() -> Option<(Model, Vec<Tensor>, Vec<Batch>)> {
    let model = Model::load(shared("models/all-minilm-l6-v2/model.onnx")?).unwrap();
    let folder = shared("models/all-minilm-l6-v2/test_data_set_0")?;
    let sentences = (0..3).map(|input| load_npy(&folder.join(format!("input_{input}.npy"))));
    let names = model.graph().inputs();
    let mut state = 1_u64;
    let mut word = |position: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The first thousand tokens are marks and letters; sentences start with 101 and end with
        // 102.
        [Some(101), None, Some(102)][usize::from(position > 0) + usize::from(position == 23)]
            .unwrap_or(1000 + (state >> 33) as i64 % 29_000)
    };
    let batch = |_| {
        let ids: Vec<i64> = (0..8 * 24).map(|position| word(position % 24)).collect();
        let inputs = [ids, vec![1; 8 * 24], vec![0; 8 * 24]];
        let tensors = inputs.map(|values| Tensor::new(&[8, 24], &values).unwrap());
        names.iter().map(|input| input.name.clone()).zip(tensors).collect()
    };
    let batches = (0..4).map(batch).collect();
    let sentences = sentences.collect();
    Some((model, sentences, batches))
}
