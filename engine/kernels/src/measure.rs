//! Compares the speed of several candidates on this machine.

use crate::KernelError;
use ort::session::{IoBinding, Session, builder::SessionBuilder};
use ort::value::Tensor;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Limits of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most rounds; each candidate runs once in a round.
    pub rounds: usize,
    /// Time after which no round starts; there is at least one.
    pub time: Duration,
}

/// A run whose time is compared with others.
pub type Candidate<'a> = &'a mut dyn FnMut() -> Result<(), KernelError>;

/// Runs candidates in turns, and returns the median time of each.
///
/// Turns spread disturbances over all candidates. A warm-up round, with cold caches and missing
/// buffers, does not count.
///
/// # Errors
/// When a run fails.
pub fn median_times(
    candidates: &mut [Candidate<'_>],
    limits: Limits,
) -> Result<Vec<Duration>, KernelError> {
    let epoch = Instant::now();
    let times = rounds(candidates, limits, || epoch.elapsed())?;
    Ok(times.into_iter().map(median).collect())
}

/// Runs candidates in turns, and returns the smallest CPU time of each.
///
/// They must run on the calling thread alone. Other load on the machine and the thread's priority
/// then hardly matter.
///
/// # Errors
/// When a run fails.
pub fn min_cpu_times(
    candidates: &mut [Candidate<'_>],
    limits: Limits,
) -> Result<Vec<Duration>, KernelError> {
    let times = rounds(candidates, limits, thread_cpu_time)?;
    Ok(times.into_iter().map(|times| times.into_iter().min().unwrap_or_default()).collect())
}

/// CPU time of the calling thread since it started.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Measures the times of each candidate by a clock, without a warm-up round.
fn rounds(
    candidates: &mut [Candidate<'_>],
    limits: Limits,
    now: impl Fn() -> Duration,
) -> Result<Vec<Vec<Duration>>, KernelError> {
    let mut times = vec![Vec::with_capacity(limits.rounds); candidates.len()];
    let start = now();
    candidates.iter_mut().try_for_each(|candidate| candidate())?;
    while times.iter().any(|times| times.len() < limits.rounds.max(1)) {
        for (candidate, times) in candidates.iter_mut().zip(&mut times) {
            let start = now();
            candidate()?;
            times.push(now().saturating_sub(start));
        }
        if now().saturating_sub(start) > limits.time {
            break;
        }
    }
    Ok(times)
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
    /// Input that is bound, and must live as long.
    _input: Tensor<f32>,
}

impl Probe {
    /// Loads the model with the threads and operators of `builder`. The input is a tensor of this
    /// shape, with pseudo-random numbers.
    ///
    /// # Errors
    /// When the model has other inputs or outputs, or ONNX Runtime rejects it.
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
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        let count = count.ok_or_else(|| ort::Error::new("its input is too large"))?;
        let values = random_values(count);
        let input = Tensor::from_array((shape.to_vec(), values))?;
        binding.bind_input(name, &input)?;
        Ok(Self { session, binding, _input: input })
    }

    /// Runs the model once.
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
    fn candidates_run_in_turns_until_rounds_or_time_are_over() {
        let order = RefCell::new(Vec::new());
        let candidate = |name| {
            order.borrow_mut().push(name);
            Ok(())
        };
        let mut other = || {
            order.borrow_mut().push('b');
            Ok(())
        };
        let mut first = || candidate('a');
        let limits = Limits { rounds: 2, time: Duration::MAX };
        let times = median_times(&mut [&mut first, &mut other], limits).unwrap();
        assert_eq!(times.len(), 2);
        assert_eq!(*order.borrow(), ['a', 'b', 'a', 'b', 'a', 'b']);
        order.borrow_mut().clear();
        let limits = Limits { rounds: 100, time: Duration::ZERO };
        median_times(&mut [&mut other], limits).unwrap();
        assert_eq!(*order.borrow(), ['b', 'b'], "one to warm up, one to count");
    }

    #[test]
    fn cpu_time_excludes_waiting() {
        let pair = std::sync::Barrier::new(2);
        let (mut waits, mut works) = (
            || {
                pair.wait();
                Ok(())
            },
            || {
                std::hint::black_box((0..100_000_u64).map(std::hint::black_box).sum::<u64>());
                Ok(())
            },
        );
        let limits = Limits { rounds: 3, time: Duration::MAX };
        let times = std::thread::scope(|scope| {
            let other = || {
                for _ in 0..4 {
                    std::hint::black_box((0..4_000_000_u64).map(std::hint::black_box).sum::<u64>());
                    pair.wait();
                }
            };
            scope.spawn(other);
            min_cpu_times(&mut [&mut waits, &mut works], limits).unwrap()
        });
        assert!(times[0] < times[1], "{times:?}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let times = [5, 1, 9].map(Duration::from_millis);
        assert_eq!(median(times.to_vec()), Duration::from_millis(5));
    }
}
