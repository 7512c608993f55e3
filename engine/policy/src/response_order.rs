//! Lets responses out in the order of their requests, where a model's settings ask for that.
//!
//! Each priority level has an order of its own. One order for all would hold the response of an urgent
//! request behind those of every earlier one, and levels would have no effect.

use crate::priority::Priority;
use std::collections::BTreeMap;

/// Responses of several levels, whose orders do not depend on each other.
#[derive(Debug)]
pub struct ResponseOrders<T> {
    /// Levels with requests that are not answered.
    levels: BTreeMap<Priority, ResponseOrder<T>>,
}

/// The place of a response in the order of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    level: Priority,
    number: u64,
}

impl<T> Default for ResponseOrders<T> {
    fn default() -> Self {
        Self { levels: BTreeMap::new() }
    }
}

impl<T> ResponseOrders<T> {
    /// Takes the place of the next request of a level.
    pub fn take(&mut self, level: Priority) -> Place {
        Place { level, number: self.levels.entry(level).or_default().take() }
    }

    /// Gives a place back, with the response if there is one. Returns the responses that may leave
    /// now, in order.
    pub fn give_back(&mut self, place: Place, response: Option<T>) -> Vec<T> {
        let Some(order) = self.levels.get_mut(&place.level) else { return Vec::new() };
        let free = order.give_back(place.number, response);
        if order.is_over() {
            self.levels.remove(&place.level);
        }
        free
    }
}

/// Responses of one level that wait for those before them. A request takes a number, and gives its response
/// back under it, or nothing if there will be none.
#[derive(Debug)]
struct ResponseOrder<T> {
    taken: u64,
    /// The first number that is not given back.
    next: u64,
    held: BTreeMap<u64, Option<T>>,
}

impl<T> Default for ResponseOrder<T> {
    fn default() -> Self {
        Self { taken: 0, next: 0, held: BTreeMap::new() }
    }
}

impl<T> ResponseOrder<T> {
    /// Takes the number of the next request.
    fn take(&mut self) -> u64 {
        self.taken += 1;
        self.taken - 1
    }

    /// Gives a number back, with its response if there is one. Returns the responses that may
    /// leave now, in order.
    fn give_back(&mut self, number: u64, response: Option<T>) -> Vec<T> {
        if number < self.next || number >= self.taken {
            return Vec::new();
        }
        self.held.entry(number).or_insert(response);
        let mut free = Vec::new();
        while let Some(response) = self.held.remove(&self.next) {
            self.next += 1;
            free.extend(response);
        }
        free
    }

    /// True if every number that was taken is given back.
    fn is_over(&self) -> bool {
        self.next == self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_waits_for_no_other_and_leaves_nothing_behind() {
        let [high, low] = [1, 2].map(Priority::new);
        let mut orders = ResponseOrders::default();
        let places = [low, low, high, low].map(|level| orders.take(level));
        let [low1, low2, urgent, low3] = places;
        assert_eq!(orders.give_back(urgent, Some("urgent")), ["urgent"]);
        assert_eq!(orders.levels.len(), 1);
        assert!(orders.give_back(urgent, Some("again")).is_empty());
        assert!(orders.give_back(low2, Some("second")).is_empty());
        assert_eq!(orders.give_back(low1, None), ["second"]);
        assert_eq!(orders.give_back(low3, Some("third")), ["third"]);
        assert!(orders.levels.is_empty());
    }

    proptest! {
        #[test]
        fn responses_leave_in_order_and_as_soon_as_they_may(
            order in Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle(),
            without in prop::collection::hash_set(0..20_u64, 0..20),
        ) {
            let mut responses = ResponseOrder::default();
            for number in 0..20 {
                prop_assert_eq!(responses.take(), number);
            }
            let (mut left, mut given) = (Vec::new(), Vec::new());
            for number in order {
                given.push(number);
                let response = Some(number).filter(|number| !without.contains(number));
                left.extend(responses.give_back(number, response));
                prop_assert!(responses.give_back(number, Some(99)).is_empty(), "once only");
                let first_missing = (0..20).find(|number| !given.contains(number)).unwrap_or(20);
                let wanted: Vec<u64> =
                    (0..first_missing).filter(|number| !without.contains(number)).collect();
                prop_assert_eq!(&left, &wanted);
                prop_assert_eq!(responses.held.len(), given.len() - first_missing as usize);
                prop_assert_eq!(responses.is_over(), first_missing == 20);
            }
        }
    }
}
