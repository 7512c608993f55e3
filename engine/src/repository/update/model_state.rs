//! State of one model in the updating thread: versions that serve, and those that failed.

use super::super::source::{ModelSource, VersionSource};
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A version in memory, with the threads of its replicas.
pub(super) struct InService {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) origin: Origin,
}

/// File and settings that a version was loaded from.
#[derive(Clone, PartialEq)]
pub(super) struct Origin {
    pub(super) source: VersionSource,
    pub(super) config: ModelConfig,
}

impl Origin {
    /// True if loading the version now would use the same file and settings.
    pub(super) fn matches(&self, source: &ModelSource, version: u64, config: &ModelConfig) -> bool {
        source.versions.get(&version) == Some(&self.source) && self.config == *config
    }
}

/// State of one model.
#[derive(Default)]
pub(super) struct ModelState {
    pub(super) serving: BTreeMap<u64, InService>,
    /// Versions that failed to load. They are not tried again before they change.
    pub(super) failed: BTreeMap<u64, Origin>,
    /// Contents of its folder at the last scan.
    pub(super) last_scan: Option<ModelSource>,
}

impl ModelState {
    /// True if the folder had the version at the last scan.
    pub(super) fn is_on_disk(&self, version: u64) -> bool {
        self.last_scan.as_ref().is_none_or(|last_scan| last_scan.versions.contains_key(&version))
    }

    /// True if the version, as it is now, serves or has failed.
    pub(super) fn is_settled(
        &self,
        source: &ModelSource,
        version: u64,
        config: &ModelConfig,
    ) -> bool {
        let serves = self.serving.get(&version).map(|in_service| &in_service.origin);
        let origins = serves.into_iter().chain(self.failed.get(&version));
        origins.into_iter().any(|origin| origin.matches(source, version, config))
    }
}
