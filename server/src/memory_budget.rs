//! The memory that request and response bodies, and the strings in them, may take together.

use crate::status::Error;
use skysail_engine::request::InputTensor;
use skysail_engine::tensor::{DataType, elements};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that ONNX Runtime takes for a string, beside those of a long one, and that are taken to
/// read it back.
const STRING_BYTES: usize = 48;

/// Times that a string is in memory as one of the runtime's: given to the model, and given by it.
const COPIES: usize = 2;

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

    /// Charges what the strings of these inputs will take in a run, if there are any. A small string
    /// takes many times its bytes.
    ///
    /// # Errors
    /// When the budget is exceeded, by them alone or together with others.
    pub(crate) fn charge_strings(
        self: &Arc<Self>,
        inputs: &[InputTensor],
    ) -> Result<Option<MemoryPermit>, Error> {
        let strings = inputs.iter().filter(|input| input.datatype == DataType::Bytes);
        let bytes: usize = strings.map(string_bytes).fold(0, usize::saturating_add);
        if bytes == 0 {
            return Ok(None);
        }
        if bytes > self.bytes_max {
            return Err(Error::StringsTooLarge { bytes, limit: self.bytes_max });
        }
        let mut permit = self.permit();
        permit.add(bytes)?;
        Ok(Some(permit))
    }
}

/// Memory for the strings of an input in a run. Each has a length of four bytes in the data, so
/// that a shape without data counts for little.
fn string_bytes(input: &InputTensor) -> usize {
    let count = elements(&input.shape).unwrap_or(usize::MAX).min(input.data.len() / 4);
    count.saturating_mul(STRING_BYTES).saturating_add(input.data.len()).saturating_mul(COPIES)
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
    fn strings_are_charged_with_what_a_run_takes_for_them() {
        let input = |datatype, count: usize, bytes: usize| {
            let (name, shape) = ("x".to_owned(), [count].as_slice().into());
            InputTensor { name, datatype, shape, data: vec![0; bytes].into() }
        };
        let budget = MemoryBudget::new(2 * (48 + 4) * 10);
        let charge = |inputs: &[InputTensor]| budget.charge_strings(inputs);
        assert!(charge(&[input(DataType::Int8, 4000, 4000)]).unwrap().is_none());
        let ten = charge(&[input(DataType::Bytes, 10, 40)]).unwrap();
        let one = charge(&[input(DataType::Bytes, 1, 4)]);
        assert!(matches!(one, Err(Error::Busy { .. })), "{one:?}");
        drop(ten);
        assert!(charge(&[input(DataType::Bytes, 1, 4)]).is_ok());
        let many = charge(&[input(DataType::Bytes, 11, 44)]);
        assert!(matches!(many, Err(Error::StringsTooLarge { bytes: 1144, .. })), "{many:?}");
        assert!(charge(&[input(DataType::Bytes, usize::MAX, 40)]).is_ok(), "there is no such data");
    }

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
