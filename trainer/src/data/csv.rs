//! CSV files: each line is a row of numbers.

use super::dataset::Dataset;
use super::error::{DataError, Location};
use super::file;
use super::table::{Table, TargetColumns};
use ::csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::io::Read;
use std::path::Path;

/// Loads a file. With a header its first line names the columns; otherwise their numbers do.
pub(super) fn load(
    path: &Path,
    header: bool,
    target_columns: &TargetColumns,
) -> Result<Dataset, DataError> {
    parse(path, file::open(path)?, header, target_columns)
}

fn parse(
    path: &Path,
    bytes: impl Read,
    header: bool,
    target_columns: &TargetColumns,
) -> Result<Dataset, DataError> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.has_headers(header).trim(Trim::All).from_reader(bytes);
    let parse_error = |error| parse_error(path, error);
    let names: Vec<String> = match header {
        true => reader.headers().map_err(parse_error)?.iter().map(str::to_owned).collect(),
        // Before the first record is read, these are the fields of the first line, which is kept.
        false => (0..reader.headers().map_err(parse_error)?.len())
            .map(|column| column.to_string())
            .collect(),
    };
    let mut table = Table::new(path, &names, target_columns)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(parse_error)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        let location = |column: usize| Location::Line(line, names[column].clone());
        let value = |column: usize| number(&record[column], || (path, location(column)));
        table.push(value, location)?;
    }
    table.finish()
}

fn number<'a>(text: &str, location: impl Fn() -> (&'a Path, Location)) -> Result<f64, DataError> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| {
        let (path, location) = location();
        let start: String = text.chars().take(40).collect();
        DataError::invalid(path, location, format!("'{start}' is not a number"))
    })
}

fn parse_error(path: &Path, error: ::csv::Error) -> DataError {
    let line = error.position().map_or(0, ::csv::Position::line);
    let location = if line == 0 { Location::Whole } else { Location::Line(line, String::new()) };
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::io(path)(source),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let problem = format!("it has {len} columns, but earlier lines have {expected_len}");
            DataError::invalid(path, location, problem)
        }
        ErrorKind::Utf8 { .. } => DataError::invalid(path, location, "it is not UTF-8 text"),
        other => DataError::invalid(path, location, format!("it is not valid CSV: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Column;
    use super::*;
    use crate::batch::{Targets, Values};
    use proptest::prelude::*;

    fn read(text: &str, header: bool, target_columns: &TargetColumns) -> Result<Dataset, String> {
        let read = parse(Path::new("a.csv"), text.as_bytes(), header, target_columns);
        read.map_err(|error| error.to_string())
    }

    fn name(name: &str) -> Column {
        Column::Name(name.to_owned())
    }

    #[test]
    fn the_label_is_the_last_or_the_named_column() {
        let text = "a,b,kind\n1, 2.5,0\n-3,4e1,2\n";
        let data = read(text, true, &TargetColumns::Last).unwrap();
        let batch = data.batch(&[0, 1]);
        assert_eq!(batch.input.values, Values::Float32(vec![1.0, 2.5, -3.0, 40.0]));
        assert_eq!(batch.targets, Targets::Classes(vec![0, 2]));
        let data =
            read("1,2.5,0\n2,4,2\n", false, &TargetColumns::Label(Column::Number(0))).unwrap();
        assert_eq!(data.batch(&[1]).targets, Targets::Classes(vec![2]));
        assert_eq!((data.rows(), data.shape()), (2, &[2][..]));
        let numbers = TargetColumns::Numbers(vec![name("b"), name("a")]);
        let data = read(text, true, &numbers).unwrap();
        assert_eq!(data.batch(&[0]).targets, Targets::Numbers(vec![2.5, 1.0]));
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        let cases = [
            ("a,b\n1,0\nx,1\n", "a.csv:3, column a: 'x' is not a number"),
            ("a,b\n1,0\n1,0.5\n", "a.csv:3, column b: 0.5 is not a label"),
            ("a,b\n1,-1\n", "a.csv:2, column b: -1 is not a label"),
            ("a,b\n1,nan\n", "a.csv:2, column b: 'nan' is not a number"),
            ("a,b\n1,0\n1,0,3\n", "a.csv:3: it has 3 columns, but earlier lines have 2"),
            ("a,b\n", "a.csv: it has no rows"),
            ("a\n1\n", "a.csv: it has 1 columns"),
            ("", "a.csv: it has 0 columns"),
        ];
        for (text, wanted) in cases {
            let message = read(text, true, &TargetColumns::Last).unwrap_err();
            assert!(message.starts_with(wanted), "{text:?}: {message}");
        }
        let message = read("a,b\n1,2\n", true, &TargetColumns::Label(name("c"))).unwrap_err();
        assert!(message.contains("no column 'c'; it has a, b"), "{message}");
        let none = read("a,b\n1,2\n", true, &TargetColumns::Label(Column::Number(2)));
        assert!(none.unwrap_err().contains("no column number 2"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a,.\"\n\r e-]{0,64}", header: bool) {
            let _ = read(&text, header, &TargetColumns::Last);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(Path::new("a.csv"), &bytes[..], true, &TargetColumns::Last);
        }
    }
}
