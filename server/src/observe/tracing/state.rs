//! The header `tracestate`: state of other tracing systems, which is passed on.
//!
//! Parsed here, not by OpenTelemetry's `TraceState`, which has no limit on its size.
//!
//! Source: W3C Recommendation "Trace Context" (level 1), section 3.3; a key may begin with a digit,
//! as in level 2.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeSet;

/// Name of the header.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Most members of a list.
const MEMBERS_MAX: usize = 32;

/// Most bytes that are passed on: the least that the standard demands.
const BYTES_MAX: usize = 512;

/// Longer members are dropped first if the list is too long.
const LONG_MEMBER: usize = 128;

/// Most bytes of a key, and of a value.
const PART_MAX: usize = 256;

/// State in the headers; `None` if any of it is invalid.
pub(super) fn of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut members = Vec::new();
    let mut keys = BTreeSet::new();
    for value in headers.get_all(TRACESTATE) {
        for member in value.to_str().ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let is_sound = is_key(key) && is_value(value) && keys.insert(key);
            if !is_sound || members.len() == MEMBERS_MAX {
                return None;
            }
            members.push(member);
        }
    }
    shorten(&mut members);
    if members.is_empty() { None } else { HeaderValue::try_from(members.join(",")).ok() }
}

/// Drops long members first, then those at the end, which are the oldest.
fn shorten(members: &mut Vec<&str>) {
    let bytes = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    if bytes(members) > BYTES_MAX {
        members.retain(|member| member.len() <= LONG_MEMBER);
    }
    while bytes(members) > BYTES_MAX {
        members.pop();
    }
}

/// True for `system` and `tenant@system`.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        Some((tenant, system)) => is_part(tenant, 241) && is_part(system, 14),
        None => is_part(key, PART_MAX),
    }
}

fn is_part(part: &str, bytes_max: usize) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_any = |byte: u8| is_first(byte) || b"_-*/".contains(&byte);
    let begins = part.bytes().next().is_some_and(is_first);
    begins && part.len() <= bytes_max && part.bytes().all(is_any)
}

fn is_value(value: &str) -> bool {
    let is_any = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=';
    !value.is_empty() && value.len() <= PART_MAX && value.bytes().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(values: &[&str]) -> Option<String> {
        let value = |text: &&str| (TRACESTATE, HeaderValue::from_str(text).unwrap());
        let state = of(&values.iter().map(value).collect())?;
        Some(state.to_str().unwrap().to_owned())
    }

    #[test]
    fn members_keep_their_order() {
        assert_eq!(state(&[]), None);
        assert_eq!(state(&["", " , "]), None);
        assert_eq!(state(&["rojo=00f067aa,congo=t61"]).unwrap(), "rojo=00f067aa,congo=t61");
        assert_eq!(state(&["a=1, b=2 ,,", "4t@sys=x y"]).unwrap(), "a=1,b=2,4t@sys=x y");
    }

    #[test]
    fn an_invalid_state_is_dropped() {
        let many = (0..33).map(|i| format!("a{i}=1")).collect::<Vec<_>>().join(",");
        let long = format!("a={}", "x".repeat(257));
        let bad = ["a", "=1", "a=", "A=1", "-a=1", "a=1,a=2", "a=b=c", "a@b@c=1", &many, &long];
        for text in bad {
            assert_eq!(state(&["ok=1", text]), None, "{text}");
        }
    }

    #[test]
    fn a_long_state_loses_its_long_members_and_then_the_last() {
        let long = format!("long={}", "x".repeat(200));
        let short = |i| format!("k{i}={}", "y".repeat(20));
        let text = std::iter::once(long).chain((0..30).map(short)).collect::<Vec<_>>().join(",");
        let kept = state(&[&text]).unwrap();
        assert!(kept.starts_with("k0=") && (480..=BYTES_MAX).contains(&kept.len()), "{kept}");
    }

    proptest! {
        #[test]
        fn parsing_any_bytes_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let kept = of(&[(TRACESTATE, value)].into_iter().collect());
                prop_assert!(kept.is_none_or(|kept| kept.len() <= BYTES_MAX));
            }
        }
    }
}
