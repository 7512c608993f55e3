//! Files of arrays: `.npy`, `.npz` and ONNX's `.pb`.

use super::BYTES_MAX;
use anyhow::{Context, Result, ensure};
use skysail_compression::npy;
use skysail_graph::{ElementType, Model, Tensor};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;

/// Limit of the arrays in a file.
const ARRAYS_MAX: usize = 1024;

/// A tensor under a name.
pub(super) struct Array {
    pub(super) name: String,
    pub(super) tensor: Tensor,
}

/// Returns true if a file's name is that of an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "npz")
}

/// Reads the array of a file: `.pb` in ONNX's format, else `.npy`.
pub(super) fn array(path: &Path, bytes: &[u8]) -> Result<Tensor> {
    let tensor = match path.extension() {
        Some(kind) if kind == "pb" => message(bytes),
        _ => numpy(bytes),
    };
    tensor.with_context(|| format!("cannot use {}", path.display()))
}

/// Reads the arrays of an `.npz` file.
pub(super) fn archive(bytes: &[u8]) -> Result<Vec<Array>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("it is no .npz file")?;
    ensure!(archive.len() <= ARRAYS_MAX, "it has more than {ARRAYS_MAX} arrays");
    let mut left = BYTES_MAX;
    let mut arrays = Vec::new();
    for position in 0..archive.len() {
        let file = archive.by_index(position).context("it is damaged")?;
        let name = file.name().context("it is damaged")?.into_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        // Memory grows with the bytes read, whatever size the file states.
        let mut content = Vec::new();
        let read = file.take(left + 1).read_to_end(&mut content);
        read.with_context(|| format!("the array '{name}' is damaged"))?;
        let bytes = content.len() as u64;
        ensure!(bytes <= left, "its arrays take more than {BYTES_MAX} bytes");
        left -= bytes;
        let tensor = numpy(&content);
        let tensor = tensor.with_context(|| format!("cannot use the array '{name}'"))?;
        arrays.push(Array { name, tensor });
    }
    Ok(arrays)
}

/// Reads a tensor in NumPy's format.
fn numpy(array: &[u8]) -> Result<Tensor> {
    Ok(npy::read(array)?.to_tensor()?)
}

/// Reads a tensor in ONNX's format. It becomes the one initializer of a model, as that reader
/// accepts untrusted tensors.
fn message(tensor: &[u8]) -> Result<Tensor> {
    /// Numbers of fields: a model's graph, and a graph's initializer (ONNX's `onnx.proto`).
    const GRAPH: u8 = 7;
    const INITIALIZER: u8 = 5;
    let graph = field(INITIALIZER, tensor);
    let model = Model::from_bytes(&field(GRAPH, &graph))?;
    let view = model.graph().initializers().next().context("it holds no tensor")?;
    Ok(view.to_tensor()?)
}

/// Encodes a field of bytes in a message: its number, the number of bytes, and the bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    const OF_BYTES: u8 = 2;
    let mut message = vec![number << 3 | OF_BYTES];
    let mut rest = bytes.len();
    while rest > 127 {
        message.push(rest as u8 | 128);
        rest >>= 7;
    }
    message.push(rest as u8);
    message.extend_from_slice(bytes);
    message
}

/// Returns the elements of a tensor of integers.
pub(super) fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    fn read<T: bytemuck::Pod>(bytes: &[u8], widen: fn(T) -> Option<i64>) -> Option<Vec<i64>> {
        bytemuck::pod_collect_to_vec::<u8, T>(bytes).into_iter().map(widen).collect()
    }
    let bytes = tensor.bytes();
    match tensor.element() {
        ElementType::Int8 => read::<i8>(bytes, |value| Some(value.into())),
        ElementType::Int16 => read::<i16>(bytes, |value| Some(value.into())),
        ElementType::Int32 => read::<i32>(bytes, |value| Some(value.into())),
        ElementType::Int64 => read::<i64>(bytes, Some),
        ElementType::UInt8 => read::<u8>(bytes, |value| Some(value.into())),
        ElementType::UInt16 => read::<u16>(bytes, |value| Some(value.into())),
        ElementType::UInt32 => read::<u32>(bytes, |value| Some(value.into())),
        ElementType::UInt64 => read::<u64>(bytes, |value| value.try_into().ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    #[test]
    fn tensors_in_messages_are_read() {
        // dims 2, data_type 6 (int32), raw_data of 8 bytes.
        let tensor = [8, 2, 16, 6, 74, 8, 1, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(message(&tensor).unwrap(), Tensor::new(&[2], &[1_i32, 2]).unwrap());
        for length in 1..tensor.len() {
            assert!(message(&tensor[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn labels_are_integers_of_any_size() {
        let labels = Tensor::new(&[2], &[3_u8, 255]).unwrap();
        assert_eq!(integers(&labels), Some(vec![3, 255]));
        assert_eq!(integers(&Tensor::new(&[1], &[u64::MAX]).unwrap()), None);
        assert_eq!(integers(&Tensor::new(&[1], &[1.0_f32]).unwrap()), None);
    }

    #[test]
    fn a_damaged_archive_is_read_or_rejected() {
        let array = npy::write(&Tensor::new(&[2], &[3_u8, 4]).unwrap()).unwrap();
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("x.npy", SimpleFileOptions::default()).unwrap();
        zip.write_all(&array).unwrap();
        let whole = zip.finish().unwrap().into_inner();
        let found = super::archive(&whole).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].tensor.bytes()), ("x", &[3, 4][..]));
        for position in 0..whole.len() {
            // Either result is fine.
            let _ = super::archive(&whole[..position]);
            for value in [0, 1, 127, 255] {
                let mut changed = whole.clone();
                changed[position] ^= value;
                let _ = super::archive(&changed);
            }
        }
    }

    #[test]
    fn invalid_archives_are_rejected() {
        for bytes in [&b""[..], b"PK", &[0; 100]] {
            assert!(archive(bytes).is_err());
        }
    }
}
