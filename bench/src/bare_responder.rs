//! Bare HTTP responder: it reads each body and responds with the same few bytes. No server on the
//! same HTTP library is faster.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Body of a response: ten floats in the protocol's JSON.
const ANSWER: &[u8] = br#"{"model_name":"bare","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,10],"data":[0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1]}]}"#;

/// Running responder, ended when dropped.
pub(crate) struct BareResponder {
    _runtime: Runtime,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl BareResponder {
    /// Starts it with a number of threads.
    pub(crate) fn start(threads: usize, width: u64) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?.to_string();
        runtime.spawn(serve(listener, metadata(width)));
        Ok(Self { _runtime: runtime, address })
    }
}

/// Metadata of a model with an input of this many floats.
fn metadata(width: u64) -> Bytes {
    let input = format!(r#"{{"name":"input","datatype":"FP32","shape":[-1,{width}]}}"#);
    let text = format!(
        r#"{{"name":"bare","versions":["1"],"platform":"","inputs":[{input}],"outputs":[]}}"#
    );
    text.into()
}

async fn serve(listener: TcpListener, metadata: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_ok() {
            let connection = http1::Builder::new();
            let metadata = metadata.clone();
            let service = service_fn(move |request| answer(request, metadata.clone()));
            let connection = connection.serve_connection(TokioIo::new(stream), service);
            // A client that disconnects ends its own connection only.
            tokio::spawn(async move { drop(connection.await) });
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    metadata: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        return Ok(Response::new(Full::new(metadata)));
    }
    // The body is read and discarded.
    drop(request.into_body().collect().await);
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}
