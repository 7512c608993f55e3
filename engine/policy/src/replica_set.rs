//! The replicas of one version: their states, their batches in flight, and the choice of the one
//! that takes the next batch.
//!
//! The replica with the least predicted finish takes the batch, as if each ran batches one by one
//! (shortest expected delay; Nelson and Philips 1989).

/// Identity of a replica within its set. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u64);

/// Class of a replica. Replicas of one class share their learned run times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

/// Properties that a replica declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Class whose run times it shares.
    pub class: ClassId,
    /// Batches that it takes at a time; 0 counts as 1.
    pub in_flight_max: usize,
    /// True if a short batch may run on the thread of a caller.
    pub runs_inline: bool,
}

impl Default for Traits {
    /// A local session: one batch at a time, and short ones on the caller's thread.
    fn default() -> Self {
        Self { class: ClassId::default(), in_flight_max: 1, runs_inline: true }
    }
}

/// State of a replica.
///
/// ```text
/// Starting → Ready ⇄ Ejected
///     └────────┴────────┴──→ Draining → Gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// It is being made, and takes no batch yet.
    Starting,
    /// It takes batches.
    Ready,
    /// It failed, and takes no batch before a time.
    Ejected {
        /// Time from which it is tried again.
        until_us: u64,
    },
    /// It takes no more batches, and leaves after those in flight.
    Draining,
    /// It has left the set.
    Gone,
}

impl ReplicaState {
    /// True if `next` may follow.
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Starting => false,
            Self::Ready => matches!(self, Self::Starting | Self::Ejected { .. }),
            Self::Ejected { .. } => matches!(self, Self::Ready | Self::Ejected { .. }),
            Self::Draining => !matches!(self, Self::Draining | Self::Gone),
            Self::Gone => self == Self::Draining,
        }
    }

    /// Name in logs, metrics and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Ejected { .. } => "ejected",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

/// A replica as the scheduler knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replica {
    /// Identity in its set.
    pub id: ReplicaId,
    /// Properties.
    pub traits: Traits,
    /// State.
    pub state: ReplicaState,
    /// Batches that it runs now.
    pub in_flight: usize,
    /// Failures of its own since it last succeeded.
    failures: u32,
    /// Number of the batch that it took last.
    last_batch: u64,
}

impl Replica {
    /// True if it takes a batch now.
    pub fn is_available(&self) -> bool {
        self.state == ReplicaState::Ready && self.in_flight < self.traits.in_flight_max.max(1)
    }

    /// True if it takes batches now or later.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, ReplicaState::Draining | ReplicaState::Gone)
    }
}

/// Shortest and longest time for which a failed replica is ejected, in microseconds. Each failure
/// in a row doubles it.
const EJECTION_US: (u64, u64) = (100_000, 30_000_000);

/// The replicas of one version.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSet {
    replicas: Vec<Replica>,
    added: u64,
    begun: u64,
}

impl ReplicaSet {
    /// Adds a replica, which is ready or starting.
    pub fn add(&mut self, traits: Traits, is_ready: bool) -> ReplicaId {
        let id = ReplicaId(self.added);
        self.added += 1;
        let state = if is_ready { ReplicaState::Ready } else { ReplicaState::Starting };
        let (in_flight, failures, last_batch) = (0, 0, 0);
        self.replicas.push(Replica { id, traits, state, in_flight, failures, last_batch });
        id
    }

    /// Lets a starting or an ejected replica take batches.
    pub fn set_ready(&mut self, id: ReplicaId) {
        if let Some(replica) = self.get_mut(id)
            && replica.state.may_become(ReplicaState::Ready)
        {
            replica.state = ReplicaState::Ready;
        }
    }

    /// Lets a replica leave once its batches in flight have ended.
    pub fn drain(&mut self, id: ReplicaId) {
        if let Some(replica) = self.get_mut(id) {
            replica.state = ReplicaState::Draining;
        }
        self.remove_drained();
    }

    /// Ejects a replica that failed by itself, for `retry_in_us` at least.
    pub fn eject(&mut self, id: ReplicaId, retry_in_us: Option<u64>, now_us: u64) {
        let Some(replica) = self.get_mut(id) else { return };
        let doubled = EJECTION_US.0.saturating_mul(1 << replica.failures.min(16));
        replica.failures = replica.failures.saturating_add(1);
        let ejected_us = doubled.min(EJECTION_US.1).max(retry_in_us.unwrap_or(0));
        let until_us = now_us.saturating_add(ejected_us);
        let state = ReplicaState::Ejected { until_us };
        if replica.state.may_become(state) {
            replica.state = state;
        }
    }

    /// Lets ejected replicas whose time is over take batches again. Returns true if there was one.
    pub fn readmit(&mut self, now_us: u64) -> bool {
        let mut has_readmitted = false;
        for replica in &mut self.replicas {
            if matches!(replica.state, ReplicaState::Ejected { until_us } if until_us <= now_us) {
                replica.state = ReplicaState::Ready;
                has_readmitted = true;
            }
        }
        has_readmitted
    }

    /// The earliest time at which an ejected replica is tried again.
    pub fn readmission_us(&self) -> Option<u64> {
        let until = |replica: &Replica| match replica.state {
            ReplicaState::Ejected { until_us } => Some(until_us),
            _ => None,
        };
        self.replicas.iter().filter_map(until).min()
    }

    /// The available replica with the least predicted finish. `run_us` predicts one run of the
    /// next batch by class; an unknown run time counts as zero, so that it becomes known. Of
    /// equals, the one that ran last has the warmest caches.
    pub fn choose(&self, run_us: impl Fn(ClassId) -> Option<f64>) -> Option<&Replica> {
        let finish_us = |replica: &Replica| {
            run_us(replica.traits.class).unwrap_or(0.0) * (replica.in_flight + 1) as f64
        };
        match &self.replicas[..] {
            [only] => Some(only).filter(|only| only.is_available()),
            all => all.iter().filter(|replica| replica.is_available()).min_by(|a, b| {
                let by_finish = finish_us(a).total_cmp(&finish_us(b));
                by_finish.then(b.last_batch.cmp(&a.last_batch))
            }),
        }
    }

    /// Counts a batch that a replica takes.
    pub fn begin(&mut self, id: ReplicaId) {
        self.begun += 1;
        let begun = self.begun;
        if let Some(replica) = self.get_mut(id) {
            replica.in_flight += 1;
            replica.last_batch = begun;
        }
    }

    /// Counts a batch that a replica has ended; with success, or for the fault of another.
    pub fn end(&mut self, id: ReplicaId, has_succeeded: bool) {
        let Some(replica) = self.get_mut(id) else { return };
        replica.in_flight = replica.in_flight.saturating_sub(1);
        if has_succeeded {
            replica.failures = 0;
        }
        if replica.state == ReplicaState::Draining {
            self.remove_drained();
        }
    }

    /// State of a replica; [`ReplicaState::Gone`] for one that is not in the set.
    pub fn state(&self, id: ReplicaId) -> ReplicaState {
        let found = self.replicas.iter().find(|replica| replica.id == id);
        found.map_or(ReplicaState::Gone, |replica| replica.state)
    }

    /// All replicas, in the order in which they joined.
    pub fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter()
    }

    /// Replicas that take batches now or later.
    pub fn live(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.is_live())
    }

    /// Batches that ready replicas run side by side.
    pub fn slots(&self) -> usize {
        self.ready().map(|replica| replica.traits.in_flight_max.max(1)).sum()
    }

    /// Batches that ready replicas of a class run side by side.
    pub fn slots_of(&self, class: ClassId) -> usize {
        let of_class = self.ready().filter(|replica| replica.traits.class == class);
        of_class.map(|replica| replica.traits.in_flight_max.max(1)).sum()
    }

    /// Time until a replica of a class takes a batch, as far as that depends on no run.
    pub fn ready_in_us(&self, class: ClassId, now_us: u64) -> Option<f64> {
        let of_class = self.replicas.iter().filter(|replica| replica.traits.class == class);
        let ready_in_us = of_class.filter_map(|replica| match replica.state {
            ReplicaState::Ready => replica.is_available().then_some(0),
            ReplicaState::Ejected { until_us } => Some(until_us.saturating_sub(now_us)),
            _ => None,
        });
        ready_in_us.min().map(|us| us as f64)
    }

    fn ready(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.state == ReplicaState::Ready)
    }

    /// True if a replica takes a batch now.
    pub fn has_available(&self) -> bool {
        self.replicas.iter().any(Replica::is_available)
    }

    /// True if a replica takes a batch now, or is ejected until a time.
    pub fn has_available_or_ejected(&self) -> bool {
        let is_ejected = |one: &Replica| matches!(one.state, ReplicaState::Ejected { .. });
        self.replicas.iter().any(|one| one.is_available() || is_ejected(one))
    }

    /// Number of replicas that take a batch now.
    pub fn available(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.is_available()).count()
    }

    fn get_mut(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.id == id)
    }

    fn remove_drained(&mut self) {
        self.replicas.retain(|one| one.state != ReplicaState::Draining || one.in_flight > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(class: u16) -> Traits {
        Traits { class: ClassId(class), ..Traits::default() }
    }

    fn choose(set: &ReplicaSet) -> Option<ReplicaId> {
        set.choose(|class| Some(100.0 * f64::from(class.0 + 1))).map(|replica| replica.id)
    }

    #[test]
    fn the_replica_with_the_least_predicted_finish_is_chosen() {
        let mut set = ReplicaSet::default();
        let slow = set.add(class(1), true);
        let fast = set.add(Traits { in_flight_max: 4, ..class(0) }, true);
        assert_eq!(choose(&set), Some(fast));
        set.begin(fast);
        set.begin(fast);
        assert_eq!(choose(&set), Some(slow), "three runs of 100 us end after one of 200");
        set.begin(slow);
        assert_eq!(choose(&set), Some(fast));
        set.begin(fast);
        set.begin(fast);
        assert_eq!((choose(&set), set.has_available()), (None, false));
        set.end(slow, true);
        assert_eq!((choose(&set), set.available()), (Some(slow), 1));
    }

    #[test]
    fn unknown_run_times_become_known_and_of_equals_the_last_runs_again() {
        let mut set = ReplicaSet::default();
        let [_, second, _] = [0; 3].map(|_| set.add(class(0), true));
        set.begin(second);
        set.end(second, true);
        assert_eq!(choose(&set), Some(second));
        let new = set.add(class(1), true);
        let chosen = set.choose(|class| (class.0 == 0).then_some(1.0)).map(|one| one.id);
        assert_eq!(chosen, Some(new));
    }

    #[test]
    fn only_ready_replicas_take_batches() {
        let mut set = ReplicaSet::default();
        let id = set.add(class(0), false);
        assert_eq!((choose(&set), set.live().count()), (None, 1));
        set.set_ready(id);
        assert_eq!(choose(&set), Some(id));
        set.begin(id);
        set.drain(id);
        assert_eq!((choose(&set), set.state(id)), (None, ReplicaState::Draining));
        assert_eq!(set.live().count(), 0);
        set.set_ready(id);
        set.eject(id, None, 0);
        assert_eq!(set.state(id), ReplicaState::Draining, "there is no way back");
        set.end(id, true);
        assert_eq!((set.state(id), set.iter().count()), (ReplicaState::Gone, 0));
    }

    #[test]
    fn failures_in_a_row_eject_for_ever_longer() {
        let mut set = ReplicaSet::default();
        let id = set.add(class(0), true);
        set.eject(id, None, 0);
        assert_eq!((choose(&set), set.readmission_us()), (None, Some(EJECTION_US.0)));
        set.readmit(EJECTION_US.0 - 1);
        assert_eq!(choose(&set), None);
        set.readmit(EJECTION_US.0);
        assert_eq!(choose(&set), Some(id));
        set.eject(id, None, 0);
        assert_eq!(set.readmission_us(), Some(2 * EJECTION_US.0));
        set.eject(id, Some(EJECTION_US.1 + 7), 1);
        assert_eq!(set.readmission_us(), Some(EJECTION_US.1 + 8), "it knows better itself");
        (0..100).for_each(|_| set.eject(id, None, 0));
        assert_eq!(set.readmission_us(), Some(EJECTION_US.1));
        set.readmit(u64::MAX);
        set.begin(id);
        set.end(id, true);
        set.eject(id, None, 0);
        assert_eq!(set.readmission_us(), Some(EJECTION_US.0), "a success counts");
    }
}
