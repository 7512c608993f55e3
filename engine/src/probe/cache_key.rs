//! Key of a cached verdict: a digest of everything that decides a probe's result.
//!
//! Reading a file for its digest takes as long as loading it. So a version that can be in no cache is
//! probed first, and its files are read when nothing waits for that.

use super::Subject;
use super::verdict_cache::VerdictCache;
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

/// Bytes of a file that are read even when the server stops.
const STOPPING_BYTES_MAX: u64 = 8 << 20;

/// The files that decide a probe's result, in the state that they had at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SubjectFiles {
    /// Folder of the files, or an empty path if they are not in one.
    folder: PathBuf,
    /// Path and state of each.
    files: Vec<(PathBuf, String)>,
    /// Bytes of each.
    lengths: Vec<u64>,
}

impl SubjectFiles {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.lengths.iter().fold(0, |sum, length| sum.saturating_add(*length))
    }

    /// True if no verdict of these files can be cached: one has a length that no known file has.
    pub(super) fn are_new(&self, cache: &VerdictCache) -> bool {
        self.lengths.iter().any(|length| !cache.knows_length(*length))
    }
}

/// Finds the files of a version. All files of its folder count, as any of them may hold weights.
///
/// # Errors
/// A file is missing, or there are too many.
pub(super) fn files(subject: &Subject) -> io::Result<SubjectFiles> {
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
    let lengths = files.iter().map(|(_, metadata)| metadata.len()).collect();
    let with_state = |(path, metadata): (PathBuf, Metadata)| {
        let state = state(&path, &metadata);
        (path, state)
    };
    let files = files.into_iter().map(with_state).collect();
    Ok(SubjectFiles { folder, files, lengths })
}

/// Returns the key of a version with these files, with this runtime on this machine.
///
/// # Errors
/// A file has changed, can not be read, or not before the stop.
pub(super) fn key(
    subject: &Subject,
    found: &SubjectFiles,
    context: &Context,
) -> io::Result<String> {
    let Context { runtime, cache, stopping, .. } = context;
    let SubjectFiles { folder, files, .. } = found;
    let mut all = Sha256::new();
    let mut part = |text: &str| {
        all.update((text.len() as u64).to_le_bytes());
        all.update(text);
    };
    part(env!("CARGO_PKG_VERSION"));
    part(runtime);
    part(&format!("{:?}", subject.settings));
    part(&subject.file.strip_prefix(folder).unwrap_or(&subject.file).to_string_lossy());
    for (path, state) in files {
        part(&path.strip_prefix(folder).unwrap_or(path).to_string_lossy());
        let known = cache.lock().digest(state);
        let digest = match known {
            Some(digest) => digest,
            None => {
                let digest = digest(path, stopping)?;
                if *state != self::state(path, &fs::metadata(path)?) {
                    return Err(io::Error::other("a file has changed"));
                }
                cache.lock().insert_digest(state, &digest);
                digest
            }
        };
        part(&digest);
    }
    Ok(hex(&all.finalize()))
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

/// Length of the file in this state.
pub(super) fn length_of(state: &str) -> Option<u64> {
    state.split('/').nth(2)?.parse().ok()
}

fn digest(path: &Path, stopping: &AtomicBool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    loop {
        if bytes > STOPPING_BYTES_MAX && stopping.load(Relaxed) {
            return Err(io::Error::other("the server stops"));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(count) => {
                digest.update(&buffer[..count]);
                bytes += count as u64;
            }
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
