//! Object stores whose models are copied to this machine.

use super::StoreStatus;
use crate::config::{Config, Control};
use anyhow::{Result, anyhow};
use skysail_engine::repository::{self, Root};
use skysail_store::{Cache, Copied, Follow, Mirror, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The mirrors of all places in stores, and their cache.
pub(crate) struct Stores {
    folder: PathBuf,
    bytes_max: u64,
    follow: Follow,
    cache: Option<Arc<Cache>>,
    mirrors: Vec<Arc<Mirror>>,
}

/// A mirror as the engine sees it.
struct Seen {
    mirror: Arc<Mirror>,
    copy: PathBuf,
}

/// Checks that a URL is one of a store, and that the environment suffices to open it.
///
/// # Errors
/// Names the URL and the problem.
pub(crate) fn check(url: &str) -> Result<()> {
    Place::open(url).map(drop).map_err(|problem| anyhow!("{url}: {problem}"))
}

impl Stores {
    pub(crate) fn new(config: &Config) -> Self {
        let store = &config.store;
        let follow = match config.repository.model_control {
            Control::None => Follow::Once,
            Control::Poll => Follow::Changes(Duration::from_millis(store.poll_ms)),
            Control::Explicit => Follow::ByName,
        };
        let (folder, bytes_max) = (store.cache.clone(), store.cache_bytes_max);
        Self { folder, bytes_max, follow, cache: None, mirrors: Vec::new() }
    }

    /// Starts to copy a place: a repository, or the model of this name.
    ///
    /// # Errors
    /// The place can not be opened, or the cache not be used.
    pub(crate) fn open(&mut self, url: &str, model: Option<&str>) -> Result<Root> {
        let with_url = |problem: String| anyhow!("{url}: {problem}");
        let place = Place::open(url).map_err(with_url)?;
        let cache = match &self.cache {
            Some(cache) => Arc::clone(cache),
            None => Cache::open(&self.folder, self.bytes_max)
                .map_err(|problem| anyhow!("--store-cache {problem}"))?,
        };
        self.cache = Some(Arc::clone(&cache));
        let model = model.map(str::to_owned);
        let mirror = Arc::new(Mirror::start(place, model.clone(), cache, self.follow)?);
        self.mirrors.push(Arc::clone(&mirror));
        let (label, copy) = (mirror.label().to_owned(), mirror.copy());
        Ok(Root::mirrored(label, model, Arc::new(Seen { mirror, copy })))
    }

    /// State of each store.
    pub(crate) fn status(&self) -> Vec<StoreStatus> {
        let status = |mirror: &Arc<Mirror>| StoreStatus {
            label: mirror.label().to_owned(),
            is_up: !mirror.is_away(),
            downloaded: mirror.downloaded(),
        };
        self.mirrors.iter().map(status).collect()
    }

    /// Bytes of the cache, if there is one.
    pub(crate) fn cache_bytes(&self) -> Option<u64> {
        self.cache.as_ref().map(|cache| cache.bytes())
    }
}

impl repository::Mirror for Seen {
    fn copy(&self) -> &Path {
        &self.copy
    }

    fn models(&self) -> BTreeMap<String, Option<String>> {
        self.mirror.models()
    }

    fn state(&self) -> repository::Copied {
        match self.mirror.state() {
            Copied::All => repository::Copied::All,
            Copied::NotYet(reason) => repository::Copied::NotYet(reason),
            Copied::Before(reason) => repository::Copied::Before(reason),
        }
    }

    fn fetch(&self, model: &str) -> Result<(), String> {
        self.mirror.fetch(model)
    }
}
