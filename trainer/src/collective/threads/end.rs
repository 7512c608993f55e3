//! A rank's end of the wires, with its deadline.

use super::alarm::{Alarm, Cause};
use super::reduce;
use super::wires::{Body, Operation, Part, Wire, wires};
use crate::collective::{Collective, CollectiveError, Outbox};
use crossbeam_channel::{Receiver, Select, SendError, select};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rank's end of a group of threads.
#[derive(Debug, Clone)]
pub(super) struct End {
    rank: usize,
    deadline: Duration,
    wires: Arc<Vec<Wire>>,
    group: Arc<Group>,
    alarm: Arc<Alarm>,
    /// All wires this rank ever had stay open until its work is over and, if that failed, the
    /// alarm has rung: so that the others hear why rather than just silence.
    kept: Arc<Kept>,
    collectives: u64,
    messages: u64,
    duplicates: u64,
    bytes_sent: Arc<AtomicU64>,
    /// Blocks to fill again.
    pub(super) spare: Vec<Vec<f32>>,
}

/// Wires that are kept open.
pub(super) type Kept = Mutex<Vec<Arc<Vec<Wire>>>>;

/// What the ends of a group share.
#[derive(Debug, Default)]
struct Group {
    /// How many collective operations each rank has come to.
    arrived: Vec<AtomicU64>,
    /// Duplicates of which some ranks have not got their end yet.
    duplicates: Mutex<HashMap<u64, Duplicate>>,
}

#[derive(Debug)]
struct Duplicate {
    group: Arc<Group>,
    wires: Vec<Option<Vec<Wire>>>,
}

/// One operation under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: Operation,
    started: Instant,
}

impl End {
    /// The ends of a new group.
    pub(super) fn group(world: usize, deadline: Duration, alarm: &Arc<Alarm>) -> Vec<Self> {
        let group = Group::new(world);
        let end = |(rank, wires)| Self::new(rank, wires, &group, deadline, alarm, &Arc::default());
        wires(world).into_iter().enumerate().map(end).collect()
    }

    fn new(
        rank: usize,
        wires: Vec<Wire>,
        group: &Arc<Group>,
        deadline: Duration,
        alarm: &Arc<Alarm>,
        kept: &Arc<Kept>,
    ) -> Self {
        let wires = Arc::new(wires);
        kept.lock().push(Arc::clone(&wires));
        Self {
            rank,
            deadline,
            wires,
            group: Arc::clone(group),
            alarm: Arc::clone(alarm),
            kept: Arc::clone(kept),
            collectives: 0,
            messages: 0,
            duplicates: 0,
            bytes_sent: Arc::default(),
            spare: Vec::new(),
        }
    }

    /// What keeps its wires open.
    pub(super) fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    /// All ranks but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.wires.len()).filter(move |other| *other != rank)
    }

    /// Comes to the next collective operation.
    fn arrive(&mut self, name: &'static str, len: usize) -> Call {
        let operation = Operation { name, number: self.collectives, len };
        self.collectives += 1;
        self.group.arrived[self.rank].store(self.collectives, Ordering::Relaxed);
        Call { operation, started: Instant::now() }
    }

    /// Gives another rank a part of a collective operation.
    pub(super) fn give(
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
        let part = Part { operation: call.operation, body };
        self.wires[to].parts_out.send(part).map_err(|SendError(_)| self.gone(to, call))
    }

    /// Takes numbers that another rank gave.
    pub(super) fn take_numbers(
        &self,
        from: usize,
        call: Call,
    ) -> Result<Vec<f32>, CollectiveError> {
        match self.take(from, call)? {
            Body::Numbers(numbers) => Ok(numbers),
            Body::Bytes(_) => Err(self.mismatch(from, call, call.operation)),
        }
    }

    fn take_bytes(&self, from: usize, call: Call) -> Result<Arc<[u8]>, CollectiveError> {
        match self.take(from, call)? {
            Body::Bytes(bytes) => Ok(bytes),
            Body::Numbers(_) => Err(self.mismatch(from, call, call.operation)),
        }
    }

    fn take(&self, from: usize, call: Call) -> Result<Body, CollectiveError> {
        let part = self.wait(from, &self.wires[from].parts_in, call)?;
        if part.operation != call.operation {
            return Err(self.mismatch(from, call, part.operation));
        }
        Ok(part.body)
    }

    fn mismatch(&self, from: usize, call: Call, theirs: Operation) -> CollectiveError {
        let say = |it: Operation| format!("{} number {} of {}", it.name, it.number, it.len);
        let problem = format!("{} here, {} at rank {from}", say(call.operation), say(theirs));
        CollectiveError::Mismatch { rank: self.rank, problem }
    }

    /// Waits for what comes from a rank: until it is there, a rank fails, or time is up.
    fn wait<T>(&self, from: usize, wire: &Receiver<T>, call: Call) -> Result<T, CollectiveError> {
        if let Ok(it) = wire.try_recv() {
            return Ok(it);
        }
        let mut left = self.deadline.saturating_sub(call.started.elapsed());
        let mut patience = 1;
        loop {
            select! {
                recv(wire) -> it => return it.map_err(|_| self.gone(from, call)),
                recv(self.alarm.bell()) -> _ => return Err(self.gone(from, call)),
                default(left) => {}
            }
            let missing = self.missing(from, call);
            // All are there: who came at the last moment has as long to do its part.
            if !missing.is_empty() || patience == 0 {
                let missing = if missing.is_empty() { vec![from] } else { missing };
                return Err(self.late(missing, call));
            }
            (left, patience) = (self.deadline, 0);
        }
    }

    /// Who has not come to the operation; to a message, its sender.
    fn missing(&self, from: usize, call: Call) -> Vec<usize> {
        if call.operation.name == RECEIVE {
            return vec![from];
        }
        let arrived = |rank: &usize| self.group.arrived[*rank].load(Ordering::Relaxed);
        self.others().filter(|rank| arrived(rank) <= call.operation.number).collect()
    }

    fn late(&self, missing: Vec<usize>, call: Call) -> CollectiveError {
        let waited_ms = u64::try_from(call.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Operation { name: operation, number, .. } = call.operation;
        CollectiveError::Late { rank: self.rank, operation, number, waited_ms, missing }
    }

    /// Why nothing comes from a rank any more.
    fn gone(&self, from: usize, call: Call) -> CollectiveError {
        let Operation { name: operation, number, .. } = call.operation;
        let gone = |missing| CollectiveError::Gone { rank: self.rank, operation, number, missing };
        match self.alarm.cause() {
            Some(Cause::Late { missing, waited_ms }) => {
                CollectiveError::Late { rank: self.rank, operation, number, waited_ms, missing }
            }
            Some(Cause::Ended(missing)) => gone(missing),
            None => gone(vec![from]),
        }
    }

    fn letter(&mut self, name: &'static str) -> Call {
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

/// An end that does nothing but send.
struct Sending(End);

impl Outbox for Sending {
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.0.send(to, bytes)
    }

    fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent()
    }
}

impl Collective for End {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.wires.len()
    }

    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        let call = self.arrive("all-reduce", values.len());
        reduce::all_reduce(self, call, values)
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let call = self.arrive("all-gather", 0);
        let bytes: Arc<[u8]> = mine.into();
        for to in self.others() {
            self.give(to, call, Body::Bytes(Arc::clone(&bytes)))?;
        }
        let from = |from| match from == self.rank {
            true => Ok(mine.to_vec()),
            false => Ok(self.take_bytes(from, call)?.to_vec()),
        };
        (0..self.world()).map(from).collect()
    }

    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        let call = self.arrive("broadcast", root);
        if self.rank != root {
            *bytes = self.take_bytes(root, call)?.to_vec();
            return Ok(());
        }
        let shared: Arc<[u8]> = bytes.as_slice().into();
        self.others().try_for_each(|to| self.give(to, call, Body::Bytes(Arc::clone(&shared))))
    }

    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        if to != self.rank {
            self.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let call = self.letter("send");
        let sent = self.wires[to].mail_out.send(bytes.to_vec());
        sent.map_err(|SendError(_)| self.gone(to, call))
    }

    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        let call = self.letter(RECEIVE);
        self.wait(from, &self.wires[from].mail_in, call)
    }

    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError> {
        let call = self.letter(RECEIVE);
        let mut select = Select::new();
        for wire in self.wires.iter() {
            select.recv(&wire.mail_in);
        }
        let bell = select.recv(self.alarm.bell());
        loop {
            let left = self.deadline.saturating_sub(call.started.elapsed());
            let Ok(ready) = select.select_timeout(left) else {
                return Err(self.late(self.others().collect(), call));
            };
            let from = ready.index();
            if from == bell {
                let _closed = ready.recv(self.alarm.bell());
                return Err(self.gone(self.rank, call));
            }
            match ready.recv(&self.wires[from].mail_in) {
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
            wires: wires(world).into_iter().map(Some).collect(),
        });
        let (group, mine) = (Arc::clone(&all.group), all.wires[self.rank].take());
        if all.wires.iter().all(Option::is_none) {
            duplicates.remove(&number);
        }
        drop(duplicates);
        let mine = mine.unwrap_or_default();
        let end = Self::new(self.rank, mine, &group, self.deadline, &self.alarm, &self.kept);
        Ok(Box::new(end))
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        Box::new(Sending(self.clone()))
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }
}
