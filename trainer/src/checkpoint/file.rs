//! The file format of a checkpoint.

use super::{Checkpoint, CheckpointError, CheckpointInfo};
use crate::strategy::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const MAGIC: &[u8; 8] = b"SKYCHECK";
pub(super) const VERSION: u32 = 1;
/// Size of magic, version, file size and header size.
const FIXED_BYTES: usize = 8 + 4 + 8 + 4;
const DIGEST_BYTES: usize = 32;

#[derive(Serialize, Deserialize)]
struct Header {
    about: CheckpointInfo,
    strategy: String,
    world: usize,
    counters: BTreeMap<String, u64>,
    parameters: usize,
    /// Names and lengths of the slices, in their order in the file.
    slices: Vec<(String, usize)>,
}

/// An error in the bytes of a checkpoint.
#[derive(Debug, PartialEq)]
pub(super) enum DecodeError {
    NotACheckpoint(String),
    Damaged(String),
    Version(u32),
}

impl DecodeError {
    /// Adds the path of the file.
    pub(super) fn at(self, path: &Path) -> CheckpointError {
        let path = path.to_path_buf();
        match self {
            Self::NotACheckpoint(problem) => CheckpointError::NotACheckpoint { path, problem },
            Self::Damaged(problem) => CheckpointError::Damaged { path, problem },
            Self::Version(version) => CheckpointError::Version { path, version },
        }
    }
}

/// Encodes a checkpoint.
pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, serde_json::Error> {
    let state = &checkpoint.state;
    let header = Header {
        about: checkpoint.info.clone(),
        strategy: state.strategy.clone(),
        world: state.world,
        counters: state.counters.clone(),
        parameters: checkpoint.parameters.len(),
        slices: state.slices.iter().map(|(name, values)| (name.clone(), values.len())).collect(),
    };
    let header = serde_json::to_vec(&header)?;
    let slices = [&checkpoint.parameters].into_iter().chain(state.slices.values());
    let numbers: usize = slices.clone().map(Vec::len).sum();
    let total = FIXED_BYTES + header.len() + numbers * size_of::<f32>() + DIGEST_BYTES;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(total as u64).to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&header);
    for values in slices {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

/// Decodes a checkpoint.
pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, DecodeError> {
    let Some((version, total, rest)) = fixed(bytes) else {
        let problem = format!(
            "its first {} bytes are not those of a checkpoint",
            FIXED_BYTES.min(bytes.len())
        );
        return Err(DecodeError::NotACheckpoint(problem));
    };
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    if total != bytes.len() as u64 {
        let problem = format!("it has {} bytes of {total}", bytes.len());
        return Err(DecodeError::Damaged(problem));
    }
    let damaged = |problem: &str| DecodeError::Damaged(problem.to_owned());
    let (content, digest) =
        bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(|| damaged("it is cut off"))?;
    if Sha256::digest(content)[..] != digest[..] {
        return Err(damaged("its checksum is wrong"));
    }
    let odd = || damaged("its parts contradict each other");
    let (length, _) = rest.split_first_chunk::<4>().ok_or_else(odd)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, numbers) = content
        .get(FIXED_BYTES..)
        .and_then(|rest| rest.split_at_checked(length))
        .ok_or_else(odd)?;
    let header: Header = serde_json::from_slice(header)
        .map_err(|error| DecodeError::Damaged(format!("its header: {error}")))?;
    split(header, numbers).ok_or_else(odd)
}

/// Splits off the version and the size of the file.
fn fixed(bytes: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*version), u64::from_le_bytes(*total), rest))
}

/// Distributes the numbers over the slices; the total length must match.
fn split(header: Header, numbers: &[u8]) -> Option<Checkpoint> {
    let mut rest = numbers;
    let mut take = |count: usize| {
        let (own, after) = rest.split_at_checked(count.checked_mul(size_of::<f32>())?)?;
        rest = after;
        let values = own.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        Some(values.collect::<Vec<f32>>())
    };
    let parameters = take(header.parameters)?;
    let mut slices = BTreeMap::new();
    for (name, count) in header.slices {
        slices.insert(name, take(count)?);
    }
    let (strategy, world, counters) = (header.strategy, header.world, header.counters);
    let state = State { strategy, world, counters, slices };
    rest.is_empty().then_some(Checkpoint { info: header.about, parameters, state })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Measurement, Parameter};
    use super::*;
    use crate::data::Position;
    use proptest::prelude::*;

    pub(in crate::checkpoint) fn example(steps: u64) -> Checkpoint {
        let parameter = |name: &str, shape: &[usize]| Parameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind: "weight".to_owned(),
        };
        let measured = Measurement {
            epoch: 1,
            steps,
            rate: 0.1,
            train_loss: 0.25,
            test_loss: 0.5,
            accuracy: Some(0.75),
            bytes_sent: 99,
        };
        let info = CheckpointInfo {
            recipe: "r".to_owned(),
            data: "d".to_owned(),
            layout: vec![parameter("w", &[2, 2]), parameter("b", &[2])],
            steps,
            position: Position { epoch: 1, step: 7 },
            seed: 3,
            bytes_sent: 100,
            history: vec![measured],
        };
        let slices = [("u/0", vec![1.5, -0.0]), ("v", vec![f32::MIN_POSITIVE])];
        let state = State {
            strategy: "s".to_owned(),
            world: 2,
            counters: [("steps".to_owned(), u64::MAX)].into(),
            slices: slices.into_iter().map(|(name, values)| (name.to_owned(), values)).collect(),
        };
        Checkpoint { info, parameters: vec![1.0, 2.0, -3.0, 4.0, 0.1, f32::MAX], state }
    }

    #[test]
    fn a_checkpoint_survives_a_round_trip_bitwise() {
        let bytes = encode(&example(5)).unwrap();
        let read = decode(&bytes).unwrap();
        assert_eq!(read, example(5));
        assert!(read.state.slices["u/0"][1].is_sign_negative());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_detected() {
        let bytes = encode(&example(5)).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            assert!(decode(&flipped).is_err(), "{index}");
        }
        let message = |bytes: &[u8]| decode(bytes).unwrap_err();
        let cut = format!("it has {} bytes of {}", bytes.len() - 1, bytes.len());
        assert_eq!(message(&bytes[..bytes.len() - 1]), DecodeError::Damaged(cut));
        assert!(matches!(message(b"PK"), DecodeError::NotACheckpoint(_)));
        let mut later = bytes.clone();
        later[8] = 2;
        assert_eq!(message(&later), DecodeError::Version(2));
        let last = later.len() - 40;
        let mut flipped = bytes;
        flipped[last] ^= 1;
        assert_eq!(message(&flipped), DecodeError::Damaged("its checksum is wrong".into()));
    }

    proptest! {
        /// The checksum is correct, so that later checks are reached.
        #[test]
        fn no_header_panics(header in "\\PC{0,40}", length: u32, numbers in 0_usize..9) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            let total = FIXED_BYTES + header.len() + numbers + DIGEST_BYTES;
            bytes.extend_from_slice(&(total as u64).to_le_bytes());
            bytes.extend_from_slice(&(length % 64).to_le_bytes());
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend(vec![0; numbers]);
            let digest = Sha256::digest(&bytes);
            bytes.extend_from_slice(&digest);
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
