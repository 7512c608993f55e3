//! How long a gRPC call may take: its header `grpc-timeout`, from when its head was there.

use crate::http::request_id;
use crate::lag;
use crate::status::Error;
use futures_util::{Stream, stream};
use http::HeaderMap;
use skysail_engine::request_record::RequestId;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tonic::Status;

/// The header of a call's time limit.
const TIMEOUT: &str = "grpc-timeout";

/// Digits of the time limit at most, as gRPC has it.
const DIGITS_MAX: usize = 8;

/// When a call came, and how long it may take from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) accepted: Instant,
    pub(super) limit: Option<Duration>,
    /// The name of its request in its headers.
    pub(super) request_id: Option<RequestId>,
}

impl Arrival {
    /// Of a call whose head is there now. gRPC does not say what a header is that can not be
    /// read; here it is refused, so that nobody relies on a deadline that has no effect.
    pub(super) fn now(headers: &HeaderMap) -> Result<Self, Error> {
        let limit = headers.get(TIMEOUT).map(|value| {
            let limit = value.to_str().ok().and_then(limit);
            limit.ok_or_else(|| {
                Error::malformed(format!(
                    "the header {TIMEOUT} is {value:?}: 1 to 8 digits and one of H, M, S, m, u, n"
                ))
            })
        });
        let (limit, request_id) = (limit.transpose()?, request_id(headers));
        Ok(Self { accepted: lag::arrival(), limit, request_id })
    }

    /// Now, and for as long as it takes.
    pub(super) fn unlimited() -> Self {
        Self { accepted: lag::arrival(), limit: None, request_id: None }
    }

    /// The answers of a stream until its deadline, which is the whole stream's and no request's.
    pub(super) fn bound<T: Send + 'static>(self, answers: Answers<T>) -> Answers<T> {
        let Some(limit) = self.limit else { return answers };
        let Some(deadline) = self.accepted.checked_add(limit) else { return answers };
        let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let mut end = Box::pin(tokio::time::sleep_until(deadline.into()));
        let mut answers = Some(answers);
        Box::pin(stream::poll_fn(move |cx| {
            let Some(open) = &mut answers else { return Poll::Ready(None) };
            if end.as_mut().poll(cx).is_pending() {
                return open.as_mut().poll_next(cx);
            }
            answers = None;
            Poll::Ready(Some(Err(Error::DeadlinePassed { limit_us }.into())))
        }))
    }
}

/// Answers of a stream.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A limit as the header has it, such as `20m` for 20 milliseconds.
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

    #[test]
    fn every_unit_of_time_is_known() {
        assert_eq!(limit("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(limit("2M"), Some(Duration::from_secs(120)));
        assert_eq!(limit("2S"), Some(Duration::from_secs(2)));
        assert_eq!(limit("20m"), Some(Duration::from_millis(20)));
        assert_eq!(limit("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(limit("0n"), Some(Duration::ZERO));
        assert_eq!(limit("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn what_is_no_time_is_refused_by_its_name() {
        for text in ["", "m", "5", "5 m", "+5m", "-5m", "5.0m", "5ms", "5s", "5h", "123456789m"] {
            let headers = [("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))];
            let error = Arrival::now(&headers.into_iter().collect()).unwrap_err().to_string();
            assert!(error.contains("grpc-timeout"), "{error}");
        }
        let headers =
            [("grpc-timeout".parse().unwrap(), HeaderValue::from_bytes(b"\xff").unwrap())];
        assert!(Arrival::now(&headers.into_iter().collect()).is_err());
        assert_eq!(Arrival::now(&HeaderMap::new()).unwrap().limit, None);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_deadline_and_not_before() {
        let bounded = |limit, answers| {
            Arrival { limit, ..Arrival::unlimited() }.bound(answers).collect::<Vec<_>>()
        };
        let answers = || -> Answers<u8> { Box::pin(stream::iter([Ok(1), Ok(2)])) };
        for limit in [None, Some(Duration::from_secs(3600))] {
            let got = bounded(limit, answers()).await;
            assert!(got.len() == 2 && got.iter().all(Result::is_ok), "{got:?}");
        }
        let endless = Box::pin(answers().chain(stream::pending()));
        let got = bounded(Some(Duration::from_millis(1)), endless).await;
        let end = got.last().unwrap().as_ref().unwrap_err();
        assert_eq!(end.code(), tonic::Code::DeadlineExceeded);
    }
}
