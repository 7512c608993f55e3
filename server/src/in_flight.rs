//! The inference requests that are in the server at once, against the most there may be.

use crate::status::Error;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A count with a limit.
#[derive(Debug)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    requests_max: usize,
}

/// One of the places, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    in_flight: &'a InFlight,
}

impl InFlight {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self { count: AtomicUsize::new(0), requests_max }
    }

    /// Takes a place, if there is one.
    pub(crate) fn enter(&self) -> Result<Place<'_>, Error> {
        let place = Place { in_flight: self };
        if self.count.fetch_add(1, Relaxed) >= self.requests_max {
            return Err(Error::Busy { what: format!("{} requests in flight", self.requests_max) });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.in_flight.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_also_by_who_was_refused() {
        let in_flight = InFlight::new(1);
        let place = in_flight.enter().unwrap();
        assert!(in_flight.enter().is_err());
        drop(place);
        assert!(in_flight.enter().is_ok());
    }
}
