//! Cache of probe verdicts in one small file, so that a restart probes nothing again.

use super::cache_key::length_of;
use crate::load::row_comparison::RowComparison;
use crate::zero_elements::ZeroTrials;
use serde::{Deserialize, Serialize};
use skysail_graph::write_atomically;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Name of the file in the cache's folder.
const FILE: &str = "probes.json";

/// Version of the file's format. Files of other versions are not read.
const FORMAT: u32 = 4;

/// Bytes of the largest file that is read.
const BYTES_MAX: u64 = 16 << 20;

/// Entries of each kind, at most; the least recently used is evicted.
const ENTRIES_MAX: usize = 1024;

/// Verdict of a probe, valid while the files and the runtime stay the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Verdict {
    /// The version ended the process, and is not loaded for this reason.
    Crashes(String),
    /// The version ran one row, and ended the process with several. It is not loaded for this reason
    /// if rows are to share runs.
    CrashesWithRows(String),
    /// The version can not be loaded, for a reason that a load reports.
    Rejected,
    /// The version loads and runs.
    Runs {
        /// Results for zero dimensions.
        zero_trials: ZeroTrials,
        /// Result of comparing batched rows with rows run alone.
        rows: Option<RowComparison>,
    },
}

/// Contents of the file. The most recently used entry of each kind is the last.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    /// Verdicts by key.
    verdicts: Vec<(String, Verdict)>,
    /// Digests of files by their state.
    digests: Vec<(String, String)>,
}

/// The cache, and the folder that it is read from and written to.
#[derive(Debug)]
pub(super) struct VerdictCache {
    folder: Option<PathBuf>,
    contents: Contents,
    is_dirty: bool,
}

impl VerdictCache {
    /// Reads the cache of a folder. A missing or broken file counts as empty.
    pub(super) fn read(folder: Option<&Path>) -> Self {
        let contents = folder.map(|folder| {
            read(&folder.join(FILE)).unwrap_or_else(|why| {
                let folder = folder.display();
                tracing::debug!("no verdicts of probes are cached in {folder}: {why}");
                Contents::default()
            })
        });
        let contents = contents.filter(|contents| contents.format == FORMAT).unwrap_or_default();
        Self { folder: folder.map(Path::to_owned), contents, is_dirty: false }
    }

    /// True if the cache has no verdict.
    pub(super) fn is_empty(&self) -> bool {
        self.contents.verdicts.is_empty()
    }

    pub(super) fn verdict(&mut self, key: &str) -> Option<Verdict> {
        get(&mut self.contents.verdicts, key)
    }

    pub(super) fn digest(&mut self, state: &str) -> Option<String> {
        get(&mut self.contents.digests, state)
    }

    /// True if the cache has the digest of a file of this length.
    pub(super) fn knows_length(&self, length: u64) -> bool {
        self.contents.digests.iter().any(|(state, _)| length_of(state) == Some(length))
    }

    pub(super) fn insert_verdict(&mut self, key: &str, verdict: Verdict) {
        put(&mut self.contents.verdicts, key, verdict);
        self.is_dirty = true;
    }

    pub(super) fn insert_digest(&mut self, state: &str, digest: &str) {
        put(&mut self.contents.digests, state, digest.to_owned());
        self.is_dirty = true;
    }

    /// Writes the file if an entry is new. If that fails, the next start probes these versions again.
    pub(super) fn save(&mut self) {
        let Some(folder) = self.folder.clone().filter(|_| self.is_dirty) else { return };
        self.is_dirty = false;
        if let Err(why) = self.write(&folder) {
            let folder = folder.display();
            tracing::warn!(
                "verdicts of probes can not be cached in {folder}, so the next start probes again; \
                 --probe-cache names another folder: {why}"
            );
        }
    }

    fn write(&mut self, folder: &Path) -> Result<(), String> {
        let words = |error: std::io::Error| error.to_string();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(words)?;
        let file = folder.join(FILE);
        // Another server may have written in the meantime.
        let theirs = read(&file).ok().filter(|theirs| theirs.format == FORMAT).unwrap_or_default();
        let ours = std::mem::replace(&mut self.contents, theirs);
        ours.verdicts.into_iter().for_each(|(key, it)| put(&mut self.contents.verdicts, &key, it));
        ours.digests.into_iter().for_each(|(key, it)| put(&mut self.contents.digests, &key, it));
        self.contents.format = FORMAT;
        let bytes = serde_json::to_vec(&self.contents).map_err(|error| error.to_string())?;
        write_atomically(&file, &bytes).map_err(|error| error.to_string())
    }
}

fn read(file: &Path) -> Result<Contents, String> {
    let mut bytes = Vec::new();
    let file = File::open(file).map_err(|error| error.to_string())?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// Returns the entry of a key, and moves it to the end.
fn get<T: Clone>(entries: &mut Vec<(String, T)>, key: &str) -> Option<T> {
    let index = entries.iter().position(|(other, _)| other == key)?;
    let entry = entries.remove(index);
    let found = entry.1.clone();
    entries.push(entry);
    Some(found)
}

fn put<T>(entries: &mut Vec<(String, T)>, key: &str, value: T) {
    entries.retain(|(other, _)| other != key);
    entries.push((key.to_owned(), value));
    let excess = entries.len().saturating_sub(ENTRIES_MAX);
    entries.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Verdict {
        let (survived, crashed) = ([vec![(0, 0)]].into(), [vec![(0, 1), (1, 1)]].into());
        Verdict::Runs { zero_trials: ZeroTrials { survived, crashed }, rows: None }
    }

    #[test]
    fn entries_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/cache");
        let mut first = VerdictCache::read(Some(&folder));
        assert!(first.is_empty());
        first.insert_verdict("a", runs());
        first.insert_verdict("b", Verdict::Crashes("it ended".into()));
        first.insert_digest("state", "digest");
        first.save();
        let mut second = VerdictCache::read(Some(&folder));
        assert_eq!(second.verdict("a"), Some(runs()));
        assert_eq!(second.verdict("b"), Some(Verdict::Crashes("it ended".into())));
        assert_eq!(second.verdict("c"), None);
        assert_eq!(second.digest("state").as_deref(), Some("digest"));
    }

    #[test]
    fn two_servers_keep_each_others_entries() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = VerdictCache::read(Some(folder.path()));
        let mut other = VerdictCache::read(Some(folder.path()));
        one.insert_verdict("a", runs());
        one.save();
        other.insert_verdict("b", runs());
        other.save();
        let mut after = VerdictCache::read(Some(folder.path()));
        assert!(after.verdict("a").is_some() && after.verdict("b").is_some());
    }

    #[test]
    fn a_broken_file_counts_as_empty_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for broken in ["", "{", "[]", "\u{0}", r#"{"format":4,"verdicts":[],"digests":[]}"#] {
            std::fs::write(&file, broken).unwrap();
            let mut cache = VerdictCache::read(Some(folder.path()));
            assert!(cache.is_empty(), "{broken}");
            cache.insert_verdict("a", runs());
            cache.save();
            assert_eq!(VerdictCache::read(Some(folder.path())).verdict("a"), Some(runs()));
        }
    }

    #[test]
    fn the_least_recently_used_entry_is_evicted() {
        let mut cache = VerdictCache::read(None);
        for key in 0..ENTRIES_MAX {
            cache.insert_verdict(&key.to_string(), runs());
        }
        assert!(cache.verdict("0").is_some());
        cache.insert_verdict("new", runs());
        assert!(cache.verdict("0").is_some() && cache.verdict("1").is_none());
    }
}
