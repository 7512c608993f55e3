//! Signatures: ed25519 (RFC 8032) over the digest, with a prefix of its own, so that no other
//! use of a key makes one.

use super::PackageError;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::fmt;

/// What is signed is this, then the digest.
const PREFIX: &[u8] = b"skysail package 1\n";
/// Bytes of a public key, before a signature in its section.
const KEY_BYTES: usize = 32;

/// Who signs: a private key.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// The key of this seed, which must be random and kept secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The key that others check signatures with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The section's bytes: the public key, and the signature over the digest.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Vec<u8> {
        let signature = self.0.sign(&[PREFIX, digest].concat());
        [self.public_key().0.as_slice(), &signature.to_bytes()].concat()
    }
}

/// Never the key itself.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

/// A key to check signatures with. Displayed, it is 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whose signature over `digest` the section holds.
pub(crate) fn verify(section: &[u8], digest: &[u8; 32]) -> Result<PublicKey, PackageError> {
    let wrong = PackageError::Signature;
    let Some((key, signature)) = section.split_first_chunk::<KEY_BYTES>() else {
        return Err(wrong("it is cut off"));
    };
    let verifying = VerifyingKey::from_bytes(key).map_err(|_| wrong("its key is none"))?;
    let signature = Signature::from_slice(signature).map_err(|_| wrong("it is cut off"))?;
    // Strict: one key and one digest have signatures of one key only.
    verifying
        .verify_strict(&[PREFIX, digest].concat(), &signature)
        .map_err(|_| wrong("it is not that of its key over this digest"))?;
    Ok(PublicKey(*key))
}
