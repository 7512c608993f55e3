//! The folder of a job's checkpoints: the last two are kept.

use super::file;
use super::{Checkpoint, CheckpointError};
use skysail_graph::{GraphError, write_atomically};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How many are kept: should the last one be damaged on disk, there is the one before.
const KEPT: usize = 2;
const ENDING: &str = ".checkpoint";
/// The most bytes of a checkpoint.
const BYTES_MAX: u64 = 32 << 30;

type Write = fn(&Path, &[u8]) -> Result<(), GraphError>;

/// The checkpoints of a job.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    write: Write,
}

/// A checkpoint to go on with.
#[derive(Debug)]
pub struct Found {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its file.
    pub path: PathBuf,
    /// Later ones that can not be used, and why.
    pub damaged: Vec<CheckpointError>,
}

impl Store {
    /// Checkpoints in a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), write: write_atomically }
    }

    /// Writes a checkpoint, and then removes later ones and those before the last two.
    ///
    /// # Errors
    /// `Write` when it can not be written: the ones before are then as they were.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
        let io = |source| CheckpointError::Io { path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        let path = self.folder.join(format!("{:012}{ENDING}", checkpoint.about.steps));
        let bytes = checkpoint.to_bytes()?;
        (self.write)(&path, &bytes).map_err(CheckpointError::Write)?;
        // Later ones are damaged: this job went on from before them.
        let (earlier, later) = self.paths()?.into_iter().partition::<Vec<_>, _>(|at| *at <= path);
        for stale in later.into_iter().chain(earlier.into_iter().rev().skip(KEPT)) {
            // What stays takes room, and no more: the next one tries again.
            let _ = std::fs::remove_file(stale);
        }
        Ok(path)
    }

    /// The last checkpoint that is whole; `None` where there never was one.
    ///
    /// # Errors
    /// What is wrong with the last one, when none is whole.
    pub fn latest(&self) -> Result<Option<Found>, CheckpointError> {
        let mut damaged = Vec::new();
        for path in self.paths()?.into_iter().rev() {
            match load(&path) {
                Ok(checkpoint) => return Ok(Some(Found { checkpoint, path, damaged })),
                Err(error) => damaged.push(error),
            }
        }
        damaged.into_iter().next().map_or(Ok(None), Err)
    }

    /// Removes all, for a job that begins anew.
    ///
    /// # Errors
    /// `Io` when one can not be removed.
    pub fn clear(&self) -> Result<(), CheckpointError> {
        self.paths()?.into_iter().try_for_each(|path| {
            std::fs::remove_file(&path).map_err(|source| CheckpointError::Io { path, source })
        })
    }

    /// All files of checkpoints, the oldest first.
    fn paths(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let io = |source| CheckpointError::Io { path: self.folder.clone(), source };
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            // Others are the temporary files of a process that was killed.
            if name.is_some_and(|name| name.ends_with(ENDING) && !name.starts_with('.')) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// The checkpoint of a file.
fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    file::decode(&bytes).map_err(|refusal| refusal.of(path))
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
    fn a_full_disk_keeps_the_last_good_one() {
        fn full(path: &Path, _: &[u8]) -> Result<(), GraphError> {
            let source = ErrorKind::StorageFull.into();
            Err(GraphError::Io { action: "write", path: path.to_path_buf(), source })
        }
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(folder.path());
        store.save(&example(1)).unwrap();
        store.save(&example(2)).unwrap();
        store.write = full;
        let said = store.save(&example(3)).unwrap_err().to_string();
        assert!(said.contains("the last one is as it was: cannot write"), "{said}");
        assert_eq!(store.latest().unwrap().unwrap().checkpoint, example(2));
        assert_eq!(files(&store).len(), 2);
    }

    #[test]
    fn a_damaged_one_gives_way_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&example(1)).unwrap();
        let last = store.save(&example(2)).unwrap();
        let bytes = std::fs::read(&last).unwrap();
        std::fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
        std::fs::write(folder.path().join(".000000000003.checkpoint.1-0.tmp"), b"half").unwrap();
        let found = store.latest().unwrap().unwrap();
        assert_eq!(found.checkpoint, example(1));
        let said = found.damaged[0].to_string();
        assert!(said.contains("000000000002.checkpoint is damaged: it has "), "{said}");
        std::fs::write(&found.path, b"no checkpoint").unwrap();
        let said = store.latest().unwrap_err().to_string();
        assert!(said.contains("000000000002.checkpoint is damaged"), "{said}");
    }

    #[test]
    fn what_went_on_from_before_a_damaged_one_leaves_two_that_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&example(100)).unwrap();
        std::fs::write(store.save(&example(200)).unwrap(), b"damaged").unwrap();
        store.save(&example(150)).unwrap();
        assert_eq!(files(&store), ["000000000100.checkpoint", "000000000150.checkpoint"]);
    }

    #[test]
    fn a_checkpoint_of_another_job_is_refused() {
        let mut layout = Layout::default();
        layout.push("w", &[2, 2], EntryKind::Weight);
        let said = example(1).check(&layout, "d", "r").unwrap_err().to_string();
        assert!(
            said.contains("parameter 1 is the weight 'b' [2]") && said.contains("nothing"),
            "{said}"
        );
        layout.push("b", &[2], EntryKind::Weight);
        assert!(example(1).check(&layout, "d", "r").is_ok());
        let check = |data, recipe| example(1).check(&layout, data, recipe).unwrap_err();
        assert!(matches!(check("e", "r"), CheckpointError::OtherData));
        assert!(matches!(check("d", "s"), CheckpointError::OtherRecipe));
    }
}
