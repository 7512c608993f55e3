//! The versions that serve under one name, and the rule that chooses among them.

use super::Endpoint;
use skysail_policy::select::Selection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ready versions of one model, and the rule that chooses one for each request.
#[derive(Clone, Default)]
pub(crate) struct Route {
    selection: Arc<Selection>,
    versions: BTreeMap<u64, Arc<Endpoint>>,
}

impl Route {
    /// A route with a rule and no version yet.
    #[cfg(test)]
    pub(crate) fn new(selection: Selection) -> Self {
        Self { selection: Arc::new(selection), versions: BTreeMap::new() }
    }

    /// Chooses the endpoint of a request. `key` is a hash of what stays the same between requests
    /// of one client. A version that the client names goes before the rule.
    pub(crate) fn choose(&self, version: Option<u64>, key: u64) -> Option<&Arc<Endpoint>> {
        let ready = self.versions.keys().copied();
        let chosen = match version {
            Some(version) => Selection::Named(version).choose(key, ready),
            None => self.selection.choose(key, ready),
        };
        self.versions.get(&chosen?)
    }

    /// Adds a version. Returns the one that it replaces.
    pub(crate) fn insert(&mut self, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        endpoint.report_to(&self.selection);
        self.versions.insert(endpoint.version(), endpoint)
    }

    /// Removes a version.
    pub(crate) fn remove(&mut self, version: u64) -> Option<Arc<Endpoint>> {
        self.versions.remove(&version)
    }

    /// Endpoints of all versions, oldest first.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.versions.values()
    }

    /// Numbers of all versions, oldest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &u64> {
        self.versions.keys()
    }

    /// True if no version serves.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::executor::puppet::{echo, puppet};
    use crate::model::{Description, Model};
    use crate::replica::Replica;
    use crate::testing::batches;
    use skysail_policy::select::Share;

    fn endpoint(version: u64) -> Arc<Endpoint> {
        let (signature, batching) = batches(0);
        let description = Description::new("m", version, Arc::new(signature), batching);
        let description = Description { config: ModelConfig::default(), ..description };
        let replica = Replica::direct(puppet(|inputs| Ok(echo(inputs))));
        let model = Model::new(description, vec![replica]);
        Arc::new(Endpoint::new(Arc::new(model)).unwrap())
    }

    fn chosen(route: &Route, version: Option<u64>, key: u64) -> Option<u64> {
        route.choose(version, key).map(|endpoint| endpoint.version())
    }

    #[test]
    fn the_newest_version_serves_unless_one_is_named() {
        let mut route = Route::default();
        assert_eq!(chosen(&route, None, 7), None);
        for version in [2, 10, 3] {
            route.insert(endpoint(version));
        }
        assert_eq!((chosen(&route, None, 7), chosen(&route, Some(2), 7)), (Some(10), Some(2)));
        assert_eq!(chosen(&route, Some(4), 7), None);
        route.remove(10);
        assert_eq!(chosen(&route, None, 7), Some(3));
    }

    #[test]
    fn a_client_stays_with_its_version_of_a_split() {
        let share = |version| Share { version, weight: 1.0 };
        let mut route = Route::new(Selection::Split(vec![share(1), share(2)]));
        for version in [1, 2] {
            route.insert(endpoint(version));
        }
        let versions: Vec<_> = (0..100).map(|key| chosen(&route, None, key)).collect();
        assert!(versions.contains(&Some(1)) && versions.contains(&Some(2)));
        let again: Vec<_> = (0..100).map(|key| chosen(&route, None, key)).collect();
        assert_eq!(versions, again);
        route.remove(1);
        assert_eq!(chosen(&route, None, 7), Some(2));
    }
}
