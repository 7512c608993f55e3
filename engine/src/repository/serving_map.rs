//! Which versions serve: read by every request without a lock, replaced as a whole by the thread
//! that updates it.

use crate::endpoint::Endpoint;
use crate::error::Error;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The versions of one model that serve, at least one.
type Versions = BTreeMap<u64, Arc<Endpoint>>;

/// A map from names to versions in service.
#[derive(Default)]
pub(crate) struct ServingMap {
    models: ArcSwap<HashMap<String, Versions>>,
}

impl ServingMap {
    /// The version asked for, or the newest; `None` when the model has none in service.
    pub(crate) fn lookup(
        &self,
        name: &str,
        version: Option<u64>,
    ) -> Result<Option<Arc<Endpoint>>, Error> {
        let models = self.models.load();
        let Some(versions) = models.get(name) else { return Ok(None) };
        let found = match version {
            Some(version) => versions.get(&version),
            None => versions.last_key_value().map(|(_, newest)| newest),
        };
        found.cloned().map(Some).ok_or_else(|| Error::VersionNotFound {
            model: name.into(),
            version: version.unwrap_or_default(),
            serving: versions.keys().map(u64::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// Every version in service, by name and version.
    pub(crate) fn all(&self) -> Vec<Arc<Endpoint>> {
        let models = self.models.load();
        let mut all: Vec<_> = models.values().flat_map(BTreeMap::values).cloned().collect();
        all.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        all
    }

    /// Puts a version into service and gives the one that it replaces.
    pub(crate) fn insert(&self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let mut models = HashMap::clone(&self.models.load());
        let versions = models.entry(endpoint.name().to_string()).or_default();
        let replaced = versions.insert(endpoint.version(), endpoint);
        self.models.store(Arc::new(models));
        replaced
    }

    /// Takes a version out of service.
    pub(crate) fn remove(&self, name: &str, version: u64) -> Option<Arc<Endpoint>> {
        let mut models = HashMap::clone(&self.models.load());
        let versions = models.get_mut(name)?;
        let removed = versions.remove(&version);
        if versions.is_empty() {
            models.remove(name);
        }
        self.models.store(Arc::new(models));
        removed
    }
}
