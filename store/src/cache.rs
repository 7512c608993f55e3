//! The bounded store of contents on this machine, each under its digest.
//!
//! Contents that are in use have a second link, in the copy of a model. So the number of links tells
//! what may be removed.

use crate::digest;
pub(crate) use held::{Held, Reservation};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use tokio::sync::OwnedMutexGuard;

mod held;
#[cfg(test)]
mod tests;

/// Contents of objects, with a limit on all of them together.
pub struct Cache {
    folder: PathBuf,
    bytes_max: u64,
    /// Locked as long as this process uses the folder.
    _lock: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes by the name of the partial file that they are meant for.
    reserved: HashMap<String, u64>,
    /// Contents that this process has read as a whole.
    verified: HashSet<String>,
    /// Number of models in the making that need a content, by its digest.
    held: HashMap<String, usize>,
    /// Locks of objects' states that are being downloaded.
    downloading: HashMap<String, Weak<tokio::sync::Mutex<()>>>,
}

impl Cache {
    /// Opens a folder, which no other process may use at the same time.
    ///
    /// # Errors
    /// The folder can not be made, or another process uses it.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Arc<Self>, String> {
        let with_path = |error: io::Error| format!("{}: {error}", folder.display());
        for name in ["contents", "partial", "known", "copies", "views"] {
            fs::create_dir_all(folder.join(name)).map_err(with_path)?;
        }
        let lock = File::create(folder.join("lock")).map_err(with_path)?;
        lock.try_lock().map_err(|_| {
            format!("{} is used by another process: give this one another folder", folder.display())
        })?;
        // Paths of copies are compared with links that lead to them.
        let folder = folder.canonicalize().map_err(with_path)?;
        let cache = Self { folder, bytes_max, _lock: lock, state: Mutex::default() };
        cache.forget_lost();
        Ok(Arc::new(cache))
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        let files = |name| files(&self.folder.join(name));
        files("contents").chain(files("partial")).map(|(_, metadata)| metadata.len()).sum()
    }

    /// Folder for the copies of models.
    pub(crate) fn copies(&self) -> PathBuf {
        self.folder.join("copies")
    }

    /// Folder for the links by which models are found.
    pub(crate) fn views(&self) -> PathBuf {
        self.folder.join("views")
    }

    /// Path of a content.
    pub(crate) fn content(&self, digest: &str) -> PathBuf {
        self.folder.join("contents").join(digest)
    }

    /// Path of an unfinished download of an object's state.
    pub(crate) fn partial(&self, state: &str) -> PathBuf {
        self.folder.join("partial").join(digest::of_text(state))
    }

    /// Waits until nobody else downloads an object's state, and keeps others from it.
    pub(crate) async fn lock(&self, state: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let locks = &mut self.state.lock().downloading;
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(state).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(state.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    /// Content of an object's state that was downloaded before and is still here, as a whole.
    pub(crate) fn known(self: &Arc<Self>, state: &str, stopping: &AtomicBool) -> Option<Held> {
        let note = self.note(state);
        let held = Held::new(self, &fs::read_to_string(&note).ok()?);
        match self.is_sound(held.digest(), stopping) {
            Ok(true) => return Some(held),
            Ok(false) => drop(fs::remove_file(note)),
            // It may be sound: the note stays.
            Err(_) => {}
        }
        None
    }

    /// Takes a finished download, and remembers that it is the content of an object's state.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        state: &str,
        digest: &str,
        stopping: &AtomicBool,
    ) -> io::Result<Held> {
        let (partial, content) = (self.partial(state), self.content(digest));
        let held = Held::new(self, digest);
        if self.is_sound(digest, stopping).unwrap_or(false) {
            fs::remove_file(partial)?;
        } else {
            fs::rename(partial, &content)?;
            self.state.lock().verified.insert(digest.to_owned());
        }
        fs::write(self.note(state), digest)?;
        Ok(held)
    }

    /// True if every file of a copy is a content of this cache that can still be read as it was.
    pub(crate) fn verify_copy(&self, copy: &Path, stopping: &AtomicBool) -> bool {
        let contents: HashMap<u64, String> = files(&self.folder.join("contents"))
            .map(|(name, metadata)| (metadata.ino(), name))
            .collect();
        let is_sound = |file: &Metadata| {
            let digest = contents.get(&file.ino());
            digest.is_some_and(|digest| self.is_sound(digest, stopping).unwrap_or(false))
        };
        all_files(copy).iter().all(|(_, metadata)| is_sound(metadata))
    }

    /// Makes room for a download, by removing what is not in use.
    ///
    /// # Errors
    /// There is not enough room.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        state: &str,
        bytes: u64,
    ) -> Result<Reservation, String> {
        let name = digest::of_text(state);
        let mut shared = self.state.lock();
        let partials = || files(&self.folder.join("partial"));
        let is_wanted =
            |partial: &str, state: &State| partial == name || state.reserved.contains_key(partial);
        let mut total: u64 =
            shared.reserved.values().fold(bytes, |sum, more| sum.saturating_add(*more));
        let stale: Vec<_> = partials().filter(|(name, _)| !is_wanted(name, &shared)).collect();
        let contents: Vec<_> = files(&self.folder.join("contents")).collect();
        let on_disk = stale.iter().chain(&contents).map(|(_, metadata)| metadata.len());
        total = on_disk.fold(total, u64::saturating_add);
        // What went out of use longest ago goes first.
        let (used, mut unused): (Vec<_>, Vec<_>) = contents
            .into_iter()
            .partition(|(name, m)| m.nlink() > 1 || shared.held.contains_key(name));
        let in_use: u64 = used.iter().map(|(_, metadata)| metadata.len()).sum();
        unused.sort_by_key(|(_, metadata)| (metadata.ctime(), metadata.ctime_nsec()));
        let stale = stale.into_iter().map(|file| ("partial", file));
        for (folder, (name, metadata)) in
            stale.chain(unused.into_iter().map(|file| ("contents", file)))
        {
            if total <= self.bytes_max {
                break;
            }
            if fs::remove_file(self.folder.join(folder).join(&name)).is_ok() {
                total = total.saturating_sub(metadata.len());
                shared.verified.remove(&name);
            }
        }
        if total > self.bytes_max {
            let max = self.bytes_max;
            return Err(format!(
                "{bytes} bytes more do not fit into the cache of {max} bytes, of which {in_use} are in \
                 use: make it larger"
            ));
        }
        shared.reserved.insert(name.clone(), bytes);
        Ok(Reservation { cache: Arc::clone(self), name })
    }

    /// True if a content is here and its bytes have its digest. Each is read once.
    ///
    /// # Errors
    /// The content can not be read, or not before the stop.
    fn is_sound(&self, digest: &str, stopping: &AtomicBool) -> io::Result<bool> {
        let path = self.content(digest);
        if self.state.lock().verified.contains(digest) && path.is_file() {
            return Ok(true);
        }
        match digest::of_file(&path, stopping) {
            Ok(found) if found == digest => {
                self.state.lock().verified.insert(found);
                Ok(true)
            }
            Ok(_) => {
                tracing::warn!("{} has changed on disk, so it is downloaded again", path.display());
                drop(fs::remove_file(path));
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn note(&self, state: &str) -> PathBuf {
        self.folder.join("known").join(digest::of_text(state))
    }

    /// Forgets the states of objects whose contents are gone.
    fn forget_lost(&self) {
        for (name, _) in files(&self.folder.join("known")) {
            let note = self.folder.join("known").join(name);
            let is_here =
                fs::read_to_string(&note).is_ok_and(|digest| self.content(&digest).is_file());
            if !is_here {
                drop(fs::remove_file(note));
            }
        }
    }
}

/// Files directly in a folder.
fn files(folder: &Path) -> impl Iterator<Item = (String, Metadata)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
        Some((entry.file_name().into_string().ok()?, metadata))
    })
}

/// All files below a folder of our own making, by their path in it.
pub(crate) fn all_files(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).into_iter().flatten().flatten() {
            let path = below.join(entry.file_name());
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) => found.push((path, metadata)),
                Err(_) => {}
            }
        }
    }
    found
}
