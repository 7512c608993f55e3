//! The header `traceparent`: parsed and written.
//!
//! Parsed here, not by OpenTelemetry's propagator, which builds maps of strings for each request.
//!
//! Source: W3C Recommendation "Trace Context" (level 1), section 3.2.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::num::{NonZeroU64, NonZeroU128};

/// Header with the ids of a trace and a span.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// The version that marks an invalid header.
const VERSION_INVALID: u8 = 0xff;

/// The only flag of version 00.
const SAMPLED: u8 = 1;

/// A span, as one process passes it to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace: NonZeroU128,
    pub(super) span: NonZeroU64,
    /// The trace is recorded.
    pub(super) sampled: bool,
}

impl TraceParent {
    /// Parses a header's value. An invalid one is ignored, and fails no request.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let [v1, v0, b'-', trace @ .., _, _, _] = known else { return None };
        let (trace, rest_of_known) = trace.split_at_checked(32)?;
        let [b'-', span @ ..] = rest_of_known else { return None };
        let [.., b'-', f1, f0] = known else { return None };
        let version = byte(*v1, *v0)?;
        // A later version may have more after a dash, unlike version 00.
        let is_known = version == 0 && rest.is_empty();
        let is_later = version != 0 && (rest.is_empty() || rest[0] == b'-');
        if version == VERSION_INVALID || !(is_known || is_later) {
            return None;
        }
        let trace = NonZeroU128::new(hex(trace)?)?;
        let span = NonZeroU64::new(u64::try_from(hex(span)?).ok()?)?;
        Some(Self { trace, span, sampled: byte(*f1, *f0)? & SAMPLED != 0 })
    }

    /// The parent of a request. Several headers, or an invalid one, are ignored.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.as_bytes())
    }

    /// Formats a header's value.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let flags = u8::from(self.sampled);
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        HeaderValue::try_from(text).ok()
    }
}

/// Parses lower-case hexadecimal digits, at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | u128::from(nibble(digit)?)))
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::parse(text.as_bytes())
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (TRACEPARENT, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_parent_is_parsed_and_written() {
        let parent = parse(GOOD).unwrap();
        assert_eq!(parent.trace.get(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span.get(), 0x00f0_67aa_0ba9_02b7);
        assert!(parent.sampled);
        assert_eq!(parent.header().unwrap(), GOOD);
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(parse(&unsampled).unwrap().header().unwrap(), unsampled.as_str());
    }

    #[test]
    fn the_known_part_of_a_later_version_is_parsed() {
        let later = GOOD.replacen("00", "cc", 1);
        for text in [later.clone(), later.clone() + "-", later.clone() + "-what-comes"] {
            assert_eq!(parse(&text), parse(GOOD), "{text}");
        }
        assert_eq!(parse(&(later + ".what")), None);
        assert!(parse(&GOOD.replace("-01", "-ff")).unwrap().sampled);
        assert!(!parse(&GOOD.replace("-01", "-fe")).unwrap().sampled);
    }

    #[test]
    fn an_invalid_parent_is_ignored() {
        let zero_trace = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
        let bad = [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &GOOD.replace('-', "_"),
            &GOOD.replacen('4', "-", 1),
            &GOOD.replace("-01", "-0x"),
            &zero_trace,
            &zero_span,
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(TraceParent::of(&headers(&[GOOD, GOOD])), None);
        assert_eq!(TraceParent::of(&headers(&[GOOD])), parse(GOOD));
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let parsed = TraceParent::parse(&bytes);
            if let Some(parent) = parsed {
                prop_assert!(bytes.len() >= LENGTH);
                let header = parent.header().unwrap();
                prop_assert_eq!(TraceParent::parse(header.as_bytes()), Some(parent));
            }
        }

        #[test]
        fn parsing_a_damaged_parent_does_not_panic(at in 0..55_usize, byte: u8) {
            let mut text = GOOD.as_bytes().to_vec();
            text[at] = byte;
            if let Some(parent) = TraceParent::parse(&text) {
                prop_assert!(parent.header().is_some());
            }
        }
    }
}
