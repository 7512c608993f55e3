//! A checkpoint as bytes.

use super::{About, Checkpoint, CheckpointError};
use crate::strategy::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const MAGIC: &[u8; 8] = b"SKYCHECK";
pub(super) const VERSION: u32 = 1;
/// Magic, version, bytes of the file, bytes of the header.
const FIXED_BYTES: usize = 8 + 4 + 8 + 4;
const DIGEST_BYTES: usize = 32;

#[derive(Serialize, Deserialize)]
struct Header {
    about: About,
    strategy: String,
    world: usize,
    counters: BTreeMap<String, u64>,
    parameters: usize,
    /// Names and lengths, in the order of the numbers.
    slices: Vec<(String, usize)>,
}

/// Why bytes are no checkpoint.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    None(String),
    Damaged(String),
    Version(u32),
}

impl Refusal {
    /// The error, of this file.
    pub(super) fn of(self, path: &Path) -> CheckpointError {
        let path = path.to_path_buf();
        match self {
            Self::None(problem) => CheckpointError::None { path, problem },
            Self::Damaged(problem) => CheckpointError::Damaged { path, problem },
            Self::Version(version) => CheckpointError::Version { path, version },
        }
    }
}

/// The file of a checkpoint.
pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, serde_json::Error> {
    let state = &checkpoint.state;
    let header = Header {
        about: checkpoint.about.clone(),
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

/// The checkpoint of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, Refusal> {
    let Some((version, total, rest)) = fixed(bytes) else {
        let problem =
            format!("its first {} bytes are not those of one", FIXED_BYTES.min(bytes.len()));
        return Err(Refusal::None(problem));
    };
    if version != VERSION {
        return Err(Refusal::Version(version));
    }
    if total != bytes.len() as u64 {
        let problem = format!("it has {} bytes of {total}", bytes.len());
        return Err(Refusal::Damaged(problem));
    }
    let damaged = |problem: &str| Refusal::Damaged(problem.to_owned());
    let (content, digest) =
        bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(|| damaged("it is cut off"))?;
    if Sha256::digest(content)[..] != digest[..] {
        return Err(damaged("its checksum is that of other bytes"));
    }
    let odd = || damaged("it contradicts itself");
    let (length, _) = rest.split_first_chunk::<4>().ok_or_else(odd)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, numbers) = content
        .get(FIXED_BYTES..)
        .and_then(|rest| rest.split_at_checked(length))
        .ok_or_else(odd)?;
    let header: Header = serde_json::from_slice(header)
        .map_err(|error| Refusal::Damaged(format!("its header: {error}")))?;
    split(header, numbers).ok_or_else(odd)
}

/// The version, the bytes of the file, and what follows.
fn fixed(bytes: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*version), u64::from_le_bytes(*total), rest))
}

/// Gives each slice its numbers; there must be neither more nor fewer.
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
    rest.is_empty().then_some(Checkpoint { about: header.about, parameters, state })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Measured, Parameter};
    use super::*;
    use crate::data::Position;
    use proptest::prelude::*;

    pub(in crate::checkpoint) fn example(steps: u64) -> Checkpoint {
        let parameter = |name: &str, shape: &[usize]| Parameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind: "weight".to_owned(),
        };
        let measured = Measured {
            epoch: 1,
            steps,
            rate: 0.1,
            train_loss: 0.25,
            test_loss: 0.5,
            accuracy: Some(0.75),
            bytes_sent: 99,
        };
        let about = About {
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
        Checkpoint { about, parameters: vec![1.0, 2.0, -3.0, 4.0, 0.1, f32::MAX], state }
    }

    #[test]
    fn what_is_written_is_read_to_the_bit() {
        let bytes = encode(&example(5)).unwrap();
        let read = decode(&bytes).unwrap();
        assert_eq!(read, example(5));
        assert!(read.state.slices["u/0"][1].is_sign_negative());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let bytes = encode(&example(5)).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            assert!(decode(&flipped).is_err(), "{place}");
        }
        let said = |bytes: &[u8]| decode(bytes).unwrap_err();
        let cut = format!("it has {} bytes of {}", bytes.len() - 1, bytes.len());
        assert_eq!(said(&bytes[..bytes.len() - 1]), Refusal::Damaged(cut));
        assert!(matches!(said(b"PK"), Refusal::None(_)));
        let mut later = bytes.clone();
        later[8] = 2;
        assert_eq!(said(&later), Refusal::Version(2));
        let last = later.len() - 40;
        let mut flipped = bytes;
        flipped[last] ^= 1;
        assert_eq!(said(&flipped), Refusal::Damaged("its checksum is that of other bytes".into()));
    }

    proptest! {
        /// Bytes with a right checksum, so that all that is behind it is reached.
        #[test]
        fn no_header_does_harm(header in "\\PC{0,40}", length: u32, numbers in 0_usize..9) {
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
