//! Copies of models: folders of links to contents of the cache, each behind a link of the model's
//! name, which is replaced at once.

use crate::cache::{Cache, all_files};
use crate::digest;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the file that says that a place was once copied as a whole.
const COMPLETE: &str = ".complete";

/// Digests of a model's files by their path.
pub(crate) type Files = BTreeMap<String, String>;

/// Copies of the models of one place.
pub(crate) struct Copies {
    cache: Arc<Cache>,
    copies: PathBuf,
    view: PathBuf,
}

impl Copies {
    /// Opens the copies of a place, which may be there from an earlier run.
    ///
    /// # Errors
    /// The folders can not be made.
    pub(crate) fn open(cache: Arc<Cache>, label: &str, model: Option<&str>) -> io::Result<Self> {
        let id = digest::of_text(&format!("{label}\n{}", model.unwrap_or_default()));
        let id = &id[..16];
        let (copies, view) = (cache.copies().join(id), cache.views().join(id));
        fs::create_dir_all(&copies)?;
        fs::create_dir_all(&view)?;
        Ok(Self { cache, copies, view })
    }

    /// Folder with a link for each model.
    pub(crate) fn view(&self) -> &Path {
        &self.view
    }

    /// True if the place was once copied as a whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.view.join(COMPLETE).exists()
    }

    /// Notes that the place is copied as a whole.
    pub(crate) fn set_complete(&self) {
        // Without the note, a restart waits for the store.
        drop(fs::write(self.view.join(COMPLETE), ""));
    }

    /// Names of the models that are copied.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.view).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
        entries.filter_map(name).filter(|name| !name.starts_with('.')).collect()
    }

    /// Removes copies from an earlier run whose files are not as they were. A stop ends it early.
    pub(crate) fn remove_spoiled(&self, stopping: &AtomicBool) {
        for name in self.names() {
            let copy = self.view.join(&name).canonicalize();
            let is_sound = copy.is_ok_and(|copy| self.cache.verify_copy(&copy, stopping));
            if stopping.load(Relaxed) {
                return;
            }
            if !is_sound {
                tracing::warn!("the copy of model '{name}' is spoiled, and removed");
                self.remove(&name);
            }
        }
    }

    /// Shows a model with these files, unless that is what it shows already.
    ///
    /// # Errors
    /// The system can not do it.
    pub(crate) fn show(&self, name: &str, files: &Files) -> io::Result<()> {
        let link = self.view.join(name);
        let shown = link.canonicalize().ok();
        if shown.as_ref().is_some_and(|copy| self.is_copy_of(copy, files)) {
            return Ok(());
        }
        let copy = self.make(name, files)?;
        let unseen = self.view.join(format!(".{name}"));
        match fs::remove_file(&unseen) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&copy, &unseen)?;
        fs::rename(unseen, link)?;
        // The one before may still be read by a load that has begun.
        let keep = [Some(copy), shown];
        self.remove_copies(name, |path| !keep.iter().flatten().any(|kept| kept == path));
        Ok(())
    }

    /// Takes a model away.
    pub(crate) fn remove(&self, name: &str) {
        drop(fs::remove_file(self.view.join(name)));
        self.remove_copies(name, |_| true);
    }

    fn make(&self, name: &str, files: &Files) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let copy = self.copies.join(name).join(now.to_string());
        fs::create_dir_all(&copy)?;
        for (path, digest) in files {
            let file = copy.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::hard_link(self.cache.content(digest), file)?;
        }
        Ok(copy)
    }

    fn is_copy_of(&self, copy: &Path, files: &Files) -> bool {
        let there = all_files(copy);
        let is_same = |path: &str, digest: &str| {
            let content = fs::metadata(self.cache.content(digest));
            let found = there.iter().find(|(there, _)| there == Path::new(path));
            content.is_ok_and(|content| found.is_some_and(|(_, file)| file.ino() == content.ino()))
        };
        there.len() == files.len() && files.iter().all(|(path, digest)| is_same(path, digest))
    }

    fn remove_copies(&self, name: &str, is_over: impl Fn(&Path) -> bool) {
        let entries = fs::read_dir(self.copies.join(name)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| is_over(path)) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!("{} can not be removed: {error}", path.display());
            }
        }
    }
}
