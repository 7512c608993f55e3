//! What requests are like: drawn from kinds, by their weights.

use super::random::Random;
use super::scenario::Scenario;
use crate::urgency::{Priority, Terms};

/// Requests that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// How many of them there are in proportion to the other kinds.
    pub weight: f64,
    /// Fewest and most rows.
    pub rows: (usize, usize),
    /// Lanes that they are spread over: requests of different lanes share no run.
    pub lanes: u32,
    /// When they want their answer.
    pub deadline: Deadline,
    /// As a request says it.
    pub priority: u64,
    /// Callers that do not wait for their answer.
    pub leaving: Option<Leaving>,
}

impl Default for Kind {
    /// One row, one lane, within the objective, and they stay.
    fn default() -> Self {
        Self {
            weight: 1.0,
            rows: (1, 1),
            lanes: 1,
            deadline: Deadline::Objective,
            priority: 0,
            leaving: None,
        }
    }
}

/// When a request wants its answer, counted from its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Whenever it comes.
    None,
    /// Within the objective of the scenario, if it has one.
    Objective,
    /// Evenly between two times.
    Between {
        /// The shortest.
        least_us: u64,
        /// The longest.
        most_us: u64,
    },
}

/// Callers that leave before they are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leaving {
    /// Part of all.
    pub share: f64,
    /// After how long, on average.
    pub after_us: f64,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Tells it apart from all others; they count up.
    pub(super) token: u64,
    pub(super) kind: usize,
    pub(super) came_us: u64,
    pub(super) lane: u32,
    /// Which of the callers of a closed loop.
    pub(super) caller: Option<usize>,
    pub(super) leaves_us: Option<u64>,
}

impl Request {
    /// Whether its caller is gone.
    pub(super) fn has_left(&self, now_us: u64) -> bool {
        self.leaves_us.is_some_and(|leaves_us| leaves_us <= now_us)
    }
}

/// Draws requests.
#[derive(Debug)]
pub(super) struct Requests {
    kinds: Vec<Kind>,
    objective_us: Option<u64>,
    random: Random,
    next_token: u64,
}

impl Requests {
    pub(super) fn new(scenario: &Scenario, random: Random) -> Self {
        let kinds = match scenario.kinds.as_slice() {
            [] => vec![Kind::default()],
            kinds => kinds.to_vec(),
        };
        let objective_us = scenario.limits.objective_us.map(|us| us as u64);
        Self { kinds, objective_us, random, next_token: 0 }
    }

    pub(super) fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// The next request, which comes now.
    pub(super) fn draw(&mut self, caller: Option<usize>, now_us: u64) -> (Request, Terms) {
        let random = &mut self.random;
        let index = match self.kinds.len() {
            1 => 0,
            _ => random.choose(self.kinds.iter().map(|kind| kind.weight)),
        };
        let kind = &self.kinds[index];
        let rows = random.between(kind.rows.0 as u64, kind.rows.1 as u64) as usize;
        let allowed_us = match kind.deadline {
            Deadline::None => None,
            Deadline::Objective => self.objective_us,
            Deadline::Between { least_us, most_us } => Some(random.between(least_us, most_us)),
        };
        let leaves_us = kind.leaving.filter(|leaving| random.chance(leaving.share));
        let leaves_us = leaves_us.map(|leaving| random.exponential(leaving.after_us) as u64);
        let request = Request {
            token: self.next_token,
            kind: index,
            came_us: now_us,
            lane: random.between(1, u64::from(kind.lanes)) as u32,
            caller,
            leaves_us: leaves_us.map(|after_us| now_us.saturating_add(after_us)),
        };
        self.next_token += 1;
        let terms = Terms {
            rows,
            queued_us: now_us,
            deadline_us: allowed_us.map(|us| now_us.saturating_add(us)),
            priority: Priority::new(kind.priority),
        };
        (request, terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_drawn_as_their_kinds_say() {
        let often = Kind { weight: 3.0, rows: (2, 4), lanes: 2, ..Kind::default() };
        let deadline = Deadline::Between { least_us: 5, most_us: 9 };
        let leaving = Some(Leaving { share: 0.5, after_us: 100.0 });
        let rare = Kind { deadline, leaving, priority: 2, ..Kind::default() };
        let scenario = Scenario { kinds: vec![often, rare], ..Scenario::default() };
        let mut requests = Requests::new(&scenario, Random::new(1, 0));
        let drawn: Vec<_> = (0..4_000).map(|_| requests.draw(None, 1_000)).collect();
        let (rare, often): (Vec<_>, Vec<_>) = drawn.iter().partition(|(r, _)| r.kind == 1);
        assert!((900..1_100).contains(&rare.len()));
        assert!(often.iter().all(|(r, t)| (1..=2).contains(&r.lane) && (2..=4).contains(&t.rows)));
        assert!(often.iter().all(|(r, t)| t.deadline_us == Some(51_000) && r.leaves_us.is_none()));
        let due = |terms: &Terms| terms.deadline_us.is_some_and(|us| (1_005..=1_009).contains(&us));
        assert!(rare.iter().all(|(r, t)| r.lane == 1 && due(t) && t.priority.level() == 2));
        let leaving = rare.iter().filter(|(r, _)| r.leaves_us.is_some()).count();
        assert!((420..580).contains(&leaving), "{leaving}");
        assert!(drawn.iter().map(|(r, _)| r.token).eq(0..4_000));
    }
}
