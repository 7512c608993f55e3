//! The way to a load: describe each model, make or read its request, encode it, and try it once.

use crate::error::Error;
use crate::payload::Source;
use crate::target::{Encoded, Endpoint, Failure, Server, Target};
use std::time::Duration;
use tokio::time::timeout;

/// One kind of request of a load.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The model's name.
    pub model: String,
    /// The model's version; `None` leaves it to the server.
    pub version: Option<String>,
    /// Where the request comes from.
    pub source: Source,
    /// How often it comes, against the weights of the others. Above 0.
    pub weight: f64,
}

/// A server that answered one request of each kind, and the requests in their encoded form.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) server: Server,
    pub(crate) endpoint: Endpoint,
    pub(crate) kinds: Vec<PreparedKind>,
}

impl Prepared {
    /// Rows of a request; of the first kind where there are several.
    pub fn rows(&self) -> usize {
        self.kinds.first().map_or(1, |kind| kind.rows)
    }
}

/// What is known of one kind of request. Its number is the endpoint's.
#[derive(Clone, Debug)]
pub(crate) struct PreparedKind {
    pub(crate) model: String,
    pub(crate) version: Option<String>,
    /// The file that it is from.
    pub(crate) input: Option<String>,
    pub(crate) weight: f64,
    pub(crate) rows: usize,
}

/// Describes the model, makes and encodes its request, and sends it once.
///
/// # Errors
/// When any of it fails; each step has `limit` for its time.
pub async fn prepare(target: Target, source: &Source, limit: Duration) -> Result<Prepared, Error> {
    let server = target.server();
    let Target { model, version, .. } = target;
    let kind = Kind { model, version, source: source.clone(), weight: 1.0 };
    prepare_mix(&server, &[kind], limit).await
}

/// The same for several kinds of request, of which there must be one at least.
///
/// # Errors
/// When any of it fails; each step has `limit` for its time.
pub async fn prepare_mix(
    server: &Server,
    kinds: &[Kind],
    limit: Duration,
) -> Result<Prepared, Error> {
    let (mut requests, mut prepared) = (Vec::new(), Vec::new());
    for kind in kinds {
        let (request, known) = encode(server, kind, limit).await?;
        requests.push(request);
        prepared.push(known);
    }
    let endpoint = Endpoint::new(server, requests);
    let first = async {
        for connection in &mut endpoint.connect(1).await? {
            for request in 0..kinds.len() {
                connection.send(request).await?;
            }
        }
        Ok(())
    };
    let first = timeout(limit, first).await.unwrap_or(Err(Failure::Timeout(limit)));
    first.map_err(Error::FirstRequest)?;
    Ok(Prepared { server: server.clone(), endpoint, kinds: prepared })
}

async fn encode(
    server: &Server,
    kind: &Kind,
    limit: Duration,
) -> Result<(Encoded, PreparedKind), Error> {
    let Server { address, protocol, transport } = server.clone();
    let Kind { model, version, source, weight } = kind.clone();
    let target = Target { address, protocol, model, version, transport };
    let described = timeout(limit, target.describe()).await;
    let described = described
        .unwrap_or(Err(Failure::Timeout(limit)))
        .map_err(|failure| undescribed(&target, failure))?;
    let payload = source.payload(&described)?;
    let request = target.encode(&payload)?;
    let input = match source {
        Source::File(path) => Some(path.display().to_string()),
        Source::Random(_) => None,
    };
    let Target { model, version, .. } = target;
    let rows = payload.rows(&described);
    Ok((request, PreparedKind { model, version, input, weight, rows }))
}

fn undescribed(target: &Target, failure: Failure) -> Error {
    let (address, model) = (target.address.clone(), target.model.clone());
    match failure {
        Failure::Connect(_) => Error::Unreachable { address, failure },
        _ => Error::Model { address, model, failure },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::target::Protocol;

    /// A model with so many rows a request, on a server that is not there.
    pub(crate) fn prepared(rows: usize) -> Prepared {
        let address = "http://localhost:1".parse().unwrap();
        let server = Target::new(address, Protocol::Json, "m").server();
        let kind =
            PreparedKind { model: "m".into(), version: None, input: None, weight: 1.0, rows };
        Prepared { endpoint: Endpoint::new(&server, Vec::new()), server, kinds: vec![kind] }
    }
}
