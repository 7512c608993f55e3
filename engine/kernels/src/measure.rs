//! Which of several ways is faster on this machine.

use crate::KernelError;
use ort::session::{IoBinding, Session, builder::SessionBuilder};
use ort::value::Tensor;
use std::time::{Duration, Instant};

/// How long a measurement may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Each way runs so many times at most.
    pub rounds: usize,
    /// No round starts after this time; one there is in any case.
    pub time: Duration,
}

/// Runs several ways in turns, so that what else happens on the machine hits all of them, and
/// gives the median time of each. A first round, which finds caches cold and buffers missing,
/// does not count.
///
/// # Errors
/// When a run fails.
pub fn race(
    ways: &mut [&mut dyn FnMut() -> Result<(), KernelError>],
    limits: Limits,
) -> Result<Vec<Duration>, KernelError> {
    let mut times = vec![Vec::with_capacity(limits.rounds); ways.len()];
    let start = Instant::now();
    ways.iter_mut().try_for_each(|way| way())?;
    while times.iter().any(|times| times.len() < limits.rounds.max(1)) {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            way()?;
            times.push(start.elapsed());
        }
        if start.elapsed() > limits.time {
            break;
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A small model with one input and one output of float32 tensors, run for its time.
#[derive(Debug)]
pub struct Probe {
    session: Session,
    binding: IoBinding,
    /// Bound: it must stay.
    _input: Tensor<f32>,
}

impl Probe {
    /// Loads the model with the threads and operators that `builder` has. Its input becomes a
    /// tensor of this shape, of numbers that look random.
    ///
    /// # Errors
    /// When the model has other inputs or outputs, or ONNX Runtime refuses it.
    pub fn new(
        mut builder: SessionBuilder,
        model: &[u8],
        shape: &[usize],
    ) -> Result<Self, KernelError> {
        let session = builder.commit_from_memory(model)?;
        let ([input], [output]) = (session.inputs(), session.outputs()) else {
            return Err(KernelError::Runtime(ort::Error::new("one input, one output are needed")));
        };
        let (mut binding, name) = (session.create_binding()?, input.name().to_owned());
        binding.bind_output_to_device(output.name(), session.allocator().memory_info())?;
        let values = random_values(shape.iter().product());
        let input = Tensor::from_array((shape.to_vec(), values))?;
        binding.bind_input(name, &input)?;
        Ok(Self { session, binding, _input: input })
    }

    /// Runs it once.
    ///
    /// # Errors
    /// When the run fails.
    pub fn run(&mut self) -> Result<(), KernelError> {
        self.session.run_binding(&self.binding)?;
        Ok(())
    }
}

/// Numbers from -1 to 1 (xorshift).
fn random_values(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / (1_u32 << 31) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn ways_take_turns_until_rounds_or_time_are_over() {
        let order = RefCell::new(Vec::new());
        let mut way = |name| {
            order.borrow_mut().push(name);
            Ok(())
        };
        let mut other = || {
            order.borrow_mut().push('b');
            Ok(())
        };
        let _ = (&mut way)('x');
        order.borrow_mut().clear();
        let mut first = || way('a');
        let limits = Limits { rounds: 2, time: Duration::MAX };
        let times = race(&mut [&mut first, &mut other], limits).unwrap();
        assert_eq!(times.len(), 2);
        assert_eq!(*order.borrow(), ['a', 'b', 'a', 'b', 'a', 'b']);
        order.borrow_mut().clear();
        let limits = Limits { rounds: 100, time: Duration::ZERO };
        race(&mut [&mut other], limits).unwrap();
        assert_eq!(*order.borrow(), ['b', 'b'], "one to warm up, one to count");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [5, 1, 9].map(Duration::from_millis);
        assert_eq!(median(times.to_vec()), Duration::from_millis(5));
    }
}
