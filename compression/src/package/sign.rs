//! Signatures: ed25519 (RFC 8032) over the digest. A prefix separates them from any other use of a
//! key.

use super::PackageError;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::fmt;

/// Prefix of the signed message, which the digest follows.
const PREFIX: &[u8] = b"skysail package 1\n";
/// Bytes of a public key, which precedes a signature in its section.
const KEY_BYTES: usize = 32;

/// A private key to sign packages with.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// Creates the key of a seed, which must be random and kept secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the key that others check signatures with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Returns the section's bytes: the public key, and the signature over the digest.
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Vec<u8> {
        let signature = self.0.sign(&[PREFIX, digest].concat());
        [self.public_key().0.as_slice(), &signature.to_bytes()].concat()
    }
}

/// Shows the public key, never the private one.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

/// A public key to check signatures with. `Display` writes 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Checks the signature over `digest` in a section, and returns its key.
pub(crate) fn verify(section: &[u8], digest: &[u8; 32]) -> Result<PublicKey, PackageError> {
    let wrong = PackageError::Signature;
    let Some((key, signature)) = section.split_first_chunk::<KEY_BYTES>() else {
        return Err(wrong("it is cut off"));
    };
    let verifying = VerifyingKey::from_bytes(key).map_err(|_| wrong("its key is none"))?;
    let signature = Signature::from_slice(signature).map_err(|_| wrong("it is cut off"))?;
    // The strict check accepts signatures of one key only.
    verifying
        .verify_strict(&[PREFIX, digest].concat(), &signature)
        .map_err(|_| wrong("it is not that of its key over this digest"))?;
    Ok(PublicKey(*key))
}
