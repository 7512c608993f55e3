//! Collective operations of threads: results and failures.

#![expect(clippy::panic, reason = "a test panics")]

mod support;

use crossbeam_channel::unbounded;
use skysail_trainer::{
    Collective, CollectiveError, TrainError, ring_all_gather, ring_all_reduce, threads, with_nccl,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(1);

fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 31 + rank * 17) % 101) as f32 * 0.37 - 3.0).collect()
}

fn sum(world: usize, len: usize) -> Vec<f32> {
    let mut sum = vec![0.0; len];
    for rank in 0..world {
        sum.iter_mut().zip(numbers(rank, len)).for_each(|(sum, number)| *sum += number);
    }
    sum
}

#[test]
fn sums_are_correct_and_bitwise_equal_on_all_ranks_and_in_all_runs() {
    for world in [1, 2, 3, 4, 7] {
        for len in [0, 1, 2, 5, 1000, 100_003] {
            let reduce = |rank: usize, mut collective: Box<dyn Collective>| {
                let mut values = numbers(rank, len);
                collective.all_reduce(&mut values)?;
                let mut again = numbers(rank, len);
                collective.all_reduce(&mut again)?;
                assert_eq!(values, again);
                Ok(values)
            };
            let all = threads(world, LONG, reduce).unwrap();
            assert!(all.iter().all(|values| *values == all[0]));
            support::assert_near(&all[0], &sum(world, len), 1e-5);
        }
    }
}

#[test]
fn a_sum_sends_as_many_bytes_as_a_ring() {
    for world in [1_u64, 2, 4] {
        let sent = threads(world as usize, LONG, |rank, mut collective| {
            let mut values = numbers(rank, 40_000);
            collective.all_reduce(&mut values)?;
            Ok(collective.bytes_sent())
        });
        assert_eq!(sent.unwrap(), vec![2 * (world - 1) * 4 * 40_000 / world; world as usize]);
    }
}

#[test]
fn gathered_bytes_of_any_length_are_in_the_order_of_ranks() {
    let bytes = |rank: usize| vec![rank as u8; rank * 3];
    for world in [1, 2, 4] {
        let all = threads(world, LONG, |rank, mut collective| {
            Ok((collective.all_gather(&bytes(rank))?, collective.bytes_sent()))
        });
        for (rank, (gathered, sent)) in all.unwrap().into_iter().enumerate() {
            assert_eq!(gathered, (0..world).map(bytes).collect::<Vec<_>>());
            assert_eq!(sent, (rank * 3 * (world - 1)) as u64);
        }
    }
}

#[test]
fn a_broadcast_copies_the_bytes_of_the_root() {
    for root in 0..3 {
        let all = threads(3, LONG, |rank, mut collective| {
            let mut bytes = vec![rank as u8; rank + 1];
            collective.broadcast(root, &mut bytes)?;
            Ok(bytes)
        });
        assert_eq!(all.unwrap(), vec![vec![root as u8; root + 1]; 3]);
    }
}

#[test]
fn messages_keep_their_order_and_may_go_to_the_sender_itself() {
    let all = threads(3, LONG, |rank, mut collective| {
        for to in 0..3 {
            collective.send(to, &[rank as u8, 1])?;
            collective.sender().send(to, &[rank as u8, 2])?;
        }
        let mut seen = Vec::new();
        for from in [2, 0, 1] {
            seen.push(collective.receive(from)?);
            seen.push(collective.receive(from)?);
        }
        // Messages of a rank to itself are not counted.
        Ok((seen, collective.bytes_sent()))
    });
    let seen = [[2, 1], [2, 2], [0, 1], [0, 2], [1, 1], [1, 2]].map(Vec::from).to_vec();
    assert_eq!(all.unwrap(), vec![(seen, 8); 3]);
}

#[test]
fn a_message_from_any_rank_names_its_sender() {
    let all = threads(3, LONG, |rank, mut collective| {
        if rank > 0 {
            collective.send(0, &[rank as u8; 5])?;
            return Ok(Vec::new());
        }
        let mut seen = vec![collective.receive_any()?, collective.receive_any()?];
        seen.sort();
        Ok(seen)
    });
    assert_eq!(all.unwrap()[0], [(1, vec![1; 5]), (2, vec![2; 5])]);
}

#[test]
fn duplicates_do_not_mix() {
    let all = threads(2, LONG, |rank, mut collective| {
        let mut other = collective.duplicate()?;
        let mut third = other.duplicate()?;
        third.send(1 - rank, b"third")?;
        other.send(1 - rank, b"other")?;
        collective.send(1 - rank, b"first")?;
        let sum = |end: &mut dyn Collective, value: f32| {
            let mut values = [value];
            end.all_reduce(&mut values).map(|()| values[0])
        };
        let sums = std::thread::scope(|scope| {
            let on_thread = scope.spawn(|| sum(other.as_mut(), 10.0));
            let here = sum(collective.as_mut(), 1.0);
            Ok::<_, CollectiveError>((here?, on_thread.join().unwrap()?))
        })?;
        let messages =
            [collective.receive(1 - rank)?, other.receive(1 - rank)?, third.receive(1 - rank)?];
        Ok((sums, messages))
    });
    let messages = [b"first".to_vec(), b"other".to_vec(), b"third".to_vec()];
    assert_eq!(all.unwrap(), vec![((2.0, 20.0), messages); 2]);
}

#[test]
fn sums_and_gathers_around_a_ring_are_correct() {
    for world in [1, 2, 3, 4] {
        for len in [0, 1, 3, 1000] {
            let all = threads(world, LONG, |rank, mut collective| {
                let mut values = numbers(rank, len);
                ring_all_reduce(collective.as_mut(), &mut values)?;
                let sent = collective.bytes_sent();
                Ok((values, sent, ring_all_gather(collective.as_mut(), &vec![rank as u8; rank])?))
            });
            let all = all.unwrap();
            for (values, sent, gathered) in &all {
                assert_eq!(*values, all[0].0, "the same bits everywhere");
                let expected = 8 * len * (world - 1) / world;
                assert!(sent.abs_diff(expected as u64) <= 16, "{sent} and {expected}");
                assert_eq!(*gathered, (0..world).map(|r| vec![r as u8; r]).collect::<Vec<_>>());
            }
            support::assert_near(&all[0].0, &sum(world, len), 1e-5);
        }
    }
}

/// The collective error in a training error.
fn collective_error(error: TrainError) -> CollectiveError {
    match error {
        TrainError::Collective(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn only_late_ranks_are_named() {
    // Ranks 1 and 3 wait until the others have timed out.
    let (release, released) = unbounded::<()>();
    let release = std::sync::Mutex::new(Some(release));
    let timed_out = AtomicUsize::new(0);
    let started = Instant::now();
    let result = threads(4, SHORT, |rank, mut collective| {
        if rank % 2 == 1 {
            let _closed = released.recv();
            return Ok(());
        }
        let error = collective.all_reduce(&mut [0.0; 100]).unwrap_err();
        if timed_out.fetch_add(1, Ordering::SeqCst) == 1 {
            release.lock().unwrap().take();
        }
        // No rank leaves before both have failed: the other would report that instead.
        let _closed = released.recv_timeout(Duration::from_secs(20));
        Err(error.into())
    });
    match collective_error(result.unwrap_err()) {
        CollectiveError::Timeout { operation, number, waited_ms, missing, .. } => {
            assert_eq!((operation, number, missing), ("all-reduce", 0, vec![1, 3]));
            assert!(waited_ms >= 1000);
        }
        other => panic!("{other}"),
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_rank_that_sends_no_message_in_time_is_named() {
    let both = Barrier::new(2);
    let all = threads(2, SHORT, |rank, mut collective| {
        let error = (rank == 0).then(|| collective.receive(1).unwrap_err());
        both.wait();
        Ok(error)
    });
    let Some(CollectiveError::Timeout { rank: 0, operation: "receive", missing, .. }) =
        all.unwrap().remove(0)
    else {
        panic!("it is late")
    };
    assert_eq!(missing, [1]);
}

/// The timeout is an hour: the test ends only if no rank waits for the failed one.
#[test]
fn a_failing_rank_stops_all_others_at_once() {
    let seen = std::sync::Mutex::new(Vec::new());
    let result: Result<Vec<()>, _> = threads(4, LONG, |rank, mut collective| {
        if rank == 2 {
            return Err(TrainError::Data("spoiled".to_owned()));
        }
        let error = match rank {
            0 => collective.all_reduce(&mut [0.0; 3]).unwrap_err(),
            1 => collective.receive(0).unwrap_err(),
            _ => collective.receive_any().unwrap_err(),
        };
        seen.lock().unwrap().push(error.clone());
        Err(error.into())
    });
    assert!(matches!(result, Err(TrainError::Data(problem)) if problem == "spoiled"));
    for error in seen.into_inner().unwrap() {
        assert!(
            matches!(&error, CollectiveError::Gone { missing, .. } if *missing == [2]),
            "{error}"
        );
    }
}

#[test]
fn a_panicking_rank_is_named() {
    let result: Result<Vec<()>, _> = threads(3, LONG, |rank, mut collective| {
        collective.all_reduce(&mut [0.0; 70_000])?;
        if rank == 1 {
            panic!("defect {rank}");
        }
        collective.all_gather(&[1])?;
        collective.all_reduce(&mut [0.0; 70_000])?;
        Ok(())
    });
    match result {
        Err(TrainError::Panicked { rank: 1, message }) => assert_eq!(message, "defect 1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rank_that_ended_early_is_gone_for_the_others() {
    let result = threads(2, LONG, |rank, mut collective| {
        if rank == 0 {
            collective.all_gather(&[])?;
        }
        Ok(())
    });
    match collective_error(result.unwrap_err()) {
        CollectiveError::Gone { rank: 0, missing, .. } => assert_eq!(missing, [1]),
        other => panic!("{other}"),
    }
}

#[test]
fn different_operations_of_ranks_are_detected() {
    let lengths = threads(2, LONG, |rank, mut collective| {
        Ok(collective.all_reduce(&mut vec![0.0; 4 + rank])?)
    });
    let operations = threads(2, LONG, |rank, mut collective| match rank {
        0 => Ok(collective.all_reduce(&mut [0.0; 4])?),
        _ => Ok(collective.all_gather(&[1]).map(drop)?),
    });
    for result in [lengths, operations] {
        let error = collective_error(result.unwrap_err());
        assert!(matches!(error, CollectiveError::Mismatch { .. }), "{error}");
    }
}

#[test]
fn messages_of_an_ended_rank_are_still_received() {
    let all = threads(2, LONG, |rank, mut collective| {
        if rank == 0 {
            collective.send(1, b"last words")?;
            return Ok(Vec::new());
        }
        Ok(collective.receive(0)?)
    });
    assert_eq!(all.unwrap()[1], b"last words");
}

/// With a GPU this is the sum of a single rank; without one, an error that says so.
#[test]
fn sums_on_gpus_fail_without_a_gpu() {
    let summed = threads(1, LONG, |rank, collective| {
        let mut collective = with_nccl(collective, rank, LONG)?;
        let mut values = numbers(rank, 1000);
        collective.all_reduce(&mut values)?;
        Ok(values)
    });
    match summed {
        Ok(summed) => assert_eq!(summed, [numbers(0, 1000)]),
        Err(error) => {
            let error = collective_error(error);
            assert!(matches!(error, CollectiveError::Gpu { rank: 0, .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains("no GPU") || message.contains("NCCL"), "{message}");
            println!("skipped: {message}");
        }
    }
}
