//! Tests with packages of small models: round trips, and damage of every kind.

use super::header::unchecked;
use super::*;
use crate::Codec;
use crate::codec::CODECS;
use skysail_graph::{Dim, GraphBuilder};

/// Pseudorandom numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// Builds a model with an initializer of each of some types, `count` values each. Some floats are
/// zero, the others have `levels` levels.
fn model(count: usize, levels: usize) -> Model {
    let mut random = Random(7);
    let mut float = || match random.below(3) {
        0 => random.below(levels) as f32 * 0.37 - 1.0,
        _ => 0.0,
    };
    let floats: Vec<f32> = (0..count).map(|_| float()).collect();
    let longs: Vec<i64> = (0..count).map(|i| i as i64 % 5 - 2).collect();
    let bytes: Vec<i8> = floats.iter().map(|value| (value * 8.0) as i8).collect();
    let shape = [count as u64];
    let mut builder = GraphBuilder::new("test");
    builder
        .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(count as u64)])
        .initializer("floats", Tensor::new(&shape, &floats).unwrap())
        .initializer("longs", Tensor::new(&shape, &longs).unwrap())
        .initializer("bytes", Tensor::new(&shape, &bytes).unwrap())
        .initializer("small", Tensor::new(&[2], &[1.5_f32, -0.0]).unwrap())
        .node("Mul", &["x", "floats"], &["y"], &[])
        .output("y", ElementType::Float32, &[]);
    builder.finish().unwrap()
}

fn package(writer: &PackageWriter<'_>) -> Package {
    Package::from_bytes(writer.to_bytes().unwrap()).unwrap()
}

#[test]
fn every_codec_restores_the_model() {
    let model = model(300, 9);
    for codec in CODECS {
        let package = package(&PackageWriter::new(&model).codecs(&[codec]));
        assert_eq!(package.model().unwrap().to_bytes().unwrap(), model.to_bytes().unwrap());
        let codecs: Vec<_> = package.tensors().iter().map(|entry| entry.codec).collect();
        assert_eq!(codecs, [Some(codec), Some(codec), Some(codec), None]);
        let floats = model.graph().initializer("floats").unwrap().to_tensor().unwrap();
        assert_eq!(package.tensor("floats").unwrap(), floats);
        let sparse = package.sparse("floats").unwrap();
        assert_eq!(sparse.is_none(), matches!(codec, Codec::Raw | Codec::Planes));
        if let Some(sparse) = sparse {
            assert_eq!(sparse.to_dense().unwrap(), floats);
            assert!(sparse.density() < 0.5);
        }
        assert!(package.sparse("longs").unwrap().is_none());
        assert_eq!(package.tensor("small").unwrap().bytes()[4..], (-0.0_f32).to_le_bytes());
        assert!(matches!(package.tensor("none"), Err(PackageError::NoTensor(_))));
    }
}

#[test]
fn entries_have_the_sizes_of_tensors() {
    let model = model(1000, 9);
    let package = package(&PackageWriter::new(&model).codecs(&[Codec::Sparse]));
    let summary = package.summary();
    let floats = &summary.tensors[0];
    assert_eq!((floats.name.as_str(), floats.shape.as_slice()), ("floats", [1000].as_slice()));
    assert_eq!((floats.dense_bytes, floats.count, floats.distinct), (4000, 1000, Some(9)));
    let codes = floats.codes.unwrap();
    assert_eq!(codes.before, 4.0);
    assert!((3.0..4.0).contains(&codes.after), "{codes:?}");
    let gaps = floats.gaps.unwrap();
    assert!(gaps.before == 8.0 && (2.0..4.0).contains(&gaps.after), "{gaps:?}");
    let parts = summary.manifest_bytes + summary.graph_bytes + summary.index_bytes;
    assert!(parts + summary.segment_bytes < summary.bytes);
    assert!(summary.ratio() > 1.0 && summary.share(floats) < 1.0);
}

#[test]
fn the_graph_is_available_without_weights() {
    let model = model(300, 9);
    let package = package(&PackageWriter::new(&model));
    let graph = package.graph_without_weights().unwrap();
    let external: Vec<bool> =
        graph.graph().initializers().map(|tensor| tensor.is_external()).collect();
    assert_eq!(external, [true, true, true, false]);
    assert_eq!(graph.graph().nodes().len(), 1);
    assert!(graph.to_bytes().unwrap().len() < 400);
}

#[test]
fn the_manifest_is_restored() {
    let model = model(50, 3);
    let manifest = Manifest {
        name: "example".into(),
        notes: vec!["float32 was kept because it was faster".into()],
        ..Manifest::default()
    };
    let package = package(&PackageWriter::new(&model).manifest(manifest.clone()));
    assert_eq!(*package.manifest(), manifest);
    assert_eq!(package.format_minor(), 0);
}

#[test]
fn digests_and_signatures_are_checked() {
    let model = model(50, 3);
    let signer = Signer::from_seed(&[7; 32]);
    let bytes = PackageWriter::new(&model).sign(signer.clone()).to_bytes().unwrap();
    let sealed = Package::from_bytes(bytes.clone()).unwrap().verify().unwrap();
    assert_eq!(sealed.signed_by, Some(signer.public_key()));
    let plain = package(&PackageWriter::new(&model));
    assert_eq!(plain.verify().unwrap().signed_by, None);
    assert_eq!(plain.verify().unwrap().digest, *plain.digest());
    // The last byte is the signature's; the byte 100 before the end is signed.
    for (back, digest) in [(1, false), (100, true)] {
        let mut bytes = bytes.clone();
        let position = bytes.len() - back;
        bytes[position] ^= 1;
        let error = Package::from_bytes(bytes).unwrap().verify().unwrap_err();
        assert_eq!(matches!(error, PackageError::Digest), digest);
        assert_eq!(matches!(error, PackageError::Signature(_)), !digest);
    }
    assert!(!format!("{signer:?}").contains("7, 7"));
}

#[test]
fn an_open_package_survives_its_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.sky");
    let (first, second) = (model(100, 5), model(200, 5));
    let summary = PackageWriter::new(&first).write(&path).unwrap();
    let open = Package::open(&path).unwrap();
    assert_eq!(open.summary(), summary);
    PackageWriter::new(&second).write(&path).unwrap();
    // The open package is unchanged.
    assert_eq!(open.tensor("floats").unwrap().shape(), [100]);
    assert_eq!(Package::open(&path).unwrap().tensor("floats").unwrap().shape(), [200]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(PackageWriter::new(&first).write(folder.path().join("no/such.sky")).is_err());
    assert!(Package::open(folder.path()).unwrap_err().to_string().contains("not a file"));
    assert!(Package::open(folder.path().join("none")).is_err());
    std::fs::write(&path, b"").unwrap();
    assert!(Package::open(&path).is_err());
}

#[test]
fn errors_distinguish_other_files_and_versions() {
    let model = model(50, 3);
    let bytes = PackageWriter::new(&model).to_bytes().unwrap();
    let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Package::from_bytes(bytes).unwrap_err().to_string()
    };
    assert!(refusal(&|bytes| bytes[0] = 0).starts_with("not a .sky package"));
    assert!(refusal(&|bytes| bytes[8] = 2).contains("format 2.0, this version reads 1.x"));
    assert!(refusal(&|bytes| bytes[17] = 9).contains("in the header at byte"));
    assert!(refusal(&|bytes| bytes.truncate(100)).contains("in the header"));
    assert!(
        refusal(&|bytes| bytes.truncate(200)).contains("it is cut off, in the header at byte 200")
    );
    assert!(refusal(&|bytes| bytes.push(0)).contains("goes on after its sections"));
    assert!(refusal(&|bytes| bytes[16 + 5 * 24] ^= 1).contains("in the manifest at byte 136"));
}

/// Returns the bytes of `package` with an empty section of this kind in the table.
fn with_section(package: &[u8], kind: u8) -> Vec<u8> {
    let mut bytes = package.to_vec();
    let end = 16 + 24 * usize::from(bytes[10]);
    let row = [[kind, 200, 0, 0].as_slice(), &[0; 20]].concat();
    bytes.splice(16..16, row);
    bytes[10] += 1;
    let checksum = header::checksum_of(&[&bytes[..12], &bytes[16..end + 24]]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn unknown_sections_are_ignored_unless_required() {
    let model = model(50, 3);
    let bytes = PackageWriter::new(&model).to_bytes().unwrap();
    let mut later = with_section(&bytes, 0x7F);
    later[9] = 3;
    let checksum = header::checksum_of(&[&later[..12], &later[16..16 + 24 * 6]]);
    later[12..16].copy_from_slice(&checksum.to_le_bytes());
    let package = Package::from_bytes(later).unwrap();
    assert_eq!(package.format_minor(), 3);
    assert!(package.model().is_ok());
    let message = Package::from_bytes(with_section(&bytes, 0x80)).unwrap_err().to_string();
    assert!(message.contains("does not know, and must"), "{message}");
}

#[test]
fn an_error_in_a_segment_names_the_tensor_and_the_offset() {
    let model = model(300, 9);
    let bytes = PackageWriter::new(&model).to_bytes().unwrap();
    let whole = Package::from_bytes(bytes.clone()).unwrap();
    let position = whole.index.segments[1].range.start;
    let mut spoiled = bytes;
    spoiled[position] ^= 0x10;
    let package = Package::from_bytes(spoiled).unwrap();
    assert!(package.tensor("floats").is_ok());
    let message = package.tensor("longs").unwrap_err().to_string();
    let expected =
        format!("tensor 'longs': the checksum is not that of its bytes, at byte {position}");
    assert!(message.contains(&expected), "{message}");
    assert!(package.model().is_err());
}

#[test]
fn a_small_file_can_not_ask_for_much_memory() {
    let mut builder = GraphBuilder::new("zeros");
    // 80 MB of zeros would become a few bytes.
    let zeros = Tensor::new(&[20 << 20], &vec![0.0_f32; 20 << 20]).unwrap();
    builder.initializer("zeros", zeros);
    let model = builder.finish().unwrap();
    let bytes = PackageWriter::new(&model).to_bytes().unwrap();
    assert!(bytes.len() > 80 << 20, "stored as it is, since no reader would believe the ratio");
    assert!(Package::from_bytes(bytes).unwrap().tensor("zeros").is_ok());
    assert_eq!(decoded_max(1000), (64 << 20) + 1_024_000);
    assert_eq!(decoded_max(u64::MAX), u64::MAX);
}

#[test]
fn external_values_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("values"), [7_u8; 400]).unwrap();
    let mut model = model(100, 3);
    model.move_initializer("floats", "values");
    assert!(PackageWriter::new(&model).to_bytes().is_err());
    model.set_folder(folder.path());
    let package = package(&PackageWriter::new(&model));
    assert_eq!(package.tensor("floats").unwrap().bytes(), [7; 400]);
    assert!(package.model().unwrap().to_bytes().is_ok());
}

/// Reads the example of FORMAT.md, which every later version must read.
#[test]
fn the_example_of_the_format_is_a_package() {
    let text = include_str!("../../FORMAT.md");
    let (_, dump) = text.split_once("```hex\n").unwrap();
    let (dump, _) = dump.split_once("```").unwrap();
    let digits = dump.lines().flat_map(|line| line.split_whitespace().skip(1));
    let bytes: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let package = Package::from_bytes(bytes).unwrap();
    assert_eq!(package.verify().unwrap().digest, *package.digest());
    assert_eq!(package.tensors()[0].codec, Some(Codec::Sparse));
    let expected = [
        [0.0_f32, 0.0, 0.5, 0.0],
        [0.0, 0.0, 0.0, -0.5],
        [0.5, 0.0, 0.0, 0.25],
        [0.0, 0.0, 0.5, 0.0],
    ];
    let expected = Tensor::new(&[4, 4], expected.as_flattened()).unwrap();
    assert_eq!(package.tensor("w").unwrap(), expected);
    let sparse = package.sparse("w").unwrap().unwrap();
    assert_eq!(sparse.codebook(), [-0.5, 0.25, 0.5]);
    assert_eq!(sparse.positions(), [2, 7, 8, 11, 14]);
    assert_eq!(sparse.codes(), [2, 0, 2, 1, 2]);
    assert_eq!(package.model().unwrap().graph().nodes().len(), 1);
}

/// Opens bytes that may be a package and decodes all of it; only a panic is a failure.
fn exercise(bytes: Vec<u8>) -> bool {
    let limit = decoded_max(bytes.len() as u64);
    let Ok(package) = Package::from_bytes(bytes) else { return false };
    let mut decoded = 0;
    for entry in package.tensors() {
        if let Ok(tensor) = package.tensor(&entry.name) {
            decoded += tensor.bytes().len() as u64;
        }
        if let Ok(Some(sparse)) = package.sparse(&entry.name) {
            assert!(sparse.positions().len() as u64 <= sparse.count());
        }
    }
    // Tensors with the same name are decoded more than once.
    assert!(decoded <= limit * package.tensors().len() as u64);
    let _ = (package.summary(), package.verify(), package.graph_without_weights());
    true
}

/// Returns small packages, of every codec, half of them signed.
fn samples() -> Vec<Vec<u8>> {
    let (few, many) = (model(60, 4), model(200, 100_000));
    let writers = CODECS.iter().flat_map(|codec| {
        let signed = PackageWriter::new(&few).sign(Signer::from_seed(&[7; 32]));
        [signed.codecs(&[*codec]), PackageWriter::new(&many).codecs(&[*codec])]
    });
    writers.map(|writer| writer.to_bytes().unwrap()).collect()
}

/// Damages `bytes` in one of the ways in which files are damaged.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    let position = random.below(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(position),
        1 => bytes[position] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
        2 => {
            let from = random.below(bytes.len());
            let length = random.below(16).min(bytes.len() - from.max(position));
            bytes.copy_within(from..from + length, position);
        }
        3 => bytes.insert(position, random.below(256) as u8),
        _ => bytes[position] ^= 1 << random.below(8),
    }
}

#[test]
fn a_hundred_thousand_damaged_packages_never_panic() {
    let samples = samples();
    let mut random = Random(1);
    // The second pass ignores checksums, which stop nearly all packages.
    for (unchecked_too, count) in [(false, 20_000), (true, 90_000)] {
        unchecked(unchecked_too);
        let mut opened = 0;
        for i in 0..count {
            let mut bytes = samples[i % samples.len()].clone();
            for _ in 0..=random.below(3) {
                if !bytes.is_empty() {
                    spoil(&mut bytes, &mut random);
                }
            }
            opened += usize::from(exercise(bytes));
        }
        // Otherwise the test would look at headers only.
        assert!(opened > count / 10, "{opened} of {count}");
    }
    unchecked(false);
}
