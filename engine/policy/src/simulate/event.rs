//! Planned events in the order of time; of the same time, in the order of planning.

use super::request::Request;
use crate::ready_queue::QueuedRequest;
use crate::replica_set::ReplicaId;
use crate::scheduler::{Batch, Rejection, Scheduler};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The scheduler of a simulation.
pub(super) type Queue = Scheduler<Request, u32>;

/// Something that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The next request of an open loop comes.
    Arrive,
    /// A request that arrived enters the queue.
    Enter,
    /// A caller of a closed loop asks.
    Ask { caller: usize },
    /// It leaves, if this request of its is not answered yet.
    Leave { caller: usize, token: u64 },
    /// A run ends.
    Finish { run: u64 },
    /// A replica joins.
    Join { replica: usize },
    /// A replica has started.
    Ready { replica: usize },
    /// A replica fails, with all that it runs.
    Fail { replica: usize },
    /// A replica is told to leave.
    Drain { replica: usize },
    /// A policy wanted to be asked again.
    Wake,
    /// The queue is looked through.
    Expire,
    /// Nothing comes any more.
    Close,
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
}

impl Events {
    pub(super) fn plan(&mut self, at_us: u64, event: Event) {
        self.heap.push(Reverse((at_us, self.planned, event)));
        self.planned += 1;
    }

    pub(super) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_us, ..))| *at_us)
    }

    /// The next, if it is planned for this time or earlier.
    pub(super) fn pop(&mut self, now_us: u64) -> Option<Event> {
        self.next_us().filter(|&at_us| at_us <= now_us)?;
        self.heap.pop().map(|Reverse((.., event))| event)
    }
}

/// A change of the replica set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Joined { in_flight_max: usize, is_ready: bool },
    Ready,
    Failed,
    Drained,
}

/// Observer of everything that happens, with the queue at that time.
pub(super) trait Observer {
    /// A request came, and was taken in or not.
    fn arrived(
        &mut self,
        _now_us: u64,
        _queue: &Queue,
        _waiter: &QueuedRequest<Request>,
        _rejected: Option<Rejection>,
    ) {
    }

    /// A request left the queue without a response.
    fn removed(&mut self, _now_us: u64, _waiter: &QueuedRequest<Request>) {}

    /// A replica joined, became ready or was told to leave.
    fn replica(&mut self, _now_us: u64, _id: ReplicaId, _change: Change) {}

    /// A batch started.
    fn started(&mut self, _now_us: u64, _queue: &Queue, _batch: &Batch<Request>) {}

    /// A replica failed, and requests of its batch are queued again.
    fn requeued(&mut self, _now_us: u64, _batch: &Batch<Request>, _again: &[u64]) {}

    /// A policy waits.
    fn waits(&mut self, _now_us: u64, _queue: &Queue, _until_us: u64) {}

    /// A batch ended, and these requests of it are answered.
    fn finished(&mut self, _now_us: u64, _batch: &Batch<Request>, _answered: &[u64]) {}

    /// All that happens at this time has happened.
    fn quiet(&mut self, _now_us: u64, _queue: &Queue) {}
}

/// Observer that ignores everything.
impl Observer for () {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_planning() {
        let mut events = Events::default();
        events.plan(5, Event::Wake);
        events.plan(3, Event::Close);
        events.plan(5, Event::Arrive);
        assert_eq!((events.next_us(), events.pop(2)), (Some(3), None));
        let order: Vec<_> = std::iter::from_fn(|| events.pop(9)).collect();
        assert_eq!(order, [Event::Close, Event::Wake, Event::Arrive]);
    }
}
