//! CSV: a line an example, of numbers between commas.

use super::dataset::Dataset;
use super::error::{DataError, Place};
use super::file;
use super::table::{Outcome, Table};
use ::csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::io::Read;
use std::path::Path;

/// The examples of a file; with a header its first line names the columns, else they are named
/// by their numbers.
pub(super) fn load(path: &Path, header: bool, outcome: &Outcome) -> Result<Dataset, DataError> {
    parse(path, file::open(path)?, header, outcome)
}

fn parse(
    path: &Path,
    bytes: impl Read,
    header: bool,
    outcome: &Outcome,
) -> Result<Dataset, DataError> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.has_headers(header).trim(Trim::All).from_reader(bytes);
    let told = |error| told(path, error);
    let names: Vec<String> = match header {
        true => reader.headers().map_err(told)?.iter().map(str::to_owned).collect(),
        // Asked for before a record is read, these are the first line, which stays.
        false => {
            (0..reader.headers().map_err(told)?.len()).map(|column| column.to_string()).collect()
        }
    };
    let mut table = Table::new(path, &names, outcome)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(told)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        let place = |column: usize| Place::Line(line, names[column].clone());
        let value = |column: usize| number(&record[column], || (path, place(column)));
        table.push(value, place)?;
    }
    table.finish()
}

fn number<'a>(text: &str, place: impl Fn() -> (&'a Path, Place)) -> Result<f64, DataError> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| {
        let (path, place) = place();
        let start: String = text.chars().take(40).collect();
        DataError::bad(path, place, format!("'{start}' is no number"))
    })
}

fn told(path: &Path, error: ::csv::Error) -> DataError {
    let line = error.position().map_or(0, ::csv::Position::line);
    let place = if line == 0 { Place::Whole } else { Place::Line(line, String::new()) };
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::io(path)(source),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let problem = format!("it has {len} columns, and the lines before have {expected_len}");
            DataError::bad(path, place, problem)
        }
        ErrorKind::Utf8 { .. } => DataError::bad(path, place, "it is no text in UTF-8"),
        other => DataError::bad(path, place, format!("it is no CSV: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Column;
    use super::*;
    use crate::batch::{Targets, Values};
    use proptest::prelude::*;

    fn read(text: &str, header: bool, outcome: &Outcome) -> Result<Dataset, String> {
        let read = parse(Path::new("a.csv"), text.as_bytes(), header, outcome);
        read.map_err(|error| error.to_string())
    }

    fn name(name: &str) -> Column {
        Column::Name(name.to_owned())
    }

    #[test]
    fn the_label_is_the_last_column_or_the_one_that_is_named() {
        let text = "a,b,kind\n1, 2.5,0\n-3,4e1,2\n";
        let data = read(text, true, &Outcome::Last).unwrap();
        let batch = data.batch(&[0, 1]);
        assert_eq!(batch.input.values, Values::Float32(vec![1.0, 2.5, -3.0, 40.0]));
        assert_eq!(batch.targets, Targets::Classes(vec![0, 2]));
        let data = read("1,2.5,0\n2,4,2\n", false, &Outcome::Label(Column::Number(0))).unwrap();
        assert_eq!(data.batch(&[1]).targets, Targets::Classes(vec![2]));
        assert_eq!((data.rows(), data.shape()), (2, &[2][..]));
        let numbers = Outcome::Numbers(vec![name("b"), name("a")]);
        let data = read(text, true, &numbers).unwrap();
        assert_eq!(data.batch(&[0]).targets, Targets::Numbers(vec![2.5, 1.0]));
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        let cases = [
            ("a,b\n1,0\nx,1\n", "a.csv:3, column a: 'x' is no number"),
            ("a,b\n1,0\n1,0.5\n", "a.csv:3, column b: 0.5 is no label"),
            ("a,b\n1,-1\n", "a.csv:2, column b: -1 is no label"),
            ("a,b\n1,nan\n", "a.csv:2, column b: 'nan' is no number"),
            ("a,b\n1,0\n1,0,3\n", "a.csv:3: it has 3 columns, and the lines before have 2"),
            ("a,b\n", "a.csv: it has no rows"),
            ("a\n1\n", "a.csv: it has 1 columns"),
            ("", "a.csv: it has 0 columns"),
        ];
        for (text, wanted) in cases {
            let said = read(text, true, &Outcome::Last).unwrap_err();
            assert!(said.starts_with(wanted), "{text:?}: {said}");
        }
        let said = read("a,b\n1,2\n", true, &Outcome::Label(name("c"))).unwrap_err();
        assert!(said.contains("no column 'c'; it has a, b"), "{said}");
        let none = read("a,b\n1,2\n", true, &Outcome::Label(Column::Number(2)));
        assert!(none.unwrap_err().contains("no column number 2"));
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "[0-9a,.\"\n\r e-]{0,64}", header: bool) {
            let _ = read(&text, header, &Outcome::Last);
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(Path::new("a.csv"), &bytes[..], true, &Outcome::Last);
        }
    }
}
