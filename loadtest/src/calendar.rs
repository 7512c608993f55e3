//! Dates with times, as in logs: `2026-11-16 18:17:03.97`, `2026-11-16T18:17:03+01:00`.

/// Microseconds since 1970, in UTC without an offset; `None` for any other text.
pub(crate) fn unix_us(text: &str) -> Option<f64> {
    let (date, rest) = text.split_once(['T', ' ', 't'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset_s) = split_offset(rest.trim())?;
    let mut clock = clock.splitn(3, ':');
    let hours: u32 = clock.next()?.parse().ok()?;
    let minutes: u32 = clock.next()?.parse().ok()?;
    let seconds: f64 = clock.next()?.parse().ok()?;
    if hours > 23 || minutes > 59 || !(0.0..61.0).contains(&seconds) {
        return None;
    }
    let whole_s = days(year, month, day) * 86_400 + i64::from(hours * 3600 + minutes * 60);
    Some((whole_s - offset_s) as f64 * 1e6 + seconds * 1e6)
}

/// Time of day and its offset from UTC, in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset[1..].split_once(':').unwrap_or((&offset[1..], "0"));
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some((clock, sign * i64::from(hours * 3600 + minutes * 60)))
}

/// Days since 1970 in the Gregorian calendar. Years begin with March, so that the leap day is the
/// last.
fn days(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = (i64::from(year), i64::from(month));
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
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
