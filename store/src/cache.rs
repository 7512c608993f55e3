//! The bounded store of contents on this machine, each under its digest.
//!
//! Contents that are in use have a second link, in the copy of a model. So the number of links tells
//! what may be removed.

use crate::digest;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
}

/// Room for a content that is being downloaded.
pub(crate) struct Reservation {
    cache: Arc<Cache>,
    name: String,
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

    /// Digest of an object's state that was downloaded before and is still here, as a whole.
    pub(crate) fn known(&self, state: &str) -> Option<String> {
        let note = self.note(state);
        let digest = fs::read_to_string(&note).ok()?;
        if self.is_sound(&digest) {
            return Some(digest);
        }
        drop(fs::remove_file(note));
        None
    }

    /// Takes a finished download, and remembers that it is the content of an object's state.
    pub(crate) fn adopt(&self, state: &str, digest: &str) -> io::Result<()> {
        let (partial, content) = (self.partial(state), self.content(digest));
        if self.is_sound(digest) {
            fs::remove_file(partial)?;
        } else {
            fs::rename(partial, &content)?;
            self.state.lock().verified.insert(digest.to_owned());
        }
        fs::write(self.note(state), digest)
    }

    /// True if every file of a copy is a content of this cache that can still be read as it was.
    pub(crate) fn verify_copy(&self, copy: &Path) -> bool {
        let contents: HashMap<u64, String> = files(&self.folder.join("contents"))
            .map(|(name, metadata)| (metadata.ino(), name))
            .collect();
        let is_sound =
            |file: &Metadata| contents.get(&file.ino()).is_some_and(|digest| self.is_sound(digest));
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
        let in_use: u64 = contents
            .iter()
            .filter(|(_, m)| m.nlink() > 1)
            .map(|(_, metadata)| metadata.len())
            .sum();
        // What went out of use longest ago goes first.
        let mut unused: Vec<_> = contents.into_iter().filter(|(_, m)| m.nlink() == 1).collect();
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
    fn is_sound(&self, digest: &str) -> bool {
        let path = self.content(digest);
        if self.state.lock().verified.contains(digest) && path.is_file() {
            return true;
        }
        match digest::of_file(&path) {
            Ok(found) if found == digest => {
                self.state.lock().verified.insert(found);
                true
            }
            Ok(_) => {
                tracing::warn!("{} has changed on disk, so it is downloaded again", path.display());
                drop(fs::remove_file(path));
                false
            }
            Err(_) => false,
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

impl Drop for Reservation {
    fn drop(&mut self) {
        self.cache.state.lock().reserved.remove(&self.name);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Arc<Cache>, state: &str, bytes: &[u8]) -> Result<String, String> {
        let _room = cache.reserve(state, bytes.len() as u64)?;
        fs::write(cache.partial(state), bytes).unwrap();
        let digest = digest::of_file(&cache.partial(state)).unwrap();
        cache.adopt(state, &digest).unwrap();
        Ok(digest)
    }

    #[test]
    fn what_is_not_in_use_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        let used = put(&cache, "used", &[1; 40]).unwrap();
        fs::hard_link(cache.content(&used), cache.copies().join("x")).unwrap();
        put(&cache, "unused", &[2; 40]).unwrap();
        put(&cache, "next", &[3; 50]).unwrap();
        assert_eq!((cache.known("used"), cache.known("unused")), (Some(used), None));
        assert!(cache.known("next").is_some() && cache.bytes() == 90);
        let error = put(&cache, "large", &[4; 70]).unwrap_err();
        assert!(error.contains("70 bytes more do not fit") && error.contains("40 are in use"));
        assert_eq!(cache.bytes(), 40);
    }

    #[test]
    fn downloads_at_the_same_time_share_the_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        let first = cache.reserve("first", 60).unwrap();
        assert!(cache.reserve("second", 60).is_err());
        drop(first);
        assert!(cache.reserve("second", 60).is_ok());
    }

    #[test]
    fn a_content_that_changed_on_disk_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        let digest = put(&cache, "a", b"abc").unwrap();
        assert_eq!(cache.known("a"), Some(digest.clone()));
        assert!(Cache::open(folder.path(), 100).is_err(), "one process at a time");
        drop(cache);
        fs::write(folder.path().join("contents").join(&digest), b"abd").unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        assert_eq!(cache.known("a"), None);
        assert_eq!(cache.bytes(), 0);
    }
}
