//! Connection of a rank to a group of threads.

use super::abort::{AbortSignal, Cause};
use super::channels::{Body, Operation, Packet, PeerChannels, connect};
use super::reduce;
use crate::collective::{Collective, CollectiveError, MessageSender};
use crossbeam_channel::{Receiver, Select, SendError, select};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connection of a rank to a group of threads.
#[derive(Debug, Clone)]
pub(super) struct ThreadCollective {
    rank: usize,
    timeout: Duration,
    peers: Arc<Vec<PeerChannels>>,
    group: Arc<Group>,
    signal: Arc<AbortSignal>,
    /// All channels of the rank. They stay open until its work is over, and after a failure until the
    /// abort is signalled. Otherwise other ranks would see a closed channel before its cause.
    open_channels: Arc<OpenChannels>,
    collectives: u64,
    messages: u64,
    duplicates: u64,
    bytes_sent: Arc<AtomicU64>,
    /// Blocks for reuse.
    pub(super) free_blocks: Vec<Vec<f32>>,
}

/// Channels that are kept open.
pub(super) type OpenChannels = Mutex<Vec<Arc<Vec<PeerChannels>>>>;

/// State that the ranks of a group share.
#[derive(Debug, Default)]
struct Group {
    /// Number of collective operations that each rank has started.
    arrived: Vec<AtomicU64>,
    /// Duplicates that some ranks have not taken yet.
    duplicates: Mutex<HashMap<u64, Duplicate>>,
}

#[derive(Debug)]
struct Duplicate {
    group: Arc<Group>,
    peers: Vec<Option<Vec<PeerChannels>>>,
}

/// An operation in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: Operation,
    started: Instant,
}

impl ThreadCollective {
    /// Creates the connections of a new group.
    pub(super) fn group(world: usize, timeout: Duration, signal: &Arc<AbortSignal>) -> Vec<Self> {
        let group = Group::new(world);
        let connection =
            |(rank, peers)| Self::new(rank, peers, &group, timeout, signal, &Arc::default());
        connect(world).into_iter().enumerate().map(connection).collect()
    }

    fn new(
        rank: usize,
        peers: Vec<PeerChannels>,
        group: &Arc<Group>,
        timeout: Duration,
        signal: &Arc<AbortSignal>,
        open_channels: &Arc<OpenChannels>,
    ) -> Self {
        let peers = Arc::new(peers);
        open_channels.lock().push(Arc::clone(&peers));
        Self {
            rank,
            timeout,
            peers,
            group: Arc::clone(group),
            signal: Arc::clone(signal),
            open_channels: Arc::clone(open_channels),
            collectives: 0,
            messages: 0,
            duplicates: 0,
            bytes_sent: Arc::default(),
            free_blocks: Vec::new(),
        }
    }

    /// The channels that are kept open.
    pub(super) fn open_channels(&self) -> Arc<OpenChannels> {
        Arc::clone(&self.open_channels)
    }

    /// All ranks but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.peers.len()).filter(move |other| *other != rank)
    }

    /// Starts the next collective operation.
    fn start_operation(&mut self, name: &'static str, len: usize) -> Call {
        let operation = Operation { name, number: self.collectives, len };
        self.collectives += 1;
        self.group.arrived[self.rank].store(self.collectives, Ordering::Relaxed);
        Call { operation, started: Instant::now() }
    }

    /// Sends a packet of a collective operation to another rank.
    pub(super) fn send_packet(
        &mut self,
        to: usize,
        call: Call,
        body: Body,
    ) -> Result<(), CollectiveError> {
        let bytes = match &body {
            Body::Numbers(numbers) => 4 * numbers.len(),
            Body::Bytes(bytes) => bytes.len(),
        };
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        let packet = Packet { operation: call.operation, body };
        self.peers[to].packets_out.send(packet).map_err(|SendError(_)| self.gone(to, call))
    }

    /// Receives numbers from another rank.
    pub(super) fn receive_numbers(
        &self,
        from: usize,
        call: Call,
    ) -> Result<Vec<f32>, CollectiveError> {
        match self.receive_packet(from, call)? {
            Body::Numbers(numbers) => Ok(numbers),
            Body::Bytes(_) => Err(self.mismatch(from, call, call.operation)),
        }
    }

    fn receive_bytes(&self, from: usize, call: Call) -> Result<Arc<[u8]>, CollectiveError> {
        match self.receive_packet(from, call)? {
            Body::Bytes(bytes) => Ok(bytes),
            Body::Numbers(_) => Err(self.mismatch(from, call, call.operation)),
        }
    }

    fn receive_packet(&self, from: usize, call: Call) -> Result<Body, CollectiveError> {
        let packet = self.wait(from, &self.peers[from].packets_in, call)?;
        if packet.operation != call.operation {
            return Err(self.mismatch(from, call, packet.operation));
        }
        Ok(packet.body)
    }

    fn mismatch(&self, from: usize, call: Call, theirs: Operation) -> CollectiveError {
        let describe = |it: Operation| format!("{} number {} of {}", it.name, it.number, it.len);
        let problem =
            format!("{} here, {} at rank {from}", describe(call.operation), describe(theirs));
        CollectiveError::Mismatch { rank: self.rank, problem }
    }

    /// Waits for a packet or message from a rank, until it arrives, a rank fails, or time is up.
    fn wait<T>(
        &self,
        from: usize,
        channel: &Receiver<T>,
        call: Call,
    ) -> Result<T, CollectiveError> {
        if let Ok(it) = channel.try_recv() {
            return Ok(it);
        }
        let mut left = self.timeout.saturating_sub(call.started.elapsed());
        let mut is_extended = false;
        loop {
            select! {
                recv(channel) -> it => return it.map_err(|_| self.gone(from, call)),
                recv(self.signal.channel()) -> _ => return Err(self.gone(from, call)),
                default(left) => {}
            }
            let missing = self.missing(from, call);
            // All ranks have arrived: the last one gets a full timeout for its part.
            if !missing.is_empty() || is_extended {
                let missing = if missing.is_empty() { vec![from] } else { missing };
                return Err(self.timed_out(missing, call));
            }
            (left, is_extended) = (self.timeout, true);
        }
    }

    /// Ranks that have not arrived at the operation; for a message, its sender.
    fn missing(&self, from: usize, call: Call) -> Vec<usize> {
        if call.operation.name == RECEIVE {
            return vec![from];
        }
        let arrived = |rank: &usize| self.group.arrived[*rank].load(Ordering::Relaxed);
        self.others().filter(|rank| arrived(rank) <= call.operation.number).collect()
    }

    fn timed_out(&self, missing: Vec<usize>, call: Call) -> CollectiveError {
        let waited_ms = u64::try_from(call.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Operation { name: operation, number, .. } = call.operation;
        CollectiveError::Timeout { rank: self.rank, operation, number, waited_ms, missing }
    }

    /// The reason why a rank sends nothing more.
    fn gone(&self, from: usize, call: Call) -> CollectiveError {
        let Operation { name: operation, number, .. } = call.operation;
        let gone = |missing| CollectiveError::Gone { rank: self.rank, operation, number, missing };
        match self.signal.cause() {
            Some(Cause::TimedOut { missing, waited_ms }) => {
                CollectiveError::Timeout { rank: self.rank, operation, number, waited_ms, missing }
            }
            Some(Cause::Ended(missing)) => gone(missing),
            None => gone(vec![from]),
        }
    }

    fn start_message(&mut self, name: &'static str) -> Call {
        self.messages += 1;
        let operation = Operation { name, number: self.messages - 1, len: 0 };
        Call { operation, started: Instant::now() }
    }
}

const RECEIVE: &str = "receive";

impl Group {
    fn new(world: usize) -> Arc<Self> {
        let arrived = (0..world).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { arrived, ..Self::default() })
    }
}

/// A connection that only sends.
struct ThreadSender(ThreadCollective);

impl MessageSender for ThreadSender {
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.0.send(to, bytes)
    }

    fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent()
    }
}

impl Collective for ThreadCollective {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.peers.len()
    }

    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        let call = self.start_operation("all-reduce", values.len());
        reduce::all_reduce(self, call, values)
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let call = self.start_operation("all-gather", 0);
        let bytes: Arc<[u8]> = mine.into();
        for to in self.others() {
            self.send_packet(to, call, Body::Bytes(Arc::clone(&bytes)))?;
        }
        let from = |from| match from == self.rank {
            true => Ok(mine.to_vec()),
            false => Ok(self.receive_bytes(from, call)?.to_vec()),
        };
        (0..self.world()).map(from).collect()
    }

    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        let call = self.start_operation("broadcast", root);
        if self.rank != root {
            *bytes = self.receive_bytes(root, call)?.to_vec();
            return Ok(());
        }
        let shared: Arc<[u8]> = bytes.as_slice().into();
        self.others()
            .try_for_each(|to| self.send_packet(to, call, Body::Bytes(Arc::clone(&shared))))
    }

    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        if to != self.rank {
            self.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let call = self.start_message("send");
        let sent = self.peers[to].messages_out.send(bytes.to_vec());
        sent.map_err(|SendError(_)| self.gone(to, call))
    }

    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        let call = self.start_message(RECEIVE);
        self.wait(from, &self.peers[from].messages_in, call)
    }

    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError> {
        let call = self.start_message(RECEIVE);
        let mut select = Select::new();
        for channel in self.peers.iter() {
            select.recv(&channel.messages_in);
        }
        let receiver = select.recv(self.signal.channel());
        loop {
            let left = self.timeout.saturating_sub(call.started.elapsed());
            let Ok(ready) = select.select_timeout(left) else {
                return Err(self.timed_out(self.others().collect(), call));
            };
            let from = ready.index();
            if from == receiver {
                let _closed = ready.recv(self.signal.channel());
                return Err(self.gone(self.rank, call));
            }
            match ready.recv(&self.peers[from].messages_in) {
                Ok(bytes) => return Ok((from, bytes)),
                Err(_) => select.remove(from),
            }
        }
    }

    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError> {
        let world = self.world();
        let number = self.duplicates;
        self.duplicates += 1;
        let mut duplicates = self.group.duplicates.lock();
        let all = duplicates.entry(number).or_insert_with(|| Duplicate {
            group: Group::new(world),
            peers: connect(world).into_iter().map(Some).collect(),
        });
        let (group, mine) = (Arc::clone(&all.group), all.peers[self.rank].take());
        if all.peers.iter().all(Option::is_none) {
            duplicates.remove(&number);
        }
        drop(duplicates);
        let mine = mine.unwrap_or_default();
        let connection =
            Self::new(self.rank, mine, &group, self.timeout, &self.signal, &self.open_channels);
        Ok(Box::new(connection))
    }

    fn sender(&self) -> Box<dyn MessageSender> {
        Box::new(ThreadSender(self.clone()))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }
}
