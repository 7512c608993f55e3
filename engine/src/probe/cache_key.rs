//! Key of a cached verdict: a digest of everything that decides a probe's result.

use super::Subject;
use super::worker::Context;
use crate::repository::source::FILES_MAX;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bytes of one read.
const CHUNK_BYTES: usize = 1 << 20;

/// Returns the key of a file and its folder as they are now, with this runtime on this machine, and
/// the bytes of all files. All files count, as any of them may hold weights.
///
/// # Errors
/// A file can not be read, or not before the stop.
pub(super) fn key(subject: &Subject, context: &Context) -> io::Result<(String, u64)> {
    let Context { runtime, cache, stopping, .. } = context;
    if subject.fingerprint.len() >= FILES_MAX {
        return Err(io::Error::other("its folder holds too much"));
    }
    let mut folder = subject.folder.clone();
    let file = |path: PathBuf| fs::metadata(&path).map(|metadata| (path, metadata));
    let paths = subject.fingerprint.iter().map(|state| folder.join(&state.path));
    let mut files: Vec<(PathBuf, Metadata)> = paths.map(file).collect::<io::Result<_>>()?;
    if !files.iter().any(|(path, _)| *path == subject.file) {
        // The file is outside of the folder.
        folder = PathBuf::new();
        files = vec![(subject.file.clone(), fs::metadata(&subject.file)?)];
    }
    let library = |path: &PathBuf| fs::metadata(path).map(|metadata| (path.clone(), metadata));
    files.extend(subject.libraries.iter().map(library).collect::<io::Result<Vec<_>>>()?);
    let bytes = files.iter().map(|(_, metadata)| metadata.len()).sum();
    let mut all = Sha256::new();
    let mut part = |text: &str| {
        all.update((text.len() as u64).to_le_bytes());
        all.update(text);
    };
    part(env!("CARGO_PKG_VERSION"));
    part(runtime);
    part(&format!("{:?}", subject.settings));
    part(&subject.file.strip_prefix(&folder).unwrap_or(&subject.file).to_string_lossy());
    for (path, metadata) in &files {
        part(&path.strip_prefix(&folder).unwrap_or(path).to_string_lossy());
        let state = state(path, metadata);
        let known = cache.lock().digest(&state);
        let digest = match known {
            Some(digest) => digest,
            None => {
                let digest = digest(path, stopping)?;
                if state == self::state(path, &fs::metadata(path)?) {
                    cache.lock().insert_digest(&state, &digest);
                }
                digest
            }
        };
        part(&digest);
    }
    Ok((hex(&all.finalize()), bytes))
}

/// Identifies the runtime and the processor, which decide the kernels that run.
pub(crate) fn runtime_identity(cores: usize) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_relevant = |line: &&str| line.starts_with("model name") || line.starts_with("flags");
    let cpu: Vec<&str> = cpu.lines().filter(is_relevant).take(2).collect();
    format!("{}\n{cores}\n{}", ort::info(), cpu.join("\n"))
}

/// Describes a file's state, which differs after each change. It includes the inode's time of
/// change: unlike the content's, that can not be set back.
fn state(path: &Path, metadata: &Metadata) -> String {
    let path = path.to_string_lossy();
    let (length, inode, device) = (metadata.len(), metadata.ino(), metadata.dev());
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    format!("{device}/{inode}/{length}/{times:?}/{path}")
}

fn digest(path: &Path, stopping: &AtomicBool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut digest = Sha256::new();
    loop {
        if stopping.load(Relaxed) {
            return Err(io::Error::other("the server stops"));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(count) => digest.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
