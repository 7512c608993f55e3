//! The wires between threads: one each way between any two ranks.

use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::Arc;

/// What one rank has of the wires between it and another, which may be itself.
#[derive(Debug)]
pub(super) struct Wire {
    /// Parts of collective operations, to the other.
    pub(super) parts_out: Sender<Part>,
    /// Parts of collective operations, from the other.
    pub(super) parts_in: Receiver<Part>,
    /// Messages to the other.
    pub(super) mail_out: Sender<Vec<u8>>,
    /// Messages from the other.
    pub(super) mail_in: Receiver<Vec<u8>>,
}

/// One rank's part of a collective operation.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) operation: Operation,
    pub(super) body: Body,
}

/// Which operation, so that ranks see when they do not do the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// How many came before.
    pub(super) number: u64,
    /// Of how many numbers.
    pub(super) len: usize,
}

#[derive(Debug)]
pub(super) enum Body {
    Numbers(Vec<f32>),
    Bytes(Arc<[u8]>),
}

/// For each rank its wires to all.
pub(super) fn wires(world: usize) -> Vec<Vec<Wire>> {
    let mut outs: Vec<Vec<_>> = (0..world).map(|_| Vec::new()).collect();
    let mut ins: Vec<Vec<_>> = (0..world).map(|_| Vec::new()).collect();
    for from in &mut outs {
        for to in &mut ins {
            let ((parts_out, parts_in), (mail_out, mail_in)) = (unbounded(), unbounded());
            from.push((parts_out, mail_out));
            to.push((parts_in, mail_in));
        }
    }
    let join = |(outs, ins): (Vec<_>, Vec<_>)| {
        let pairs = outs.into_iter().zip(ins);
        let wire = |((parts_out, mail_out), (parts_in, mail_in))| Wire {
            parts_out,
            parts_in,
            mail_out,
            mail_in,
        };
        pairs.map(wire).collect()
    };
    outs.into_iter().zip(ins).map(join).collect()
}
