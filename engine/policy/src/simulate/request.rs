//! Requests, drawn from kinds by their weights.

use super::kind::{Deadline, Kind, WaitLimit};
use super::random::Random;
use super::scenario::Scenario;
use crate::priority::{Demand, StartBy};
use crate::queue_policy::QueuePolicies;

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Tells it apart from all others; they count up.
    pub(super) token: u64,
    pub(super) kind: usize,
    pub(super) arrived_us: u64,
    /// Time by which its client wants the response.
    pub(super) due_us: Option<u64>,
    pub(super) batch_key: u32,
    /// Index of the client of a closed loop.
    pub(super) caller: Option<usize>,
    pub(super) cancels_us: Option<u64>,
    /// Replicas that have failed it.
    pub(super) attempts: u32,
}

impl Request {
    /// Returns true if the caller has left.
    pub(super) fn is_cancelled(&self, now_us: u64) -> bool {
        self.cancels_us.is_some_and(|cancels_us| cancels_us <= now_us)
    }
}

/// The objective of a request that arrives now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective {
    /// Time until the client has its response.
    pub(super) client_us: Option<u64>,
    /// Part of it for queue and run.
    pub(super) inside_us: Option<u64>,
}

/// Draws requests.
#[derive(Debug)]
pub(super) struct Requests {
    kinds: Vec<Kind>,
    policies: QueuePolicies,
    random: Random,
    next_token: u64,
}

impl Requests {
    pub(super) fn new(scenario: &Scenario, random: Random) -> Self {
        let kinds = match scenario.kinds.as_slice() {
            [] => vec![Kind::default()],
            kinds => kinds.to_vec(),
        };
        let policies = scenario.policies.clone();
        Self { kinds, policies, random, next_token: 0 }
    }

    pub(super) fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// The next request, which comes now, under this objective.
    pub(super) fn draw(
        &mut self,
        caller: Option<usize>,
        objective: Objective,
        now_us: u64,
    ) -> (Request, Demand) {
        let random = &mut self.random;
        let index = match self.kinds.len() {
            1 => 0,
            _ => random.choose(self.kinds.iter().map(|kind| kind.weight)),
        };
        let kind = &self.kinds[index];
        let rows = random.between(kind.rows.0 as u64, kind.rows.1 as u64) as usize;
        let (client_us, inside_us) = match kind.deadline {
            Deadline::None => (None, None),
            Deadline::Objective => (objective.client_us, objective.inside_us),
            Deadline::Between { least_us, most_us } => {
                let timeout_us = Some(random.between(least_us, most_us));
                (timeout_us, timeout_us)
            }
        };
        let after = |us: Option<u64>| us.map(|us| now_us.saturating_add(us));
        let start_by = kind.wait.map(|WaitLimit { least_us, most_us, action }| StartBy {
            at_us: now_us.saturating_add(random.between(least_us, most_us)),
            action,
        });
        let cancels_us = kind.cancelling.filter(|cancelling| random.chance(cancelling.share));
        let cancels_us =
            cancels_us.map(|cancelling| random.exponential(cancelling.after_us) as u64);
        let request = Request {
            token: self.next_token,
            kind: index,
            arrived_us: now_us,
            due_us: after(client_us),
            batch_key: random.between(1, u64::from(kind.batch_keys)) as u32,
            caller,
            cancels_us: cancels_us.map(|after_us| now_us.saturating_add(after_us)),
            attempts: 0,
        };
        self.next_token += 1;
        let demand = Demand {
            rows,
            queued_us: now_us,
            deadline_us: after(inside_us),
            start_by,
            priority: self.policies.priority(kind.priority),
        };
        (request, demand)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Cancelling;
    use super::*;

    #[test]
    fn requests_are_drawn_as_their_kinds_say() {
        let often = Kind { weight: 3.0, rows: (2, 4), batch_keys: 2, ..Kind::default() };
        let deadline = Deadline::Between { least_us: 5, most_us: 9 };
        let cancelling = Some(Cancelling { share: 0.5, after_us: 100.0 });
        let rare = Kind { deadline, cancelling, priority: 2, ..Kind::default() };
        let scenario = Scenario { kinds: vec![often, rare], ..Scenario::default() };
        let mut requests = Requests::new(&scenario, Random::new(1, 0));
        let objective = Objective { client_us: Some(60_000), inside_us: Some(50_000) };
        let drawn: Vec<_> = (0..4_000).map(|_| requests.draw(None, objective, 1_000)).collect();
        let (rare, often): (Vec<_>, Vec<_>) = drawn.iter().partition(|(r, _)| r.kind == 1);
        assert!((900..1_100).contains(&rare.len()));
        assert!(
            often.iter().all(|(r, t)| (1..=2).contains(&r.batch_key) && (2..=4).contains(&t.rows))
        );
        assert!(often.iter().all(|(r, t)| t.deadline_us == Some(51_000) && r.cancels_us.is_none()));
        assert!(often.iter().all(|(r, _)| r.due_us == Some(61_000)));
        let due =
            |demand: &Demand| demand.deadline_us.is_some_and(|us| (1_005..=1_009).contains(&us));
        assert!(rare.iter().all(|(r, t)| r.batch_key == 1 && due(t) && t.priority.level() == 2));
        let cancelling = rare.iter().filter(|(r, _)| r.cancels_us.is_some()).count();
        assert!((420..580).contains(&cancelling), "{cancelling}");
        assert!(drawn.iter().map(|(r, _)| r.token).eq(0..4_000));
    }
}
