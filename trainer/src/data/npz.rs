//! NumPy files: `.npz`, a zip archive of `.npy` files, and `.npy`, a single array.

use super::dataset::Dataset;
use super::error::{DataError, Location};
use super::file::{self, BYTES_MAX};
use super::numpy::{self, Array};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

/// Loads the two named arrays of an archive.
pub(super) fn load(path: &Path, inputs: &str, targets: &str) -> Result<Dataset, DataError> {
    let bytes = file::read(path)?;
    let mut archive = ZipArchive::new(Cursor::new(&bytes[..])).map_err(|error| {
        DataError::invalid(path, Location::Whole, format!("it is not an .npz file: {error}"))
    })?;
    let inputs = member(path, &mut archive, inputs)?;
    let labels = member(path, &mut archive, targets)?;
    join(path, inputs, (path, Location::Array(targets.to_owned()), labels))
}

/// Loads a pair of files with one array each.
pub(super) fn load_pair(inputs: &Path, targets: &Path) -> Result<Dataset, DataError> {
    let read = |path: &Path| {
        let bytes = file::read(path)?;
        numpy::array(&bytes).map_err(|problem| DataError::invalid(path, Location::Whole, problem))
    };
    join(inputs, read(inputs)?, (targets, Location::Whole, read(targets)?))
}

/// Reads an array of an archive.
fn member(
    path: &Path,
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
) -> Result<Array, DataError> {
    let bad = |problem: String| DataError::invalid(path, Location::Array(name.to_owned()), problem);
    let number = [format!("{name}.npy"), name.to_owned()]
        .iter()
        .find_map(|file| archive.index_for_name(file));
    let Some(number) = number else {
        let names: Vec<_> = archive.file_names().take(20).filter_map(Result::ok).collect();
        return Err(bad(format!("it does not exist; there are {}", names.join(", "))));
    };
    let member =
        archive.by_index(number).map_err(|error| bad(format!("it is damaged: {error}")))?;
    // Memory is proportional to the bytes read, whatever size the file declares.
    let mut bytes = Vec::new();
    let read = member.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| bad(format!("it is damaged: {error}")))?;
    file::check_size(path, "an array", bytes.len() as u64)?;
    numpy::array(&bytes).map_err(bad)
}

fn join(
    path: &Path,
    inputs: Array,
    (targets_path, location, targets): (&Path, Location, Array),
) -> Result<Dataset, DataError> {
    let (rows, shape) =
        inputs.shape.split_first().map_or((0, &[][..]), |(rows, shape)| (*rows, shape));
    if targets.shape.first() != Some(&rows) || rows == 0 {
        let problem = format!("its shape is {:?}, but there are {rows} inputs", targets.shape);
        return Err(DataError::invalid(targets_path, location, problem));
    }
    let targets = numpy::targets(targets)
        .map_err(|problem| DataError::invalid(targets_path, location, problem))?;
    Dataset::new(&path.display().to_string(), shape, inputs.values, targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Targets, Values};
    use proptest::prelude::*;
    use skysail_compression::npy;
    use skysail_graph::{Element, Tensor};
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn npy<T: Element>(shape: &[u64], values: &[T]) -> Vec<u8> {
        npy::write(&Tensor::new(shape, values).unwrap()).unwrap()
    }

    fn archive(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn example() -> Vec<u8> {
        let x = npy(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]);
        archive(&[("x.npy", x), ("y.npy", npy(&[2], &[1_i64, 0]))])
    }

    fn read(bytes: &[u8], inputs: &str, targets: &str) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        std::fs::write(&path, bytes).unwrap();
        load(&path, inputs, targets).map_err(|error| error.to_string())
    }

    #[test]
    fn arrays_of_an_archive_are_found_by_name() {
        let batch = read(&example(), "x", "y").unwrap().batch(&[1]);
        assert_eq!(batch.input.values, Values::Float32(vec![3.0, 4.0]));
        assert_eq!(batch.targets, Targets::Classes(vec![0]));
        let message = read(&example(), "x", "z").unwrap_err();
        assert!(
            message.contains("array 'z': it does not exist; there are x.npy, y.npy"),
            "{message}"
        );
        let message = read(b"no zip", "x", "y").unwrap_err();
        assert!(message.contains("it is not an .npz file"), "{message}");
        let odd = archive(&[("x", npy(&[2], &[0.0_f32; 2])), ("y", npy(&[3], &[0_u8; 3]))]);
        let message = read(&odd, "x", "y").unwrap_err();
        assert!(
            message.contains("array 'y': its shape is [3], but there are 2 inputs"),
            "{message}"
        );
    }

    #[test]
    fn two_files_are_read_as_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        let [x, y] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
        std::fs::write(&x, npy(&[2, 3], &[1_u8, 2, 3, 4, 5, 6])).unwrap();
        std::fs::write(&y, npy(&[2, 1], &[0.0_f32; 2])).unwrap();
        let data = load_pair(&x, &y).unwrap();
        assert_eq!((data.shape(), data.classes()), (&[3][..], None));
        assert!(load_pair(&y, Path::new("no/such.npy")).is_err());
    }

    proptest! {
        #[test]
        fn no_change_of_an_archive_panics(index in any::<prop::sample::Index>(), value: u8) {
            let mut bytes = example();
            let index = index.index(bytes.len());
            bytes[index] = value;
            let _ = read(&bytes, "x", "y");
            let _ = read(&bytes[..index], "x", "y");
        }
    }
}
