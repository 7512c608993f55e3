//! Downloads one object into the cache. A download that was cut goes on where it was.

use crate::cache::{Cache, Held};
use crate::digest::Hasher;
use crate::listing::{Object, words};
use futures_util::StreamExt;
use object_store::{Error, GetOptions, GetRange, ObjectStore};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Progress of all downloads of a place.
#[derive(Default)]
pub(crate) struct Progress {
    /// Bytes that came.
    pub(crate) downloaded: AtomicU64,
    /// True once they are to end.
    pub(crate) stopping: AtomicBool,
}

/// Reason why an object was not downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is another than when it was listed.
    Changed,
    /// The store is away or refuses.
    Away(String),
    /// This machine can not take it.
    Here(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Here(format!("it can not be stored: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            // The object was removed or replaced since it was listed.
            Error::Precondition { .. } | Error::NotFound { .. } => Self::Changed,
            error => Self::Away(words(&error)),
        }
    }
}

/// Downloads an object unless its content is in the cache, and returns the content.
///
/// # Errors
/// The object has changed, the store is away, or there is no room for it.
pub(crate) async fn download(
    store: &Arc<dyn ObjectStore>,
    cache: &Arc<Cache>,
    (label, object): (&str, &Object),
    progress: &Progress,
) -> Result<Held, Failure> {
    let state = format!("{label}\n{}\n{}", object.key, object.state);
    // Two models may be of the same place.
    let _alone = cache.lock(&state).await;
    if let Some(held) = cache.known(&state, &progress.stopping) {
        return Ok(held);
    }
    let _room = cache.reserve(&state, object.size).map_err(Failure::Here)?;
    let partial = cache.partial(&state);
    let (mut file, mut hasher, mut length) = resume(&partial, object, &progress.stopping)?;
    if length < object.size || object.size == 0 {
        let options = GetOptions {
            if_match: object.etag.clone(),
            range: (length > 0).then_some(GetRange::Offset(length)),
            ..GetOptions::default()
        };
        let result = match store.get_opts(&object.key, options).await {
            Err(error) if length > 0 && !is_final(&error) => {
                // Not every server knows ranges: the next attempt begins at the start.
                fs::remove_file(&partial)?;
                return Err(error.into());
            }
            result => result?,
        };
        let is_other = result.meta.e_tag.is_some() && result.meta.e_tag != object.etag;
        if result.meta.size != object.size || (object.etag.is_some() && is_other) {
            fs::remove_file(&partial)?;
            return Err(Failure::Changed);
        }
        let mut chunks = result.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            length += chunk.len() as u64;
            if length > object.size {
                fs::remove_file(&partial)?;
                return Err(Failure::Changed);
            }
            file.write_all(&chunk)?;
            hasher.update(&chunk);
            progress.downloaded.fetch_add(chunk.len() as u64, Relaxed);
        }
    }
    if length != object.size {
        return Err(Failure::Away(format!("'{}' ended early", object.key)));
    }
    file.sync_all()?;
    let digest = hasher.finish();
    Ok(cache.adopt(&state, &digest, &progress.stopping)?)
}

/// True if an error says nothing of ranges.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. } | Error::NotFound { .. })
}

/// Opens the partial file of an object at its end, with the digest of what is there.
fn resume(
    partial: &Path,
    object: &Object,
    stopping: &AtomicBool,
) -> io::Result<(File, Hasher, u64)> {
    let there = fs::metadata(partial).map_or(0, |metadata| metadata.len());
    // Without an ETag, nothing tells if the rest would be of the same content.
    if there > object.size || object.etag.is_none() {
        match fs::remove_file(partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let file = OpenOptions::new().create(true).append(true).open(partial)?;
    let length = file.metadata()?.len();
    let mut hasher = Hasher::default();
    hasher.add_file(partial, stopping)?;
    Ok((file, hasher, length))
}
