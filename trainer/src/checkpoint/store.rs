//! The folder of a job's checkpoints, of which the last two are kept.

use super::file;
use super::{Checkpoint, CheckpointError};
use skysail_graph::{GraphError, write_atomically};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Number of kept checkpoints: a second one in case the last is damaged on disk.
const KEPT: usize = 2;
const EXTENSION: &str = ".checkpoint";
/// Upper limit of a checkpoint's size in bytes.
const BYTES_MAX: u64 = 32 << 30;

type Write = fn(&Path, &[u8]) -> Result<(), GraphError>;

/// The checkpoints of a job.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    write: Write,
}

/// The latest readable checkpoint.
#[derive(Debug)]
pub struct LatestCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Path of the file.
    pub path: PathBuf,
    /// Errors of later checkpoints that cannot be used.
    pub damaged: Vec<CheckpointError>,
}

impl Store {
    /// The checkpoints in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), write: write_atomically }
    }

    /// Writes a checkpoint, then removes later ones and all but the last two.
    ///
    /// # Errors
    /// `Write` when it cannot be written; earlier ones are then unchanged.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let io = |source| CheckpointError::Io { path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        let path = self.folder.join(format!("{:012}{EXTENSION}", checkpoint.info.steps));
        let bytes = checkpoint.to_bytes()?;
        (self.write)(&path, &bytes).map_err(CheckpointError::Write)?;
        // Later checkpoints are damaged, as this job resumed from an earlier one.
        let (earlier, later) = self.paths()?.into_iter().partition::<Vec<_>, _>(|at| *at <= path);
        for stale in later.into_iter().chain(earlier.into_iter().rev().skip(KEPT)) {
            // A file that cannot be removed only takes space; the next save tries again.
            let _ = std::fs::remove_file(stale);
        }
        Ok(path)
    }

    /// Loads the latest undamaged checkpoint; `None` if there is no file.
    ///
    /// # Errors
    /// Returns the error of the latest file, when none is readable.
    pub fn latest(&self) -> Result<Option<LatestCheckpoint>, CheckpointError> {
        let mut damaged = Vec::new();
        for path in self.paths()?.into_iter().rev() {
            match load(&path) {
                Ok(checkpoint) => return Ok(Some(LatestCheckpoint { checkpoint, path, damaged })),
                Err(error) => damaged.push(error),
            }
        }
        damaged.into_iter().next().map_or(Ok(None), Err)
    }

    /// Removes all checkpoints, for a job that starts over.
    ///
    /// # Errors
    /// `Io` when a file cannot be removed.
    pub fn clear(&self) -> Result<(), CheckpointError> {
        self.paths()?.into_iter().try_for_each(|path| {
            std::fs::remove_file(&path).map_err(|source| CheckpointError::Io { path, source })
        })
    }

    /// Paths of all checkpoints, the oldest first.
    fn paths(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let io = |source| CheckpointError::Io { path: self.folder.clone(), source };
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            // Hidden files are temporary ones of a killed process.
            if name.is_some_and(|name| name.ends_with(EXTENSION) && !name.starts_with('.')) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// Loads a file.
fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    file::decode(&bytes).map_err(|error| error.at(path))
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::example;
    use super::*;
    use crate::layout::{EntryKind, Layout};
    use std::io::ErrorKind;

    fn files(store: &Store) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        store.paths().unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn the_last_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("new/folder"));
        assert!(store.latest().unwrap().is_none());
        for steps in [9, 10, 11] {
            store.save(&example(steps)).unwrap();
        }
        assert_eq!(files(&store), ["000000000010.checkpoint", "000000000011.checkpoint"]);
        assert_eq!(store.latest().unwrap().unwrap().checkpoint, example(11));
        store.clear().unwrap();
        assert!(store.latest().unwrap().is_none());
    }

    #[test]
    fn a_full_disk_keeps_the_last_checkpoint() {
        fn full(path: &Path, _: &[u8]) -> Result<(), GraphError> {
            let source = ErrorKind::StorageFull.into();
            Err(GraphError::Io { action: "write", path: path.to_path_buf(), source })
        }
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(folder.path());
        store.save(&example(1)).unwrap();
        store.save(&example(2)).unwrap();
        store.write = full;
        let message = store.save(&example(3)).unwrap_err().to_string();
        assert!(message.contains("the previous one is unchanged: cannot write"), "{message}");
        assert_eq!(store.latest().unwrap().unwrap().checkpoint, example(2));
        assert_eq!(files(&store).len(), 2);
    }

    #[test]
    fn a_damaged_checkpoint_is_skipped_for_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&example(1)).unwrap();
        let last = store.save(&example(2)).unwrap();
        let bytes = std::fs::read(&last).unwrap();
        std::fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
        std::fs::write(folder.path().join(".000000000003.checkpoint.1-0.tmp"), b"half").unwrap();
        let found = store.latest().unwrap().unwrap();
        assert_eq!(found.checkpoint, example(1));
        let message = found.damaged[0].to_string();
        assert!(message.contains("000000000002.checkpoint is damaged: it has "), "{message}");
        std::fs::write(&found.path, b"no checkpoint").unwrap();
        let message = store.latest().unwrap_err().to_string();
        assert!(message.contains("000000000002.checkpoint is damaged"), "{message}");
    }

    #[test]
    fn resuming_before_a_damaged_checkpoint_leaves_two_good_ones() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&example(100)).unwrap();
        std::fs::write(store.save(&example(200)).unwrap(), b"damaged").unwrap();
        store.save(&example(150)).unwrap();
        assert_eq!(files(&store), ["000000000100.checkpoint", "000000000150.checkpoint"]);
    }

    #[test]
    fn a_checkpoint_of_another_job_is_rejected() {
        let mut layout = Layout::default();
        layout.push("w", &[2, 2], EntryKind::Weight);
        let message = example(1).check(&layout, "d", "r").unwrap_err().to_string();
        assert!(
            message.contains("parameter 1 is the weight 'b' [2]") && message.contains("nothing"),
            "{message}"
        );
        layout.push("b", &[2], EntryKind::Weight);
        assert!(example(1).check(&layout, "d", "r").is_ok());
        let check = |data, recipe| example(1).check(&layout, data, recipe).unwrap_err();
        assert!(matches!(check("e", "r"), CheckpointError::OtherData));
        assert!(matches!(check("d", "s"), CheckpointError::OtherRecipe));
    }
}
