//! Prepares a load: describes each model, makes or reads its request, encodes it, and sends it
//! once.

use crate::error::Error;
use crate::payload::Source;
use crate::target::{Connector, EncodedRequest, Failure, Server, Target};
use std::time::Duration;
use tokio::time::timeout;

/// Kind of request in a load.
#[derive(Clone, Debug)]
pub struct RequestKind {
    /// Name of the model.
    pub model: String,
    /// Version of the model; `None` leaves it to the server.
    pub version: Option<String>,
    /// Source of the request.
    pub source: Source,
    /// Weight of the kind relative to the others, above 0.
    pub weight: f64,
}

/// Server that answered one request of each kind, with the encoded requests.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) server: Server,
    pub(crate) connector: Connector,
    pub(crate) kinds: Vec<PreparedKind>,
}

impl Prepared {
    /// Rows of a request; of the first kind if there are several.
    pub fn rows(&self) -> usize {
        self.kinds.first().map_or(1, |kind| kind.rows)
    }
}

/// Description of a kind of request. Its index is that of the connector's request.
#[derive(Clone, Debug)]
pub(crate) struct PreparedKind {
    pub(crate) model: String,
    pub(crate) version: Option<String>,
    /// File of the request, if any.
    pub(crate) input: Option<String>,
    pub(crate) weight: f64,
    pub(crate) rows: usize,
}

/// Describes the model, makes and encodes its request, and sends it once.
///
/// # Errors
/// Fails if any step fails; each has `limit` for its time.
pub async fn prepare(target: Target, source: &Source, limit: Duration) -> Result<Prepared, Error> {
    let server = target.server();
    let Target { model, version, .. } = target;
    let kind = RequestKind { model, version, source: source.clone(), weight: 1.0 };
    prepare_mix(&server, &[kind], limit).await
}

/// Prepares several kinds of request, at least one.
///
/// # Errors
/// Fails if any step fails; each has `limit` for its time.
pub async fn prepare_mix(
    server: &Server,
    kinds: &[RequestKind],
    limit: Duration,
) -> Result<Prepared, Error> {
    let (mut requests, mut prepared) = (Vec::new(), Vec::new());
    for kind in kinds {
        let (request, known) = encode(server, kind, limit).await?;
        requests.push(request);
        prepared.push(known);
    }
    let connector = Connector::new(server, requests);
    let first = async {
        for connection in &mut connector.connect(1).await? {
            for request in 0..kinds.len() {
                connection.send(request).await?;
            }
        }
        Ok(())
    };
    let first = timeout(limit, first).await.unwrap_or(Err(Failure::Timeout(limit)));
    first.map_err(Error::FirstRequest)?;
    Ok(Prepared { server: server.clone(), connector, kinds: prepared })
}

async fn encode(
    server: &Server,
    kind: &RequestKind,
    limit: Duration,
) -> Result<(EncodedRequest, PreparedKind), Error> {
    let Server { address, protocol, transport } = server.clone();
    let RequestKind { model, version, source, weight } = kind.clone();
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

    /// Prepared requests of this many rows, for a server that does not exist.
    pub(crate) fn prepared(rows: usize) -> Prepared {
        let address = "http://localhost:1".parse().unwrap();
        let server = Target::new(address, Protocol::Json, "m").server();
        let kind =
            PreparedKind { model: "m".into(), version: None, input: None, weight: 1.0, rows };
        Prepared { connector: Connector::new(&server, Vec::new()), server, kinds: vec![kind] }
    }
}
