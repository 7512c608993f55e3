//! The versions that serve. Every request reads the map without a lock; the thread that updates
//! the repository replaces it as a whole.

use crate::endpoint::{Endpoint, Route};
use crate::error::Error;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;

/// Routes by the names of their models; none is empty.
#[derive(Default)]
pub(crate) struct ServingMap {
    routes: ArcSwap<HashMap<String, Route>>,
}

impl ServingMap {
    /// Finds the endpoint of a request; `None` if no version of the model serves. See
    /// [`Route::choose`].
    ///
    /// # Errors
    /// When the named version does not serve.
    pub(crate) fn lookup(
        &self,
        name: &str,
        version: Option<u64>,
        key: u64,
    ) -> Result<Option<Arc<Endpoint>>, Error> {
        let routes = self.routes.load();
        let Some(route) = routes.get(name) else { return Ok(None) };
        route.choose(version, key).cloned().map(Some).ok_or_else(|| Error::VersionNotFound {
            model: name.into(),
            version: version.unwrap_or_default(),
            serving: route.versions().map(u64::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// All endpoints, by name and version.
    pub(crate) fn all(&self) -> Vec<Arc<Endpoint>> {
        let routes = self.routes.load();
        let mut all: Vec<_> = routes.values().flat_map(Route::endpoints).cloned().collect();
        all.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        all
    }

    /// Lets a version serve. Returns the one that it replaces.
    pub(crate) fn insert(&self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let mut routes = HashMap::clone(&self.routes.load());
        let route = routes.entry(endpoint.name().to_string()).or_default();
        let replaced = route.insert(endpoint);
        self.routes.store(Arc::new(routes));
        replaced
    }

    /// Ends the service of a version.
    pub(crate) fn remove(&self, name: &str, version: u64) -> Option<Arc<Endpoint>> {
        let mut routes = HashMap::clone(&self.routes.load());
        let route = routes.get_mut(name)?;
        let removed = route.remove(version);
        if route.is_empty() {
            routes.remove(name);
        }
        self.routes.store(Arc::new(routes));
        removed
    }
}
