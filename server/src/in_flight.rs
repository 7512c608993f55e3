//! The limit on inference requests in flight.
//!
//! A plain counter: a permit of tokio's semaphore takes a lock when it is returned.

use crate::status::Error;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Requests in flight, with a limit.
#[derive(Debug)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    requests_max: usize,
}

/// Permit of one request. Dropping it returns it.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    in_flight: &'a InFlight,
}

impl InFlight {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self { count: AtomicUsize::new(0), requests_max }
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn try_acquire(&self) -> Result<Permit<'_>, Error> {
        let permit = Permit { in_flight: self };
        if self.count.fetch_add(1, Relaxed) >= self.requests_max {
            return Err(Error::Busy { what: format!("{} requests in flight", self.requests_max) });
        }
        Ok(permit)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.in_flight.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_returned_also_after_a_rejection() {
        let in_flight = InFlight::new(1);
        let permit = in_flight.try_acquire().unwrap();
        assert!(in_flight.try_acquire().is_err());
        drop(permit);
        assert!(in_flight.try_acquire().is_ok());
    }
}
