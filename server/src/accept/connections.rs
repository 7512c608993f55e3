//! The connections of one port, which finish their requests when the server stops.

use http::Response;
use hyper_util::server::graceful::GracefulConnection;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;

/// Time to write the answers to requests that are given up.
const FAREWELL: Duration = Duration::from_secs(1);

/// Progress of a port towards its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Requests come and go.
    #[default]
    Open,
    /// Connections finish the requests that they have.
    Finishing,
    /// Requests that are left get an error.
    GivingUp,
}

/// All connections of a port.
#[derive(Default)]
pub(super) struct Connections {
    stage: watch::Sender<Stage>,
    has_given_up: Arc<AtomicBool>,
}

/// The place of one connection among the others.
pub(super) struct Member(watch::Receiver<Stage>);

/// Tells the requests of a connection that they are given up.
#[derive(Clone)]
pub(super) struct GiveUp(Arc<AtomicBool>);

impl Connections {
    pub(super) fn member(&self) -> Member {
        Member(self.stage.subscribe())
    }

    pub(super) fn give_up(&self) -> GiveUp {
        GiveUp(Arc::clone(&self.has_given_up))
    }

    /// Waits until all requests are answered; after the time limit, those that are left get an
    /// error.
    pub(super) async fn finish(self, limit: Duration) {
        // Sending fails if there is no connection.
        let _ = self.stage.send(Stage::Finishing);
        if tokio::time::timeout(limit, self.stage.closed()).await.is_ok() {
            return;
        }
        tracing::warn!(
            "requests still ran {} ms after the signal to stop: they are answered with an error",
            limit.as_millis()
        );
        self.has_given_up.store(true, Relaxed);
        let _ = self.stage.send(Stage::GivingUp);
        if tokio::time::timeout(FAREWELL, self.stage.closed()).await.is_err() {
            tracing::warn!("connections are cut that did not end");
        }
    }
}

impl Member {
    /// Runs a connection to its end.
    pub(super) async fn run<C: GracefulConnection>(mut self, connection: C) -> C::Output {
        let mut connection = pin!(connection);
        loop {
            tokio::select! {
                biased;
                output = connection.as_mut() => return output,
                changed = self.0.changed() => match changed {
                    Ok(()) if *self.0.borrow_and_update() == Stage::Finishing => {
                        connection.as_mut().graceful_shutdown();
                    }
                    // The loop polls the connection again, and so its request.
                    Ok(()) => {}
                    Err(_) => return connection.await,
                },
            }
        }
    }
}

impl GiveUp {
    /// The response of a request, or `refusal` once it is given up and polled again. HTTP/1 polls a
    /// request with its connection; in HTTP/2 only its own events do.
    pub(super) async fn or_refuse<B>(
        self,
        response: impl Future<Output = Response<B>>,
        refusal: impl Fn() -> Response<B>,
    ) -> Response<B> {
        let mut response = pin!(response);
        std::future::poll_fn(|context| match response.as_mut().poll(context) {
            Poll::Pending if self.0.load(Relaxed) => Poll::Ready(refusal()),
            polled => polled,
        })
        .await
    }
}
