//! Tests of every codec, with tensors of every kind and with invalid bytes.

use super::*;
use proptest::prelude::*;
use skysail_graph::ElementType;

fn described(coded: &Coded, form: Form) -> (Plan, Vec<u8>) {
    let segment = coded.parts.concat();
    let mut index = Vec::new();
    coded.describe(&mut index);
    let mut cursor = Cursor::new(&index);
    let plan = Plan::read(&mut cursor, form, segment.len()).unwrap();
    assert!(cursor.rest().is_empty());
    (plan, segment)
}

/// Encodes `bytes` with each codec, and decodes them again.
fn check(element: ElementType, bytes: &[u8]) {
    let form = Form::of(element, bytes.len()).unwrap();
    let found = Analysis::of(form, bytes);
    for codec in CODECS {
        let coded = encode(form, bytes, &found, &[codec]);
        let (plan, segment) = described(&coded, form);
        assert_eq!(plan.decode(&segment).unwrap(), bytes, "{codec:?}");
        if element != ElementType::Float32 {
            continue;
        }
        let shape = [form.count as u64];
        if let Some(sparse) = plan.decode_sparse(&segment, &shape).unwrap() {
            assert_eq!(sparse.to_dense().unwrap().bytes(), bytes, "{codec:?}");
            assert!(sparse.codebook().iter().all(|value| value.to_bits() != 0));
        }
    }
}

/// Generates values of which most are zero, and some are special.
fn floats() -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![
        6 => Just(0.0_f32),
        2 => (0_i32..40).prop_map(|level| level as f32 / 8.0 - 2.0),
        1 => any::<u32>().prop_map(f32::from_bits),
        1 => Just(-0.0),
    ];
    proptest::collection::vec(one, 0..700)
}

proptest! {
    #[test]
    fn floats_are_restored_bit_for_bit(values in floats()) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        check(ElementType::Float32, &bytes);
    }

    #[test]
    fn words_of_every_width_are_restored(bytes in proptest::collection::vec(prop_oneof![4 => Just(0), 1 => any::<u8>()], 0..40)) {
        let bytes = bytes.repeat(8);
        for element in [ElementType::Int8, ElementType::Float16, ElementType::Int32, ElementType::Float64, ElementType::UInt64] {
            check(element, &bytes);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected(index: Vec<u8>, segment: Vec<u8>, codec in 0..CODECS.len(), count in 0_usize..300) {
        let index = [&[codec as u8], index.as_slice()].concat();
        let form = Form::of(ElementType::Float32, 4 * count).unwrap();
        if let Ok(plan) = Plan::read(&mut Cursor::new(&index), form, segment.len()) {
            if let Ok(bytes) = plan.decode(&segment) {
                prop_assert_eq!(bytes.len(), form.bytes());
            }
            let _ = plan.decode_sparse(&segment, &[count as u64]);
        }
    }
}

/// Damages every bit of a segment: decoding must still return a whole tensor or an error.
#[test]
fn damaged_segments_never_panic() {
    let values: Vec<f32> =
        (0..600_u32).map(|i| if i % 3 == 0 { (i % 17) as f32 } else { 0.0 }).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let form = Form::of(ElementType::Float32, bytes.len()).unwrap();
    let found = Analysis::of(form, &bytes);
    for codec in CODECS {
        let (plan, segment) = described(&encode(form, &bytes, &found, &[codec]), form);
        for position in 0..segment.len().min(400) {
            for bit in 0..8 {
                let mut spoiled = segment.clone();
                spoiled[position] ^= 1 << bit;
                if let Ok(decoded) = plan.decode(&spoiled) {
                    assert_eq!(decoded.len(), bytes.len());
                }
                if let Ok(Some(sparse)) = plan.decode_sparse(&spoiled, &[600]) {
                    assert!(sparse.to_dense().is_ok());
                }
            }
            assert!(plan.decode(&segment[..position]).is_err());
        }
    }
}

#[test]
fn the_smallest_codec_is_chosen() {
    let codec_of = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let form = Form::of(ElementType::Float32, bytes.len()).unwrap();
        encode(form, &bytes, &Analysis::of(form, &bytes), &CODECS).codec
    };
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let noise: Vec<f32> = (0..5000).map(|_| random() - 0.5).collect();
    assert_eq!(codec_of(&noise), Codec::Planes);
    let clustered: Vec<f32> = noise.iter().map(|value| (value * 8.0).round() / 8.0 + 1.0).collect();
    assert_eq!(codec_of(&clustered), Codec::Codes);
    let pruned: Vec<f32> =
        noise.iter().map(|value| if random() < 0.9 { 0.0 } else { *value }).collect();
    assert_eq!(codec_of(&pruned), Codec::Pruned);
    let both = |i: usize| match random() {
        0.0..0.9 => 0.0,
        0.9..0.99 => 1.0,
        _ => clustered[i % 5000],
    };
    let both: Vec<f32> = (0..60_000).map(both).collect();
    assert_eq!(codec_of(&both), Codec::Sparse);
    assert_eq!(codec_of(&noise[..1]), Codec::Raw);
}

/// Checks the bytes that FORMAT.md gives: existing files depend on them.
#[test]
fn the_bytes_are_those_of_the_format() {
    let symbols = [0, 0, 3, 0, 1, 0, 0, 2].repeat(5);
    let (fitted, stored) = model::Model::fit(&[25, 5, 5, 5, 0]);
    assert_eq!((fitted.precision, fitted.first), (14, 0));
    assert_eq!(fitted.frequencies, [9361, 2341, 2341, 2341]);
    assert_eq!(stored, [0x0F, 0x08, 0xBD, 0x68]);
    let lanes = [
        0xCF, 0x1F, 0x04, 0x00, 0x23, 0x03, 0x07, 0x01, 0xE1, 0x3D, 0x04, 0x00, 0xAE, 0x44, 0x04,
        0x00, 0x94, 0x52, 0xBF, 0xD1, 0xCB, 0xC0,
    ];
    assert_eq!(rans::encode(&fitted, &symbols), lanes);
    let codes = [0x03, 0x13, 0x31, 0xC0, 0x26, 0x39, 0x31, 0xC9, 0x8E, 0x4C, 0x72, 0x63, 0x80];
    assert_eq!(huffman::encode(&symbols, 5), codes);
}
