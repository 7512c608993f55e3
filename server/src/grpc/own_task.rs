//! A request of a stream goes on when its client does not read: others may wait for the same run,
//! or for its place in the queue. So it is a task of its own, which ends with the stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use tonic::Status;

/// What becomes of a task; dropping it ends the task.
pub(super) struct OwnTask<T>(JoinHandle<Result<T, Status>>);

impl<T: Send + 'static> OwnTask<T> {
    /// Starts it on the runtime of this thread.
    pub(super) fn start(work: impl Future<Output = Result<T, Status>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for OwnTask<T> {
    type Output = Result<T, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let broke_off = |_| Status::internal("the request broke off; the server's log says why");
        Pin::new(&mut self.0).poll(cx).map(|ended| ended.map_err(broke_off).flatten())
    }
}

impl<T> Drop for OwnTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn it_goes_on_though_nobody_asks() {
        let (done, is_done) = oneshot::channel();
        let task = OwnTask::start(async move {
            done.send(()).unwrap();
            Ok(5)
        });
        is_done.await.unwrap();
        assert_eq!(task.await.unwrap(), 5);
    }

    #[tokio::test]
    async fn it_ends_with_whoever_wanted_it() {
        let (held, dropped) = oneshot::channel::<()>();
        let task = OwnTask::<()>::start(async move {
            let _held = held;
            std::future::pending().await
        });
        tokio::task::yield_now().await;
        drop(task);
        assert!(dropped.await.is_err());
    }
}
