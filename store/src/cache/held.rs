//! Holds of what a model in the making needs, so that nothing of it is removed before it is shown.

use super::Cache;
use std::sync::Arc;

/// Room for a content that is being downloaded.
pub(crate) struct Reservation {
    pub(super) cache: Arc<Cache>,
    pub(super) name: String,
}

/// A content that stays in the cache as long as this lives.
pub(crate) struct Held {
    cache: Arc<Cache>,
    digest: String,
}

impl Held {
    /// Holds a content, also one that is not there yet.
    pub(super) fn new(cache: &Arc<Cache>, digest: &str) -> Self {
        *cache.state.lock().held.entry(digest.to_owned()).or_default() += 1;
        Self { cache: Arc::clone(cache), digest: digest.to_owned() }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        if let Some(holders) = state.held.get_mut(&self.digest) {
            *holders -= 1;
            if *holders == 0 {
                state.held.remove(&self.digest);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.cache.state.lock().reserved.remove(&self.name);
    }
}
