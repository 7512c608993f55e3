//! A task that is aborted when its handle is dropped.
//!
//! A request of a stream must make progress even if its client does not read. Other requests may wait
//! for the same run, or behind it in the queue. So each is a task, which ends with the stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;
use tonic::Status;

/// Handle of a task, and a future of its result.
pub(super) struct AbortOnDrop<T>(JoinHandle<Result<T, Status>>);

impl<T: Send + 'static> AbortOnDrop<T> {
    /// Spawns a task on the runtime of this thread.
    pub(super) fn spawn(work: impl Future<Output = Result<T, Status>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let panicked = |_| Status::internal("the request broke off; the server's log says why");
        Pin::new(&mut self.0).poll(cx).map(|ended| ended.map_err(panicked).flatten())
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_task_runs_though_nothing_polls_its_handle() {
        let (done, is_done) = oneshot::channel();
        let task = AbortOnDrop::spawn(async move {
            done.send(()).unwrap();
            Ok(5)
        });
        is_done.await.unwrap();
        assert_eq!(task.await.unwrap(), 5);
    }

    #[tokio::test]
    async fn dropping_the_handle_aborts_the_task() {
        let (held, dropped) = oneshot::channel::<()>();
        let task = AbortOnDrop::<()>::spawn(async move {
            let _held = held;
            std::future::pending().await
        });
        tokio::task::yield_now().await;
        drop(task);
        assert!(dropped.await.is_err());
    }
}
