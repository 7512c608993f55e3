//! Messages between workers and the parameter server.

use crate::strategy::state::floats;

/// Request of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Applies a gradient of the mean loss over `rows` rows.
    Push { rate: f32, rows: f32, gradients: Vec<f32> },
    /// Requests the parameters, once they include enough pushes of each worker.
    Fetch { clock: u64 },
    /// Requests the workers for which a fetch with that clock waits.
    Missing { clock: u64 },
    /// Requests the sums of squares.
    Save,
    /// Removes this worker from the group.
    Stop,
    /// Stops the server at once, because the job has failed.
    Abort,
}

/// Reply of a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// The requested values.
    Values(Vec<f32>),
    /// Ranks that have stopped, although the request needs them.
    Ended(Vec<usize>),
    /// Ranks of the missing workers.
    Missing(Vec<usize>),
    /// The request is invalid.
    Invalid,
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let message = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
        match self {
            Self::Push { rate, rows, gradients } => {
                let mut bytes = Vec::with_capacity(9 + 4 * gradients.len());
                bytes.push(0);
                bytes.extend(rate.to_ne_bytes());
                bytes.extend(rows.to_ne_bytes());
                bytes.extend_from_slice(bytemuck::cast_slice(gradients));
                bytes
            }
            Self::Fetch { clock } => message(1, &clock.to_ne_bytes()),
            Self::Missing { clock } => message(2, &clock.to_ne_bytes()),
            Self::Save => message(3, &[]),
            Self::Stop => message(4, &[]),
            Self::Abort => message(5, &[]),
        }
    }

    /// Decodes a request; `None` if it is invalid.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let clock = || Some(u64::from_ne_bytes(rest.try_into().ok()?));
        match kind {
            0 => {
                let (rate, rest) = rest.split_first_chunk()?;
                let (rows, gradients) = rest.split_first_chunk()?;
                Some(Self::Push {
                    rate: f32::from_ne_bytes(*rate),
                    rows: f32::from_ne_bytes(*rows),
                    gradients: floats(gradients),
                })
            }
            1 => Some(Self::Fetch { clock: clock()? }),
            2 => Some(Self::Missing { clock: clock()? }),
            3 => Some(Self::Save),
            4 => Some(Self::Stop),
            5 => Some(Self::Abort),
            _ => None,
        }
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let ranks = |kind: u8, ranks: &[usize]| {
            let ranks = ranks.iter().flat_map(|rank| (*rank as u64).to_ne_bytes());
            [kind].into_iter().chain(ranks).collect()
        };
        match self {
            Self::Values(values) => [&[0], bytemuck::cast_slice(values)].concat(),
            Self::Ended(missing) => ranks(1, missing),
            Self::Missing(missing) => ranks(2, missing),
            Self::Invalid => vec![3],
        }
    }

    /// Decodes a reply; `None` if it is invalid.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let ranks = || {
            let ranks = rest.as_chunks().0.iter().map(|rank| u64::from_ne_bytes(*rank) as usize);
            ranks.collect()
        };
        match kind {
            0 => Some(Self::Values(floats(rest))),
            1 => Some(Self::Ended(ranks())),
            2 => Some(Self::Missing(ranks())),
            3 => Some(Self::Invalid),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_round_trip() {
        for request in [
            Request::Push { rate: 0.1, rows: 3.0, gradients: vec![1.0, -2.5] },
            Request::Fetch { clock: 7 },
            Request::Missing { clock: u64::MAX },
            Request::Save,
            Request::Stop,
            Request::Abort,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for reply in [
            Reply::Values(vec![1.0, 2.0]),
            Reply::Ended(vec![0, 5]),
            Reply::Missing(vec![]),
            Reply::Invalid,
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn invalid_messages_are_not_decoded() {
        for bytes in [&[][..], &[9], &[0, 1, 2], &[1, 1, 2, 3], &[2]] {
            assert_eq!(Request::decode(bytes), None);
        }
        assert_eq!(Reply::decode(&[]), None);
        assert_eq!(Reply::decode(&[4]), None);
    }
}
