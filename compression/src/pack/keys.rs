//! Key files: a line of 64 hexadecimal digits.

use crate::table::hex;
use anyhow::{Context, Result, bail};
use skysail_compression::{PublicKey, Signer};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Limit of a key file, in bytes: a key takes 65.
const FILE_BYTES_MAX: u64 = 1024;
/// Mode of a private key: only the owner may read it.
const PRIVATE: u32 = 0o600;
/// Mode of a public key: everyone may read it.
const PUBLIC: u32 = 0o644;

/// Reads the key to sign with.
pub(crate) fn signer(path: &Path) -> Result<Signer> {
    let seed = read(path).context("--sign takes the private key that `keygen` wrote")?;
    Ok(Signer::from_seed(&seed))
}

/// Reads the key to check signatures with.
pub(crate) fn public(path: &Path) -> Result<PublicKey> {
    let key = read(path).context("--key takes the public key that `keygen` wrote")?;
    Ok(PublicKey(key))
}

/// Writes a private key, and the public one beside it, whose path it returns.
pub(crate) fn write(path: &Path, seed: &[u8; 32]) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let beside = PathBuf::from(name);
    if beside.exists() {
        bail!("{} is there already: choose another name", beside.display());
    }
    write_new(path, seed, PRIVATE)?;
    write_new(&beside, &Signer::from_seed(seed).public_key().0, PUBLIC)?;
    Ok(beside)
}

/// Writes a new file. It never replaces one, as a lost key cannot be recovered.
fn write_new(path: &Path, key: &[u8; 32], mode: u32) -> Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = open.and_then(|mut file| {
        writeln!(file, "{}", hex(key))?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> Result<[u8; 32]> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let wrong = || format!("{} is no key: it must be 64 hexadecimal digits", path.display());
    decode(text.trim()).with_context(wrong)
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().map(|digit| Some(digit.to_digit(16)? as u8));
    let digits = digits.collect::<Option<Vec<u8>>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |b, d| b << 4 | d)).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed_and_other_text_is_rejected() {
        let key: [u8; 32] = std::array::from_fn(|index| 7 * index as u8);
        assert_eq!(decode(&hex(&key)), Some(key));
        let long = "0".repeat(66);
        for wrong in ["", "00", &long, &long[..63], &"g".repeat(64)] {
            assert_eq!(decode(wrong), None);
        }
    }
}
