//! Parquet files: flat columns of numbers without missing values.

use super::dataset::Dataset;
use super::error::{DataError, Location};
use super::file;
use super::table::{Table, TargetColumns};
use ::parquet::basic::{ConvertedType, Repetition};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// Rows decoded at a time.
const CHUNK_ROWS: usize = 8192;

/// Loads a file.
pub(super) fn load(path: &Path, target_columns: &TargetColumns) -> Result<Dataset, DataError> {
    let file = file::open(path)?;
    // The library may panic on a damaged file.
    let read = panic::catch_unwind(AssertUnwindSafe(|| {
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, &error))?;
        columns(path, &reader)
    }));
    let contradicts = || {
        DataError::invalid(path, Location::Whole, "it is damaged: its parts contradict each other")
    };
    let columns = read.unwrap_or_else(|_| Err(contradicts()))?;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut table = Table::new(path, &names, target_columns)?;
    let rows = columns.first().map_or(0, |column| column.values.len());
    for row in 0..rows {
        let location = |column: usize| Location::Row(row as u64, names[column].clone());
        let value = |column: usize| match columns[column].values.get(row) {
            Some(value) if value.is_finite() => Ok(*value),
            Some(value) => {
                Err(DataError::invalid(path, location(column), format!("{value} is not a number")))
            }
            None => Err(contradicts()),
        };
        table.push(value, location)?;
    }
    table.finish()
}

fn damaged(path: &Path, error: &ParquetError) -> DataError {
    DataError::invalid(
        path,
        Location::Whole,
        format!("it is not a Parquet file, or damaged: {error}"),
    )
}

struct Column {
    name: String,
    values: Vec<f64>,
}

/// Reads all columns as a whole.
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

/// Rejects columns that are not plain numbers.
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
    let location = Location::Row(0, column.name().to_owned());
    Err(DataError::invalid(path, location, "only flat columns of numbers are supported"))
}

/// Appends a column's values of a row group.
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
            let location = Location::Row(0, column.name.clone());
            Err(DataError::invalid(path, location, "it is not a column of numbers"))
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
            let location = Location::Row(row, column.name.clone());
            return Err(DataError::invalid(path, location, "the value is missing"));
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

    /// Encodes two columns; a weight may be missing.
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

    fn load_bytes(bytes: &[u8], target_columns: &TargetColumns) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        std::fs::write(&path, bytes).unwrap();
        load(&path, target_columns).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_become_rows() {
        let bytes = example(&[Some(0.5), Some(1.5), Some(2.5)], &[0, 2, 1]);
        let batch = load_bytes(&bytes, &TargetColumns::Last).unwrap().batch(&[1, 2]);
        assert_eq!(batch.input.values, Values::Float32(vec![1.5, 2.5]));
        assert_eq!(batch.targets, Targets::Classes(vec![2, 1]));
        let target_columns = TargetColumns::Numbers(vec![Pick::Name("weight".into())]);
        let batch = load_bytes(&bytes, &target_columns).unwrap().batch(&[0]);
        assert_eq!(batch.targets, Targets::Numbers(vec![0.5]));
    }

    #[test]
    fn missing_values_and_invalid_labels_are_named() {
        let message =
            load_bytes(&example(&[Some(1.0), None], &[0, 1]), &TargetColumns::Last).unwrap_err();
        assert!(message.contains("row 1, column weight: the value is missing"), "{message}");
        let message = load_bytes(&example(&[Some(1.0)], &[-1]), &TargetColumns::Last).unwrap_err();
        assert!(message.contains("row 0, column kind: -1 is not a label"), "{message}");
        let message =
            load_bytes(&example(&[Some(f64::NAN)], &[1]), &TargetColumns::Last).unwrap_err();
        assert!(message.contains("row 0, column weight: NaN is not a number"), "{message}");
        let message = load_bytes(b"PAR1 and no more", &TargetColumns::Last).unwrap_err();
        assert!(message.contains("not a Parquet file"), "{message}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_change_of_a_file_panics(index in any::<prop::sample::Index>(), value: u8) {
            let mut bytes = example(&[Some(0.5); 40], &[1; 40]);
            let index = index.index(bytes.len());
            bytes[index] = value;
            let _ = load_bytes(&bytes, &TargetColumns::Last);
            let _ = load_bytes(&bytes[..index], &TargetColumns::Last);
        }
    }
}
