//! What earlier trials showed, in one small file, so that a restart tries nothing again.

use crate::empty::Zeros;
use crate::repository::row_trial::RowTrial;
use serde::{Deserialize, Serialize};
use skysail_graph::write_atomically;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file in the cache's folder.
const FILE: &str = "probes.json";

/// Another number than this is another format, which is not read.
const FORMAT: u32 = 2;

/// Bytes of the largest file that is read.
const BYTES_MAX: u64 = 16 << 20;

/// Verdicts, and files whose digests are known; those used longest ago are forgotten.
const ENTRIES_MAX: usize = 1024;

/// What a trial showed that holds as long as the files and the runtime are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Verdict {
    /// It ended the process, and why it is not loaded.
    Ends(String),
    /// It can not be loaded, for a reason that a load tells.
    Refused,
    /// It loads and runs.
    Lives {
        /// What was seen of dimensions that are zero.
        zeros: Zeros,
        /// What came of rows that were run together and apart.
        rows: Option<RowTrial>,
    },
}

/// All of it, the one used last at the end.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    format: u32,
    /// By the key of what was tried.
    verdicts: Vec<(String, Verdict)>,
    /// Digests of files by their states.
    digests: Vec<(String, String)>,
}

/// What is remembered, and the folder that it comes from and goes to.
#[derive(Debug)]
pub(super) struct Remembered {
    folder: Option<PathBuf>,
    known: Known,
    is_new: bool,
}

impl Remembered {
    /// Reads the file of a folder. One that is missing or broken is as good as empty.
    pub(super) fn read(folder: Option<&Path>) -> Self {
        let known = folder.map(|folder| {
            read(&folder.join(FILE)).unwrap_or_else(|why| {
                let folder = folder.display();
                tracing::debug!("no trials are remembered in {folder}: {why}");
                Known::default()
            })
        });
        let known = known.filter(|known| known.format == FORMAT).unwrap_or_default();
        Self { folder: folder.map(Path::to_owned), known, is_new: false }
    }

    /// Whether nothing was ever tried.
    pub(super) fn is_empty(&self) -> bool {
        self.known.verdicts.is_empty()
    }

    pub(super) fn verdict(&mut self, key: &str) -> Option<Verdict> {
        get(&mut self.known.verdicts, key)
    }

    pub(super) fn digest(&mut self, state: &str) -> Option<String> {
        get(&mut self.known.digests, state)
    }

    pub(super) fn keep_verdict(&mut self, key: &str, verdict: Verdict) {
        put(&mut self.known.verdicts, key, verdict);
        self.is_new = true;
    }

    pub(super) fn keep_digest(&mut self, state: &str, digest: &str) {
        put(&mut self.known.digests, state, digest.to_owned());
        self.is_new = true;
    }

    /// Writes the file, if there is something new. Where that fails, the next start tries again
    /// what this one has tried, and nothing else is lost.
    pub(super) fn save(&mut self) {
        let Some(folder) = self.folder.clone().filter(|_| self.is_new) else { return };
        self.is_new = false;
        if let Err(why) = self.write(&folder) {
            let folder = folder.display();
            tracing::warn!(
                "trials of models can not be remembered in {folder}, so the next start makes them \
                 again; --probe-cache names another folder: {why}"
            );
        }
    }

    fn write(&mut self, folder: &Path) -> Result<(), String> {
        let words = |error: std::io::Error| error.to_string();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(words)?;
        let file = folder.join(FILE);
        // Another server may have written since.
        let theirs = read(&file).ok().filter(|theirs| theirs.format == FORMAT).unwrap_or_default();
        let ours = std::mem::replace(&mut self.known, theirs);
        ours.verdicts.into_iter().for_each(|(key, it)| put(&mut self.known.verdicts, &key, it));
        ours.digests.into_iter().for_each(|(key, it)| put(&mut self.known.digests, &key, it));
        self.known.format = FORMAT;
        let bytes = serde_json::to_vec(&self.known).map_err(|error| error.to_string())?;
        write_atomically(&file, &bytes).map_err(|error| error.to_string())
    }
}

fn read(file: &Path) -> Result<Known, String> {
    let mut bytes = Vec::new();
    let file = File::open(file).map_err(|error| error.to_string())?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// What is under a key, which is now the one used last.
fn get<T: Clone>(entries: &mut Vec<(String, T)>, key: &str) -> Option<T> {
    let index = entries.iter().position(|(known, _)| known == key)?;
    let entry = entries.remove(index);
    let found = entry.1.clone();
    entries.push(entry);
    Some(found)
}

fn put<T>(entries: &mut Vec<(String, T)>, key: &str, value: T) {
    entries.retain(|(known, _)| known != key);
    entries.push((key.to_owned(), value));
    let excess = entries.len().saturating_sub(ENTRIES_MAX);
    entries.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives() -> Verdict {
        let (lived, ended) = ([vec![(0, 0)]].into(), [vec![(0, 1), (1, 1)]].into());
        Verdict::Lives { zeros: Zeros { lived, ended }, rows: None }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/cache");
        let mut first = Remembered::read(Some(&folder));
        assert!(first.is_empty());
        first.keep_verdict("a", lives());
        first.keep_verdict("b", Verdict::Ends("it ended".into()));
        first.keep_digest("state", "digest");
        first.save();
        let mut second = Remembered::read(Some(&folder));
        assert_eq!(second.verdict("a"), Some(lives()));
        assert_eq!(second.verdict("b"), Some(Verdict::Ends("it ended".into())));
        assert_eq!(second.verdict("c"), None);
        assert_eq!(second.digest("state").as_deref(), Some("digest"));
    }

    #[test]
    fn two_servers_do_not_forget_what_the_other_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Remembered::read(Some(folder.path()));
        let mut other = Remembered::read(Some(folder.path()));
        one.keep_verdict("a", lives());
        one.save();
        other.keep_verdict("b", lives());
        other.save();
        let mut after = Remembered::read(Some(folder.path()));
        assert!(after.verdict("a").is_some() && after.verdict("b").is_some());
    }

    #[test]
    fn a_broken_file_is_as_good_as_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for broken in ["", "{", "[]", "\u{0}", r#"{"format":2,"verdicts":[],"digests":[]}"#] {
            std::fs::write(&file, broken).unwrap();
            let mut remembered = Remembered::read(Some(folder.path()));
            assert!(remembered.is_empty(), "{broken}");
            remembered.keep_verdict("a", lives());
            remembered.save();
            assert_eq!(Remembered::read(Some(folder.path())).verdict("a"), Some(lives()));
        }
    }

    #[test]
    fn it_forgets_what_was_used_longest_ago() {
        let mut remembered = Remembered::read(None);
        for key in 0..ENTRIES_MAX {
            remembered.keep_verdict(&key.to_string(), lives());
        }
        assert!(remembered.verdict("0").is_some());
        remembered.keep_verdict("new", lives());
        assert!(remembered.verdict("0").is_some() && remembered.verdict("1").is_none());
    }
}
