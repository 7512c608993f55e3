//! Lets responses out in the order of their requests, where a model's settings ask for that.

use std::collections::BTreeMap;

/// Responses that wait for those before them. A request takes a number, and gives its response
/// back under it, or nothing if there will be none.
#[derive(Debug)]
pub struct ResponseOrder<T> {
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
    pub fn take(&mut self) -> u64 {
        self.taken += 1;
        self.taken - 1
    }

    /// Gives a number back, with its response if there is one. Returns the responses that may
    /// leave now, in order.
    pub fn give_back(&mut self, number: u64, response: Option<T>) -> Vec<T> {
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

    /// Number of responses that wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
                prop_assert_eq!(responses.held(), given.len() - first_missing as usize);
            }
        }
    }
}
