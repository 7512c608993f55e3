//! IDX files, the format of MNIST: a magic number, big-endian sizes, and bytes (Y. LeCun, "The
//! MNIST database"). They may be compressed with gzip.

use super::dataset::{Dataset, Inputs, Scaling};
use super::error::{DataError, Location};
use super::file::Content;
use crate::batch::Targets;
use std::path::{Path, PathBuf};

/// Type code of unsigned bytes, the only elements of such files in practice.
const UNSIGNED_BYTES: u8 = 8;
/// Scaling of pixels to numbers from 0 to 1.
const PIXEL: Scaling = Scaling { scale: 1.0 / 255.0, offset: 0.0 };

/// Loads the images and the labels of two files.
pub(super) fn load(images: &Path, labels: &Path) -> Result<Dataset, DataError> {
    let (shape, pixels) = array(images)?;
    let (labels_shape, classes) = array(labels)?;
    let [rows, row_shape @ ..] = &shape[..] else {
        return Err(DataError::invalid(images, Location::Offset(3), "it has no dimensions"));
    };
    if labels_shape != [*rows] {
        let problem = format!("its shape is {labels_shape:?}, but there are {rows} images");
        return Err(DataError::invalid(labels, Location::Offset(4), problem));
    }
    let classes = Targets::Classes(classes.into_iter().map(u32::from).collect());
    let data =
        Dataset::new(&images.display().to_string(), row_shape, Inputs::Bytes(pixels), classes)?;
    Ok(data.scaled(PIXEL))
}

/// Finds the two files of `part`, `train` or `t10k`, in a folder.
pub(super) fn find(folder: &Path, part: &str) -> Result<(PathBuf, PathBuf), DataError> {
    let file = |kind: &str| {
        let names = [format!("{part}-{kind}-ubyte.gz"), format!("{part}-{kind}-ubyte")];
        let paths = names.map(|name| folder.join(name));
        let found = paths.iter().find(|path| path.is_file()).cloned();
        found.ok_or_else(|| {
            let problem = format!("there is no {part}-{kind}-ubyte, with or without .gz");
            DataError::invalid(folder, Location::Whole, problem)
        })
    };
    Ok((file("images-idx3")?, file("labels-idx1")?))
}

/// Reads the dimensions and the bytes of a file.
fn array(path: &Path) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let mut content = Content::open(path)?;
    let magic = content.take(4, "its magic number")?;
    let &[0, 0, UNSIGNED_BYTES, dimensions] = &magic[..] else {
        let problem = format!("it is not an IDX file of bytes: it begins with {magic:02x?}");
        return Err(DataError::invalid(path, Location::Offset(0), problem));
    };
    let sizes = content.take(4 * u64::from(dimensions), "its sizes")?;
    let sizes = sizes.as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size));
    let shape: Vec<usize> = sizes.map(|size| size as usize).collect();
    // A count beyond 64 bits is rejected as too large.
    let count = shape.iter().fold(1_u64, |count, size| count.saturating_mul(*size as u64));
    let bytes = content.take(count, "its values")?;
    content.end()?;
    Ok((shape, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
        let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
        [0, 0, 8, shape.len() as u8]
            .into_iter()
            .chain(sizes)
            .chain(values.iter().copied())
            .collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn pair(images: &[u8], labels: &[u8]) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["images", "labels"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], images).unwrap();
        std::fs::write(&paths[1], labels).unwrap();
        load(&paths[0], &paths[1]).map_err(|error| error.to_string())
    }

    #[test]
    fn pixels_become_numbers_from_0_to_1_with_or_without_gzip() {
        let images = idx(&[2, 1, 2], &[0, 255, 255, 0]);
        let labels = idx(&[2], &[7, 3]);
        let data = pair(&images, &labels).unwrap();
        assert_eq!(
            data,
            pair(&gzip(&images), &gzip(&labels)).map(|other| other.renamed(data.name())).unwrap()
        );
        assert_eq!((data.rows(), data.shape()), (2, &[1, 2][..]));
        let batch = data.batch(&[1, 0]);
        assert_eq!(batch.targets, Targets::Classes(vec![3, 7]));
        assert_eq!(batch.input.values, crate::batch::Values::Float32(vec![1.0, 0.0, 0.0, 1.0]));
    }

    #[test]
    fn errors_name_the_file_and_the_place() {
        let labels = idx(&[2], &[0, 0]);
        let whole = idx(&[2, 1, 2], &[0; 4]);
        let message = pair(&whole[..whole.len() - 1], &labels).unwrap_err();
        assert!(
            message.contains("images, at byte 19: it ends within its values: 3 of 4"),
            "{message}"
        );
        let message = pair(&[&whole[..], &[0]].concat(), &labels).unwrap_err();
        assert!(message.contains("more than its header declares"), "{message}");
        let message = pair(b"<html>", &labels).unwrap_err();
        assert!(message.contains("it is not an IDX file"), "{message}");
        let message = pair(&whole, &idx(&[3], &[0; 3])).unwrap_err();
        assert!(
            message.contains("labels, at byte 4: its shape is [3], but there are 2"),
            "{message}"
        );
        let message = pair(&idx(&[u32::MAX; 4], &[]), &labels).unwrap_err();
        assert!(message.contains("at most"), "{message}");
        // A size within the limit without content is rejected without allocating it.
        let message = pair(&idx(&[1 << 20, 28, 28], &[1]), &labels).unwrap_err();
        assert!(message.contains("1 of 822083584 bytes"), "{message}");
        assert!(pair(&gzip(&whole)[..20], &labels).unwrap_err().contains("images"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), zip: bool) {
            let head = [&[0, 0, 8][..], &bytes].concat();
            let _ = pair(&if zip { gzip(&head) } else { head }, &bytes);
        }
    }

    #[test]
    fn the_folder_of_mnist_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/mnist");
        if !Path::new(folder).exists() {
            println!("skipped: {folder} is absent");
            return;
        }
        let (images, labels) = find(Path::new(folder), "t10k").unwrap();
        let data = load(&images, &labels).unwrap();
        assert_eq!((data.rows(), data.shape(), data.classes()), (10_000, &[28, 28][..], Some(10)));
        let Targets::Classes(classes) = data.targets() else { panic!("labels are classes") };
        assert_eq!(classes[..5], [7, 2, 1, 0, 4]);
        let message = find(Path::new("no/such/folder"), "train").unwrap_err().to_string();
        assert!(message.contains("train-images-idx3-ubyte"), "{message}");
    }
}
