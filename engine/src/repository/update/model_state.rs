//! State of one model in the updating thread: what it is to become, and its versions that serve,
//! load, or have failed.

use super::super::RepositoryError;
use super::super::load_with::LoadWith;
use super::super::source::{ModelSource, VersionSource};
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Sender of a command's result. The client that asked may have left.
pub(in crate::repository) type Done = oneshot::Sender<Result<(), RepositoryError>>;

/// A version in memory.
pub(in crate::repository) struct InService {
    pub(in crate::repository) endpoint: Arc<Endpoint>,
    pub(in crate::repository) origin: Origin,
}

/// File and settings that a version is loaded from.
#[derive(Clone, PartialEq)]
pub(in crate::repository) struct Origin {
    pub(in crate::repository) source: VersionSource,
    pub(in crate::repository) config: ModelConfig,
}

impl Origin {
    /// The origin of a version of a folder; `None` if the folder lacks the version or its settings.
    pub(super) fn of(source: &ModelSource, version: u64) -> Option<Self> {
        let config = source.config.as_ref().ok()?.clone();
        Some(Self { source: source.versions.get(&version)?.clone(), config })
    }

    /// True if loading the version now would use the same file and settings.
    pub(super) fn matches(&self, source: &ModelSource, version: u64) -> bool {
        let config = source.config.as_ref().ok();
        source.versions.get(&version) == Some(&self.source) && config == Some(&self.config)
    }

    /// Bytes of the version's files.
    pub(in crate::repository) fn bytes(&self) -> u64 {
        self.source.fingerprint.iter().fold(0, |sum, file| sum.saturating_add(file.length))
    }
}

/// A load by name that waits for the one before it.
pub(super) struct NextLoad {
    pub(super) with: LoadWith,
    pub(super) done: Done,
}

/// A load by name whose files are to be copied from elsewhere first.
pub(super) struct Fetching {
    pub(super) load: NextLoad,
    /// True once the copying for this load has begun, and not for one before it.
    pub(super) has_begun: bool,
}

/// State of one model.
#[derive(Default)]
pub(super) struct ModelState {
    /// Folder that the versions are to follow; `None` if none is to serve.
    pub(super) goal: Option<Arc<ModelSource>>,
    pub(super) serving: BTreeMap<u64, InService>,
    /// Versions that wait to be loaded or are. Each is loaded once at a time.
    pub(super) loading: BTreeMap<u64, Origin>,
    /// Versions that failed to load. They are not tried again before they change.
    pub(super) failed: BTreeMap<u64, Origin>,
    /// True if its folder is gone.
    pub(super) is_gone: bool,
    /// A load by name whose files are being copied from elsewhere.
    pub(super) fetching: Option<Fetching>,
    /// Clients that wait until the goal is reached.
    pub(super) waiting: Vec<Done>,
    /// Loads by name that come after that.
    pub(super) next: VecDeque<NextLoad>,
}

impl ModelState {
    /// True if the folder had the version when it was last read.
    pub(super) fn is_on_disk(&self, version: u64) -> bool {
        let has_version = |goal: &Arc<ModelSource>| goal.versions.contains_key(&version);
        !self.is_gone && self.goal.as_ref().is_none_or(has_version)
    }

    /// True if nothing of it is being loaded, and no load waits.
    pub(super) fn is_idle(&self) -> bool {
        self.loading.is_empty() && self.fetching.is_none() && self.next.is_empty()
    }

    /// True if the version is being loaded for the goal.
    pub(super) fn loads(&self, version: u64) -> bool {
        let (Some(goal), Some(origin)) = (&self.goal, self.loading.get(&version)) else {
            return false;
        };
        origin.matches(goal, version)
    }

    /// True if the goal has the version in this folder.
    pub(super) fn lies_in(&self, version: u64, folder: &Path) -> bool {
        let source = self.goal.as_ref().and_then(|goal| goal.versions.get(&version));
        source.is_some_and(|source| source.folder == folder)
    }

    /// Takes all clients that wait for a load.
    pub(super) fn take_clients(&mut self) -> Vec<Done> {
        let fetching = self.fetching.take().map(|fetching| fetching.load);
        let next = fetching.into_iter().chain(std::mem::take(&mut self.next));
        let next = next.map(|next| next.done);
        std::mem::take(&mut self.waiting).into_iter().chain(next).collect()
    }
}
