//! Prints the gain of each entropy coder, the table in FORMAT.md.

use super::*;
use crate::codec::stream::{ADAPTIVE, DISABLED, STATIC};
use crate::codec::{CODECS, Codec};
use crate::{ClusterInit, ClusterSettings, PerLayer, PruneSettings, cluster, prune};
use std::sync::atomic::Ordering;

/// Returns the size of the package with some codecs and without one form of streams, in bytes.
fn bytes(model: &Model, codecs: &[Codec], disabled: u8) -> usize {
    DISABLED.store(disabled, Ordering::Relaxed);
    let bytes = PackageWriter::new(model).codecs(codecs).to_bytes().unwrap().len();
    DISABLED.store(u8::MAX, Ordering::Relaxed);
    bytes
}

/// Returns the bytes that the adaptive coder saves in codebooks, against plain words.
fn saved_in_codebooks(package: &Package) -> usize {
    let saved = package.index.segments.iter().map(|segment| {
        let plan = &segment.plan;
        let has_codebook = matches!(plan.codec, Codec::Codes | Codec::Huffman | Codec::Sparse);
        let plain = plan.figures.distinct * plan.form.width;
        if has_codebook { plain.saturating_sub(plan.part_bytes(0)) } else { 0 }
    });
    saved.sum()
}

fn print_row(name: &str, model: &Model) {
    let no_huffman: Vec<Codec> = CODECS.into_iter().filter(|it| *it != Codec::Huffman).collect();
    let package = PackageWriter::new(model).to_bytes().unwrap();
    let all = package.len();
    let saved = saved_in_codebooks(&Package::from_bytes(package).unwrap());
    let without = [
        bytes(model, &CODECS, STATIC),
        bytes(model, &no_huffman, u8::MAX),
        bytes(model, &no_huffman, STATIC),
        bytes(model, &CODECS, ADAPTIVE),
        all + saved,
    ];
    let gains = without.map(|bytes| format!("{:.2} %", 100.0 * (1.0 - all as f64 / bytes as f64)));
    println!("| {name} | {all} | {} |", gains.join(" | "));
}

#[test]
#[ignore = "prints figures"]
fn print_gains() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models"));
    println!("| model | package, bytes | rANS | Huffman | both | adaptive | codebooks |");
    for name in [
        "squeezenet1.0",
        "resnet20-cifar10",
        "all-minilm-l6-v2",
        "shufflenet-v2-int8",
        "silero-vad-16k",
    ] {
        let Ok(mut model) = Model::load(folder.join(name).join("model.onnx")) else { continue };
        print_row(name, &model);
        if name == "resnet20-cifar10" {
            let floors = PerLayer::all(0.0);
            prune(&mut model, &PruneSettings::Global { density: 0.3, floors }).unwrap();
            print_row("resnet20-cifar10, 30 % kept", &model);
            let bits = PerLayer::all(5);
            cluster(&mut model, &ClusterSettings { bits, init: ClusterInit::Linear }).unwrap();
            print_row("resnet20-cifar10, 30 % kept, 5 bits", &model);
        }
    }
}
