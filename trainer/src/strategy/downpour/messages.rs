//! What workers and the parameter server say to each other.

use crate::strategy::state::floats;

/// What a worker asks of a part of the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// To take a gradient of the mean loss of so many rows.
    Push { rate: f32, rows: f32, gradients: Vec<f32> },
    /// For the parameters, as soon as they lack no more than is allowed of `clock` pushes of each
    /// worker.
    Fetch { clock: u64 },
    /// Which workers a fetch with that clock waits for.
    Missing { clock: u64 },
    /// For the sums of squares.
    Save,
    /// To do without this worker from now on.
    Stop,
    /// To end at once, because the job has failed.
    Abandon,
}

/// What a part of the server answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// What was asked for.
    Values(Vec<f32>),
    /// These workers have stopped, and what was asked for needs them.
    Ended(Vec<usize>),
    /// These workers are missing.
    Missing(Vec<usize>),
    /// The request makes no sense here.
    Refused,
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
            Self::Abandon => message(5, &[]),
        }
    }

    /// Reads a request; `None` if it is none.
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
            5 => Some(Self::Abandon),
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
            Self::Refused => vec![3],
        }
    }

    /// Reads a reply; `None` if it is none.
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
            3 => Some(Self::Refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        for request in [
            Request::Push { rate: 0.1, rows: 3.0, gradients: vec![1.0, -2.5] },
            Request::Fetch { clock: 7 },
            Request::Missing { clock: u64::MAX },
            Request::Save,
            Request::Stop,
            Request::Abandon,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for reply in [
            Reply::Values(vec![1.0, 2.0]),
            Reply::Ended(vec![0, 5]),
            Reply::Missing(vec![]),
            Reply::Refused,
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        for bytes in [&[][..], &[9], &[0, 1, 2], &[1, 1, 2, 3], &[2]] {
            assert_eq!(Request::decode(bytes), None);
        }
        assert_eq!(Reply::decode(&[]), None);
        assert_eq!(Reply::decode(&[4]), None);
    }
}
