//! Channels between threads: one in each direction between any two ranks.

use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::Arc;

/// Channels between a rank and one peer, which may be itself.
#[derive(Debug)]
pub(super) struct PeerChannels {
    /// Sends packets of collective operations.
    pub(super) packets_out: Sender<Packet>,
    /// Receives packets of collective operations.
    pub(super) packets_in: Receiver<Packet>,
    /// Sends messages.
    pub(super) messages_out: Sender<Vec<u8>>,
    /// Receives messages.
    pub(super) messages_in: Receiver<Vec<u8>>,
}

/// Data of one rank in a collective operation.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) operation: Operation,
    pub(super) body: Body,
}

/// Identity of an operation, by which ranks detect differing calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Number of earlier operations.
    pub(super) number: u64,
    /// Length in numbers.
    pub(super) len: usize,
}

#[derive(Debug)]
pub(super) enum Body {
    Numbers(Vec<f32>),
    Bytes(Arc<[u8]>),
}

/// Connects all ranks; returns the channels of each rank to all peers.
pub(super) fn connect(world: usize) -> Vec<Vec<PeerChannels>> {
    let mut outs: Vec<Vec<_>> = (0..world).map(|_| Vec::new()).collect();
    let mut ins: Vec<Vec<_>> = (0..world).map(|_| Vec::new()).collect();
    for from in &mut outs {
        for to in &mut ins {
            let ((packets_out, packets_in), (messages_out, messages_in)) =
                (unbounded(), unbounded());
            from.push((packets_out, messages_out));
            to.push((packets_in, messages_in));
        }
    }
    let join =
        |(outs, ins): (Vec<_>, Vec<_>)| {
            let pairs = outs.into_iter().zip(ins);
            let channels = |((packets_out, messages_out), (packets_in, messages_in))| {
                PeerChannels { packets_out, packets_in, messages_out, messages_in }
            };
            pairs.map(channels).collect()
        };
    outs.into_iter().zip(ins).map(join).collect()
}
