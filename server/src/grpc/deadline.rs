//! Deadlines of gRPC calls: the header `grpc-timeout`, counted from the arrival of the head.

use crate::accept::IoThread;
use crate::call::micros;
use crate::http::request_id;
use crate::status::Error;
use futures_util::{Stream, stream};
use http::HeaderMap;
use skysail_engine::request_record::RequestId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tonic::Status;

/// Header of a call's time limit.
const TIMEOUT: &str = "grpc-timeout";

/// Most digits of the time limit, as gRPC defines it.
const DIGITS_MAX: usize = 8;

/// Arrival and time limit of a call.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Thread that handles the call.
    pub(super) thread: Arc<IoThread>,
    pub(super) accepted: Instant,
    pub(super) limit: Option<Duration>,
    /// Id of the request in the headers.
    pub(super) request_id: Option<RequestId>,
}

impl Arrival {
    /// Arrival of a call whose head has been read now.
    ///
    /// gRPC does not define what an invalid `grpc-timeout` means. Here it is an error, so that
    /// nobody relies on a deadline without effect.
    pub(super) fn now(thread: Arc<IoThread>, headers: &HeaderMap) -> Result<Self, Error> {
        let limit = headers.get(TIMEOUT).map(|value| {
            let limit = value.to_str().ok().and_then(limit);
            limit.ok_or_else(|| {
                Error::malformed(format!(
                    "the header {TIMEOUT} is {value:?}: 1 to 8 digits and one of H, M, S, m, u, n"
                ))
            })
        });
        let (limit, request_id) = (limit.transpose()?, request_id(headers));
        Ok(Self { accepted: thread.clock().arrival(), limit, request_id, thread })
    }

    /// Arrival now, without a time limit.
    pub(super) fn unlimited(thread: Arc<IoThread>) -> Self {
        Self { accepted: thread.clock().arrival(), limit: None, request_id: None, thread }
    }

    /// Ends a stream of responses at the deadline, which is the whole stream's.
    pub(super) fn bound<T: Send + 'static>(self, responses: Responses<T>) -> Responses<T> {
        let Some(limit) = self.limit else { return responses };
        let Some(deadline) = self.accepted.checked_add(limit) else { return responses };
        let limit_us = micros(limit);
        let mut end = Box::pin(tokio::time::sleep_until(deadline.into()));
        let mut responses = Some(responses);
        Box::pin(stream::poll_fn(move |cx| {
            let Some(open) = &mut responses else { return Poll::Ready(None) };
            if end.as_mut().poll(cx).is_pending() {
                return open.as_mut().poll_next(cx);
            }
            responses = None;
            Poll::Ready(Some(Err(Error::DeadlinePassed { limit_us }.into())))
        }))
    }
}

/// Responses of a stream.
pub(super) type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Parses a time limit, such as `20m` for 20 milliseconds.
fn limit(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || digits.len() > DIGITS_MAX {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http::HeaderValue;

    fn now(headers: &HeaderMap) -> Result<Arrival, Error> {
        Arrival::now(Arc::default(), headers)
    }

    #[test]
    fn every_unit_of_time_is_parsed() {
        assert_eq!(limit("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(limit("2M"), Some(Duration::from_secs(120)));
        assert_eq!(limit("2S"), Some(Duration::from_secs(2)));
        assert_eq!(limit("20m"), Some(Duration::from_millis(20)));
        assert_eq!(limit("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(limit("0n"), Some(Duration::ZERO));
        assert_eq!(limit("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn an_invalid_timeout_is_an_error_that_names_the_header() {
        for text in ["", "m", "5", "5 m", "+5m", "-5m", "5.0m", "5ms", "5s", "5h", "123456789m"] {
            let headers = [("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))];
            let error = now(&headers.into_iter().collect()).unwrap_err().to_string();
            assert!(error.contains("grpc-timeout"), "{error}");
        }
        let headers =
            [("grpc-timeout".parse().unwrap(), HeaderValue::from_bytes(b"\xff").unwrap())];
        assert!(now(&headers.into_iter().collect()).is_err());
        assert_eq!(now(&HeaderMap::new()).unwrap().limit, None);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_deadline_and_not_before() {
        let bounded = |limit, responses| {
            Arrival { limit, ..Arrival::unlimited(Arc::default()) }
                .bound(responses)
                .collect::<Vec<_>>()
        };
        let responses = || -> Responses<u8> { Box::pin(stream::iter([Ok(1), Ok(2)])) };
        for limit in [None, Some(Duration::from_secs(3600))] {
            let got = bounded(limit, responses()).await;
            assert!(got.len() == 2 && got.iter().all(Result::is_ok), "{got:?}");
        }
        let endless = Box::pin(responses().chain(stream::pending()));
        let got = bounded(Some(Duration::from_millis(1)), endless).await;
        let end = got.last().unwrap().as_ref().unwrap_err();
        assert_eq!(end.code(), tonic::Code::DeadlineExceeded);
    }
}
