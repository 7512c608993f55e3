//! Parquet: columns of numbers, flat, without gaps.

use super::dataset::Dataset;
use super::error::{DataError, Place};
use super::file;
use super::table::{Outcome, Table};
use ::parquet::basic::{ConvertedType, Repetition};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// Rows that are decoded at a time.
const CHUNK_ROWS: usize = 8192;

/// The examples of a file.
pub(super) fn load(path: &Path, outcome: &Outcome) -> Result<Dataset, DataError> {
    let file = file::open(path)?;
    // The library is known to panic where a damaged file contradicts itself.
    let read = panic::catch_unwind(AssertUnwindSafe(|| {
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, &error))?;
        columns(path, &reader)
    }));
    let contradicts = || DataError::bad(path, Place::Whole, "it is damaged: it contradicts itself");
    let columns = read.unwrap_or_else(|_| Err(contradicts()))?;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut table = Table::new(path, &names, outcome)?;
    let rows = columns.first().map_or(0, |column| column.values.len());
    for row in 0..rows {
        let place = |column: usize| Place::Row(row as u64, names[column].clone());
        let value = |column: usize| match columns[column].values.get(row) {
            Some(value) if value.is_finite() => Ok(*value),
            Some(value) => {
                Err(DataError::bad(path, place(column), format!("{value} is no number")))
            }
            None => Err(contradicts()),
        };
        table.push(value, place)?;
    }
    table.finish()
}

fn damaged(path: &Path, error: &ParquetError) -> DataError {
    DataError::bad(path, Place::Whole, format!("it is no Parquet file, or damaged: {error}"))
}

struct Column {
    name: String,
    values: Vec<f64>,
}

/// All columns, whole.
fn columns(path: &Path, reader: &dyn FileReader) -> Result<Vec<Column>, DataError> {
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(u64::MAX);
    let numbers = rows.saturating_mul(schema.num_columns() as u64);
    file::check_size(path, "the table", numbers.saturating_mul(size_of::<f64>() as u64))?;
    let mut columns = Vec::new();
    for column in schema.columns() {
        check(path, column)?;
        columns.push(Column { name: column.name().to_owned(), values: Vec::new() });
    }
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|error| damaged(path, &error))?;
        let bytes = u64::try_from(group.metadata().total_byte_size()).unwrap_or(u64::MAX);
        file::check_size(path, "a group of rows", bytes)?;
        for (number, column) in columns.iter_mut().enumerate() {
            let reader = group.get_column_reader(number).map_err(|error| damaged(path, &error))?;
            read(path, reader, column)?;
        }
    }
    Ok(columns)
}

/// Refuses columns that are not of plain numbers.
fn check(path: &Path, column: &ColumnDescriptor) -> Result<(), DataError> {
    let flat = column.max_rep_level() == 0 && column.max_def_level() <= 1;
    let plain = matches!(
        column.converted_type(),
        ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64
            | ConvertedType::UINT_8
            | ConvertedType::UINT_16
    );
    let repeated = column.self_type().get_basic_info().repetition() == Repetition::REPEATED;
    if flat && plain && !repeated {
        return Ok(());
    }
    let place = Place::Row(0, column.name().to_owned());
    Err(DataError::bad(path, place, "only flat columns of numbers are read"))
}

/// Adds what a group of rows has of a column.
fn read(path: &Path, reader: ColumnReader, column: &mut Column) -> Result<(), DataError> {
    match reader {
        ColumnReader::BoolColumnReader(reader) => {
            read_as(path, reader, column, |value| f64::from(u8::from(value)))
        }
        ColumnReader::Int32ColumnReader(reader) => read_as(path, reader, column, f64::from),
        ColumnReader::Int64ColumnReader(reader) => {
            read_as(path, reader, column, |value| value as f64)
        }
        ColumnReader::FloatColumnReader(reader) => read_as(path, reader, column, f64::from),
        ColumnReader::DoubleColumnReader(reader) => read_as(path, reader, column, |value| value),
        _ => {
            let place = Place::Row(0, column.name.clone());
            Err(DataError::bad(path, place, "it is no column of numbers"))
        }
    }
}

fn read_as<T: DataType>(
    path: &Path,
    mut reader: ColumnReaderImpl<T>,
    column: &mut Column,
    number: impl Fn(T::T) -> f64,
) -> Result<(), DataError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let read = reader.read_records(CHUNK_ROWS, Some(&mut levels), None, &mut values);
        let (records, ..) = read.map_err(|error| damaged(path, &error))?;
        if values.len() < records {
            let gap = levels.iter().position(|level| *level == 0).unwrap_or(0);
            let row = (column.values.len() + gap) as u64;
            let place = Place::Row(row, column.name.clone());
            return Err(DataError::bad(path, place, "the value is missing"));
        }
        column.values.extend(values.drain(..).map(&number));
        if records == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Column as Pick;
    use super::*;
    use crate::batch::{Targets, Values};
    use ::parquet::data_type::{DoubleType, Int32Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Two columns; a weight may be missing.
    fn example(weights: &[Option<f64>], kinds: &[i32]) -> Vec<u8> {
        let schema = "message m { OPTIONAL DOUBLE weight; REQUIRED INT32 kind; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let levels: Vec<i16> = weights.iter().map(|weight| i16::from(weight.is_some())).collect();
        let values: Vec<f64> = weights.iter().copied().flatten().collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(kinds, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    fn load_bytes(bytes: &[u8], outcome: &Outcome) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, bytes).unwrap();
        load(&path, outcome).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_become_rows() {
        let bytes = example(&[Some(0.5), Some(1.5), Some(2.5)], &[0, 2, 1]);
        let batch = load_bytes(&bytes, &Outcome::Last).unwrap().batch(&[1, 2]);
        assert_eq!(batch.input.values, Values::Float32(vec![1.5, 2.5]));
        assert_eq!(batch.targets, Targets::Classes(vec![2, 1]));
        let outcome = Outcome::Numbers(vec![Pick::Name("weight".into())]);
        let batch = load_bytes(&bytes, &outcome).unwrap().batch(&[0]);
        assert_eq!(batch.targets, Targets::Numbers(vec![0.5]));
    }

    #[test]
    fn gaps_and_odd_labels_are_named() {
        let said = load_bytes(&example(&[Some(1.0), None], &[0, 1]), &Outcome::Last).unwrap_err();
        assert!(said.contains("row 1, column weight: the value is missing"), "{said}");
        let said = load_bytes(&example(&[Some(1.0)], &[-1]), &Outcome::Last).unwrap_err();
        assert!(said.contains("row 0, column kind: -1 is no label"), "{said}");
        let said = load_bytes(&example(&[Some(f64::NAN)], &[1]), &Outcome::Last).unwrap_err();
        assert!(said.contains("row 0, column weight: NaN is no number"), "{said}");
        let said = load_bytes(b"PAR1 and no more", &Outcome::Last).unwrap_err();
        assert!(said.contains("no Parquet file"), "{said}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_change_of_a_file_does_harm(place in any::<prop::sample::Index>(), value: u8) {
            let mut bytes = example(&[Some(0.5); 40], &[1; 40]);
            let place = place.index(bytes.len());
            bytes[place] = value;
            let _ = load_bytes(&bytes, &Outcome::Last);
            let _ = load_bytes(&bytes[..place], &Outcome::Last);
        }
    }
}
