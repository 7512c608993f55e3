//! `skysail-pack keygen`: a pair of keys to sign packages with.

use crate::{keys, stop};
use anyhow::{Context, Result};
use clap::Args;
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  skysail-pack keygen release.key
      Writes release.key, to be kept secret, and release.key.pub, to be given to others.
  skysail-pack pack model.onnx --sign release.key
      Signs a package with it.
  skysail-pack verify model.sky --key release.key.pub
      Says whether it was this key.";

/// Makes a pair of keys (ed25519) to sign packages with.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The private key's file; the public key's gets `.pub` added
    file: PathBuf,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).context("the system gives no random numbers")?;
    let public = stop::whole(|| keys::write(&flags.file, &seed))?;
    let (private, public) = (flags.file.display(), public.display());
    Ok(writeln!(io::stdout(), "wrote {private}, to be kept secret, and {public}")?)
}
