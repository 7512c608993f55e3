//! Takes versions out of service, and frees them when no request holds them any more.

use super::super::Status;
use super::super::lifecycle::State;
use super::Updater;
use super::model_state::{InService, Origin};
use skysail_kernels::give_back_ends;
use std::sync::Arc;

impl Updater {
    pub(super) fn unload_version(&mut self, name: &str, version: u64) {
        self.shared.serving.remove(name, version);
        let state = self.models.entry(name.into()).or_default();
        if let Some(in_service) = state.serving.remove(&version) {
            self.retire(in_service);
            self.set_status(name, version, State::Unloading, "");
        }
    }

    /// Takes a version that left the map out of service. What waits for it runs at once.
    pub(super) fn retire(&mut self, in_service: InService) {
        in_service.endpoint.model().queue().expect_no_more();
        self.retiring.push(in_service);
    }

    pub(super) fn unload_all(&mut self, name: &str) {
        let Some(state) = self.models.get(name) else { return };
        let versions: Vec<u64> = state.serving.keys().copied().collect();
        versions.into_iter().for_each(|version| self.unload_version(name, version));
    }

    /// Takes back the loads of a model that wait. Those that run go on, and their results are
    /// dropped if they do not fit the goal.
    pub(super) fn withdraw_loads(&mut self, name: &str) {
        for version in self.withdraw(name) {
            self.clear_loading(name, version);
        }
    }

    /// Takes back the loads of a model that wait, and returns their versions. They keep the status
    /// LOADING.
    pub(super) fn withdraw(&mut self, name: &str) -> Vec<u64> {
        let Some(state) = self.models.get_mut(name) else { return Vec::new() };
        let pool = &self.pool;
        let is_withdrawn = |version: &u64, _: &mut Origin| pool.withdraw(name, *version);
        state.loading.extract_if(.., is_withdrawn).map(|(version, _)| version).collect()
    }

    /// Frees retired versions that no request holds any more. So that never happens on a request's
    /// thread.
    pub(super) fn free_retired(&mut self) {
        let in_use = |s: &mut InService| {
            let model = Arc::strong_count(s.endpoint.model());
            // A run whose client has left goes on for a while, and nobody is to wait for its thread.
            Arc::strong_count(&s.endpoint) > 1
                || s.endpoint.model().busy() > 0
                || model > 1 + s.endpoint.model().queue().threads()
        };
        let free = self.retiring.extract_if(.., |s| !in_use(s)).collect::<Vec<_>>();
        for in_service in free {
            self.free(in_service);
            self.heap.note_change();
        }
        let retiring = &self.retiring;
        let is_done = |(name, _): &mut (String, _)| {
            !retiring.iter().any(|s| **s.endpoint.model().name() == **name)
        };
        for (_, done) in self.unloading.extract_if(.., is_done) {
            // The client may have left.
            drop(done.send(Ok(())));
        }
    }

    fn free(&self, in_service: InService) {
        let _running = self.shared.loading.start();
        let InService { endpoint, .. } = in_service;
        let model = endpoint.model();
        model.queue().close();
        model.queue().wait_until_ended();
        let (name, version) = (model.name().clone(), model.version());
        give_back_ends(|| drop(endpoint));
        tracing::info!("model '{name}' version {version} is unloaded");
        let mut status = self.shared.status.write();
        let key = (name.to_string(), version);
        if status.get(&key).is_some_and(|status| status.state == State::Unloading) {
            match self.models.get(&key.0).is_some_and(|state| state.is_on_disk(version)) {
                true => status.insert(key, Status::unloaded()),
                false => status.remove(&key),
            };
        }
    }

    /// Gives all loads up, and runs at once what waits. Clients of loads are told by the end of
    /// their channels.
    pub(super) fn begin_to_stop(&mut self) {
        self.is_stopping = true;
        self.next_scan = None;
        self.pool.stop();
        self.unloading.clear();
        self.models.values_mut().for_each(|state| drop(state.take_clients()));
        self.in_service().for_each(|s| s.endpoint.model().queue().expect_no_more());
    }

    /// Refuses all requests that wait, and all that come.
    pub(super) fn refuse_all(&self) {
        let retiring = self.retiring.iter();
        let all = self.in_service().chain(retiring);
        all.for_each(|s| s.endpoint.model().queue().refuse_all("the server is stopping"));
    }

    fn in_service(&self) -> impl Iterator<Item = &InService> {
        self.models.values().flat_map(|state| state.serving.values())
    }

    /// Ends all loads, and frees everything.
    pub(super) fn stop(mut self) {
        self.pool.close();
        while let Ok(event) = self.inbox.try_recv() {
            if let super::Event::Loaded(loaded) = event {
                self.retiring.extend(loaded.result);
            }
        }
        let names: Vec<String> = self.models.keys().cloned().collect();
        names.iter().for_each(|name| self.unload_all(name));
        std::mem::take(&mut self.retiring).into_iter().for_each(|s| self.free(s));
    }
}
