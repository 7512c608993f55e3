//! Recorded arrivals: a file with a time on each line, as a number, a row of CSV, or an object of
//! JSON.

use crate::calendar::unix_us;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Most arrivals of a recording.
const ARRIVALS_MAX: usize = 20_000_000;
/// Longest line, in bytes.
const LINE_MAX: u64 = 64 << 10;
/// Names of the time column, before a unit like `_ms`.
const NAMES: [&str; 8] = ["timestamp", "time", "ts", "at", "t", "arrival", "arrived", "start"];

/// Unit of a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Unit {
    /// All units by name.
    pub const ALL: [(&str, Self); 4] =
        [("ns", Self::Ns), ("us", Self::Us), ("ms", Self::Ms), ("s", Self::S)];

    fn us(self) -> f64 {
        match self {
            Self::S => 1e6,
            Self::Ms => 1e3,
            Self::Us => 1.0,
            Self::Ns => 1e-3,
        }
    }
}

/// Reason why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
    /// A line has no valid time.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// Path of the file.
        path: String,
        /// Number of the line, from 1.
        line: usize,
        /// Description of the error.
        reason: String,
    },
    /// The file has no arrivals.
    #[error("{path} has no arrivals: write a time on each line, in seconds")]
    Empty {
        /// Path of the file.
        path: String,
    },
    /// All arrivals are at the same time.
    #[error(
        "{path} has no two arrivals at different times: a recording is what lies between them, so \
         write two at least (or load by --rate)"
    )]
    OneTime {
        /// Path of the file.
        path: String,
    },
    /// The file has too many arrivals.
    #[error("{path} has more than {ARRIVALS_MAX} arrivals")]
    TooMany {
        /// Path of the file.
        path: String,
    },
}

/// Reads a recording: the arrivals in order, in microseconds from the first one. `speed` is above
/// 0; 2 plays it twice as fast.
///
/// A line is a number in `unit`, a number with its unit (`12ms`), or a date and time
/// (`2026-11-16 18:17:03.97`). A row of CSV or an object of JSON has such a time in a column or
/// field, found by its name. Without column names in the first line it is the first column. A name
/// may end in a unit: `arrival_ms`. Empty lines and those that begin with `#` are skipped.
///
/// # Errors
/// Fails if the file cannot be read, a line has no time, all times are equal, or there is none.
pub fn read(path: &Path, unit: Unit, speed: f64) -> Result<Vec<u64>, Error> {
    let name = || path.display().to_string();
    let file = File::open(path).map_err(|reason| Error::File { path: name(), reason })?;
    let times = times(BufReader::new(file), unit).map_err(|error| error.with_path(name()))?;
    let first =
        times.iter().copied().reduce(f64::min).ok_or_else(|| Error::Empty { path: name() })?;
    let mut arrivals: Vec<u64> = times.iter().map(|at| ((at - first) / speed) as u64).collect();
    arrivals.sort_unstable();
    match arrivals.last() {
        Some(0) => Err(Error::OneTime { path: name() }),
        _ => Ok(arrivals),
    }
}

/// Reason why reading stopped.
enum ReadError {
    System(io::Error),
    Line(usize, String),
    TooMany,
}

impl ReadError {
    fn with_path(self, path: String) -> Error {
        match self {
            Self::System(reason) => Error::File { path, reason },
            Self::Line(line, reason) => Error::Line { path, line, reason },
            Self::TooMany => Error::TooMany { path },
        }
    }
}

/// All times in microseconds, in the order of the file.
fn times(mut from: impl BufRead, unit: Unit) -> Result<Vec<f64>, ReadError> {
    let mut reader = Lines { unit, column: None };
    let (mut times, mut line, mut number) = (Vec::new(), String::new(), 0);
    loop {
        line.clear();
        number += 1;
        let fail = |reason: String| ReadError::Line(number, reason);
        let read = from.by_ref().take(LINE_MAX).read_line(&mut line);
        match read {
            Ok(0) => return Ok(times),
            Ok(length) if length as u64 == LINE_MAX => {
                return Err(fail(format!("it is longer than {LINE_MAX} bytes")));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(fail("it is not text".to_owned()));
            }
            Err(error) => return Err(ReadError::System(error)),
        }
        let text = line.trim().trim_start_matches('\u{feff}');
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(at_us) = reader.time_us(text).map_err(fail)? {
            times.push(at_us);
        }
        if times.len() > ARRIVALS_MAX {
            return Err(ReadError::TooMany);
        }
    }
}

/// State from previous lines.
struct Lines {
    unit: Unit,
    /// Column of the time in a row of CSV; `None` before the first row.
    column: Option<usize>,
}

impl Lines {
    /// Time of a line; `None` for a row of column names.
    fn time_us(&mut self, text: &str) -> Result<Option<f64>, String> {
        if text.starts_with('{') {
            return self.parse_object(text).map(Some);
        }
        let cells = || text.split([',', ';', '\t']).map(|cell| cell.trim().trim_matches('"'));
        let Some(column) = self.column else {
            let named = cells().position(|cell| time_name(cell).is_some());
            self.column = Some(named.unwrap_or(0));
            if let Some(unit) = named.and_then(|at| time_name(cells().nth(at)?)) {
                self.unit = unit.unwrap_or(self.unit);
                return Ok(None);
            }
            return self.parse_text(cells().next().unwrap_or_default()).map(Some);
        };
        let cell = cells().nth(column).ok_or_else(|| format!("it has no column {}", column + 1))?;
        self.parse_text(cell).map(Some)
    }

    fn parse_object(&self, text: &str) -> Result<f64, String> {
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("it is not an object: {error}"))?;
        let found = object.iter().find_map(|(name, value)| Some((time_name(name)?, value)));
        let (unit, value) =
            found.ok_or_else(|| format!("no field is one of {}", NAMES.join(", ")))?;
        let unit = unit.unwrap_or(self.unit);
        match value {
            Value::Number(number) => scaled(number.as_f64().unwrap_or(f64::NAN), unit),
            Value::String(text) => Self { unit, column: None }.parse_text(text),
            other => Err(format!("`{other}` is not a time")),
        }
    }

    fn parse_text(&self, text: &str) -> Result<f64, String> {
        if let Some(at_us) = unix_us(text) {
            return Ok(at_us);
        }
        let with_unit = Unit::ALL.iter().find_map(|(name, unit)| {
            Some((text.strip_suffix(name)?.trim_end().parse::<f64>().ok()?, *unit))
        });
        let (number, unit) = with_unit
            .or_else(|| Some((text.parse().ok()?, self.unit)))
            .ok_or_else(|| format!("`{text}` is not a time"))?;
        scaled(number, unit)
    }
}

fn scaled(number: f64, unit: Unit) -> Result<f64, String> {
    /// A hundred thousand years, more than any clock shows.
    const US_MAX: f64 = 3.2e18;
    let at_us = number * unit.us();
    if at_us.abs() <= US_MAX { Ok(at_us) } else { Err(format!("`{number}` is not a time")) }
}

/// Unit of a time column or field, `None` within if its name has none; `None` for other names.
fn time_name(name: &str) -> Option<Option<Unit>> {
    let name = name.to_ascii_lowercase();
    let with_unit = Unit::ALL
        .iter()
        .find_map(|(unit, which)| Some((name.strip_suffix(unit)?.strip_suffix('_')?, *which)));
    match with_unit {
        Some((rest, unit)) if NAMES.contains(&rest) => Some(Some(unit)),
        _ => NAMES.contains(&&*name).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_text(text: &str, unit: Unit, speed: f64) -> Result<Vec<u64>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path(), unit, speed)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    #[test]
    fn numbers_are_times_from_the_first() {
        let times = read_text("# a trace\n10\n10.5\n\n11.25\n", Unit::S, 1.0);
        assert_eq!(times, Ok(vec![0, 500_000, 1_250_000]));
        assert_eq!(read_text("3\n5", Unit::Ms, 2.0), Ok(vec![0, 1000]));
        assert_eq!(read_text("3\n5", Unit::Ns, 0.001), Ok(vec![0, 2]));
        assert_eq!(read_text("1ms\n7us\n2 s\n", Unit::S, 1.0), Ok(vec![0, 993, 1_999_993]));
    }

    #[test]
    fn arrivals_out_of_order_are_sorted() {
        assert_eq!(read_text("9\n7\n8", Unit::Us, 1.0), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn a_table_says_where_its_times_are() {
        let with_names = "user,Timestamp_ms,size\na,5,1\nb,7,1\n";
        assert_eq!(read_text(with_names, Unit::S, 1.0), Ok(vec![0, 2000]));
        assert_eq!(read_text("5;a\n7;b\n", Unit::S, 1.0), Ok(vec![0, 2_000_000]));
        let dates =
            "TIMESTAMP,Tokens\n2023-11-16 18:17:03.9799600,4\n2023-11-16 18:17:04.0319600,5";
        assert_eq!(read_text(dates, Unit::S, 1.0), Ok(vec![0, 52_000]));
    }

    #[test]
    fn lines_of_json_have_their_time_by_name() {
        let text = "{\"ts\": 1.5, \"model\": \"a\"}\n{\"model\": \"b\", \"ts\": 2}\n";
        assert_eq!(read_text(text, Unit::S, 1.0), Ok(vec![0, 500_000]));
        let text =
            "{\"time\": \"2026-01-01T00:00:00Z\"}\n{\"time\": \"2026-01-01T01:00:01+01:00\"}";
        assert_eq!(read_text(text, Unit::S, 1.0), Ok(vec![0, 1_000_000]));
    }

    #[test]
    fn errors_are_described_with_their_line() {
        let message = |text: &str| read_text(text, Unit::S, 1.0).unwrap_err();
        assert_eq!(message("1\nabc\n"), "FILE, line 2: `abc` is not a time");
        assert_eq!(
            message("1e300"),
            "FILE, line 1: `1e300` is not a time".replace("1e300", &1e300.to_string())
        );
        assert_eq!(message("a,time\nb\n"), "FILE, line 2: it has no column 2");
        assert!(message("{\"x\": 1}").starts_with("FILE, line 1: no field is one of timestamp"));
        assert!(message("{").starts_with("FILE, line 1: it is not an object"));
        assert_eq!(message("\n#\n"), "FILE has no arrivals: write a time on each line, in seconds");
        for one in ["5", "5\n5"] {
            let said = message(one);
            assert!(said.starts_with("FILE has no two arrivals at different times"), "{said}");
        }
        assert!(message(&"1".repeat(70_000)).contains("line 1: it is longer than"));
        let absent = read(Path::new("absent.csv"), Unit::S, 1.0).unwrap_err().to_string();
        assert!(absent.starts_with("cannot read absent.csv: No such file"), "{absent}");
    }
}
