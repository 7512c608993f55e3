//! The memory that request and response bodies may take together.

use crate::status::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of bodies in flight, with a limit.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    in_flight: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that one request holds of the budget. Dropping it returns them.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { in_flight: AtomicUsize::new(0), bytes_max })
    }

    /// A permit of 0 bytes, which can grow.
    pub(crate) fn permit(self: &Arc<Self>) -> MemoryPermit {
        MemoryPermit { budget: Arc::clone(self), bytes: 0 }
    }
}

impl MemoryPermit {
    /// Adds bytes to the permit.
    ///
    /// # Errors
    /// When the budget is exceeded.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        let in_flight = self.budget.in_flight.fetch_add(bytes, Relaxed) + bytes;
        if in_flight > self.budget.bytes_max {
            let what = format!("{} bytes of bodies", self.budget.bytes_max);
            return Err(Error::Busy { what });
        }
        Ok(())
    }

    /// Sets the permit's bytes, up or down.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes {
            return self.add(bytes - self.bytes);
        }
        self.budget.in_flight.fetch_sub(self.bytes - bytes, Relaxed);
        self.bytes = bytes;
        Ok(())
    }

    /// Raises the permit to at least this many bytes.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.bytes { self.add(bytes - self.bytes) } else { Ok(()) }
    }

    /// Replaces the request's bytes by those of its response.
    ///
    /// This never fails: the response exists already, and the next request is rejected instead.
    pub(crate) fn replaced_by(mut self, bytes: usize) -> Self {
        self.budget.in_flight.fetch_add(bytes, Relaxed);
        self.budget.in_flight.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
        self
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.budget.in_flight.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_returns_its_bytes() {
        let budget = MemoryBudget::new(10);
        let mut permit = budget.permit();
        permit.add(8).unwrap();
        assert!(budget.permit().add(3).is_err());
        permit.set(7).unwrap();
        assert!(budget.permit().add(3).is_ok());
        drop(permit);
        assert!(budget.permit().add(10).is_ok());
    }
}
