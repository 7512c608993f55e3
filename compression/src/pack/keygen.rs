//! `skysail-pack keygen`: creates a pair of keys to sign packages with.

use crate::{interrupt, keys};
use anyhow::{Context, Result};
use clap::Args;
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  skysail-pack keygen release.key
      Writes the private key release.key, to be kept secret, and the public key
      release.key.pub, for everyone.
  skysail-pack pack model.onnx --sign release.key
      Signs a package with the private key.
  skysail-pack verify model.sky --key release.key.pub
      Checks the signature with the public key.";

/// Create a pair of ed25519 keys to sign packages with
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// File of the private key; the public key's file has `.pub` appended
    file: PathBuf,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).context("the system gives no random numbers")?;
    let public = interrupt::uninterrupted(|| keys::write(&flags.file, &seed))?;
    let (private, public) = (flags.file.display(), public.display());
    Ok(writeln!(io::stdout(), "wrote {private}, to be kept secret, and {public}")?)
}
