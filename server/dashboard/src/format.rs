//! Formats numbers for people.

use std::time::Duration;

/// Placeholder for a missing value.
pub(super) const NOTHING: &str = "–";

/// Formats a whole number with thousands separators.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a rate, with one decimal below 10.
pub(super) fn number(value: f64) -> String {
    match value {
        ..0.05 => "0".to_owned(),
        ..9.95 => format!("{value:.1}"),
        _ => count(value.round() as u64),
    }
}

/// Formats microseconds, with three digits.
pub(super) fn time(us: f64) -> String {
    match us {
        ..0.5 => "0".to_owned(),
        ..999.5 => format!("{us:.0} µs"),
        ..999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        _ => format!("{} s", three_digits(us / 1e6)),
    }
}

/// Formats microseconds, or a placeholder.
pub(super) fn maybe_time(us: Option<f64>) -> String {
    us.map_or_else(|| NOTHING.to_owned(), time)
}

fn three_digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats bytes, in a suitable unit.
pub(super) fn bytes(value: u64) -> String {
    let value = value as f64;
    match value {
        ..1e3 => format!("{value:.0} B"),
        ..1e6 => format!("{} kB", three_digits(value / 1e3)),
        ..1e9 => format!("{} MB", three_digits(value / 1e6)),
        _ => format!("{} GB", three_digits(value / 1e9)),
    }
}

/// Formats a share from 0 to 1 as a percentage. Only 1 is 100 %, and only 0 is 0 %.
pub(super) fn share(share: f64) -> String {
    match share {
        ..=0.0 => "0 %".to_owned(),
        1.0.. => "100 %".to_owned(),
        0.1..0.99 => format!("{:.0} %", share * 100.0),
        _ => format!("{:.2} %", (share * 100.0).clamp(0.01, 99.99)),
    }
}

/// Formats a duration in its two largest units.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let counted = [0, 7, 999, 1000, 12_345, 1_234_567].map(count);
        assert_eq!(counted, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn times_and_bytes_have_a_suitable_unit() {
        let times = [0.2, 85.4, 1_234.0, 99_960.0, 2_410_000.0].map(time);
        assert_eq!(times, ["0", "85 µs", "1.23 ms", "100 ms", "2.41 s"]);
        assert_eq!([12, 18_400_000].map(bytes), ["12 B", "18.4 MB"]);
        assert_eq!(maybe_time(None), NOTHING);
    }

    #[test]
    fn only_exact_shares_are_zero_or_one_hundred_percent() {
        let shares = [0.0, 0.000_001, 0.05, 0.5, 0.999_999, 1.0].map(share);
        assert_eq!(shares, ["0 %", "0.01 %", "5.00 %", "50 %", "99.99 %", "100 %"]);
        assert_eq!([0.01, 3.12, 48.0, 48_123.4].map(number), ["0", "3.1", "48", "48,123"]);
    }

    #[test]
    fn a_duration_has_two_units() {
        let spans = [5, 65, 3_700, 90_000].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(spans, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
