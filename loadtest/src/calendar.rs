//! Dates with times, as in logs: `2026-11-16 18:17:03.97`, `2026-11-16T18:17:03+01:00`.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds since 1970, in UTC without an offset; `None` for any other text.
pub(crate) fn unix_us(text: &str) -> Option<f64> {
    let (date, clock) = text.split_once(['T', ' ', 't'])?;
    let clock = clock.trim();
    let offset = if clock.contains(['Z', 'z', '+', '-']) { "" } else { "Z" };
    let at = OffsetDateTime::parse(&format!("{date}T{clock}{offset}"), &Rfc3339).ok()?;
    Some(at.unix_timestamp_nanos() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        let seconds = |text: &str| unix_us(text).map(|us| us / 1e6);
        assert_eq!(seconds("1970-01-01 00:00:00"), Some(0.0));
        assert_eq!(seconds("2000-03-01T00:00:00Z"), Some(951_868_800.0));
        assert_eq!(seconds("2024-02-29T12:30:15.5+02:00"), Some(1_709_202_615.5));
        assert_eq!(
            seconds("2024-02-29T12:30:15.5-0030".replace("0030", "00:30").as_str()),
            Some(1_709_211_615.5)
        );
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "1.5", "2024-02-29", "2024-13-01 00:00:00", "2024-01-01 24:00:00", "T", "a b"]
        {
            assert_eq!(unix_us(text), None, "{text}");
        }
    }
}
