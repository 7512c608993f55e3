//! Tensor data in a file beside the model.

use crate::GraphError;
use bytemuck::{Pod, Zeroable};
use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::DataLocation;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The largest tensor read from a file: several times the largest known.
const TENSOR_BYTES_MAX: u64 = 64 << 30;

/// Reference to a tensor's data in a file.
pub(crate) struct External<'a> {
    tensor: &'a str,
    location: &'a str,
    offset: u64,
    length: Option<u64>,
}

/// True if the tensor's data lie in a file.
pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL)
}

impl<'a> External<'a> {
    /// Reads the reference: `location`, `offset` (default 0) and `length` (default that of the
    /// tensor), both in bytes.
    pub(crate) fn of(tensor: &'a TensorProto) -> Result<Self, GraphError> {
        let value = |key: &str| {
            let entry = tensor.external_data.iter().rfind(|entry| entry.key == key);
            entry.map(|entry| entry.value.as_str())
        };
        let location = value("location").unwrap_or_default();
        let mut external = Self { tensor: &tensor.name, location, offset: 0, length: None };
        let number = |key: &str| match value(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(external.bad(format!("its {key} is not a number"))),
        };
        let (offset, length) = (number("offset")?, number("length")?);
        external.offset = offset.unwrap_or(0);
        external.length = length;
        Ok(external)
    }

    /// Reads the tensor's `count` values from its file in `folder`.
    pub(crate) fn read<T: Pod>(
        &self,
        folder: Option<&Path>,
        count: u64,
    ) -> Result<Vec<T>, GraphError> {
        let bytes = count.saturating_mul(size_of::<T>() as u64);
        if let Some(length) = self.length.filter(|length| *length != bytes) {
            return Err(self.bad(format!("{length} bytes are given, its shape needs {bytes}")));
        }
        let Some(folder) = folder else {
            return Err(self.bad("the model was not loaded from a folder"));
        };
        let path = self.path_in(folder)?;
        let mut file = self.open(&path, bytes)?;
        let values = usize::try_from(count).ok().and_then(zeroed);
        let mut values = values.ok_or_else(|| self.bad("there is not enough memory for it"))?;
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut values)))
            .map_err(GraphError::io("read", &path))?;
        Ok(values)
    }

    /// Path of the file, inside `folder` after all links are followed.
    fn path_in(&self, folder: &Path) -> Result<PathBuf, GraphError> {
        let location = Path::new(self.location);
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let stays = location.components().all(inside);
        if self.location.is_empty() || !stays {
            return Err(self.bad("the name must be a path inside the model's folder"));
        }
        let whole = |path: &Path| path.canonicalize().map_err(GraphError::io("find", path));
        let path = whole(&folder.join(location))?;
        if !path.starts_with(whole(folder)?) {
            return Err(self.bad("a link leads out of the model's folder"));
        }
        Ok(path)
    }

    /// Opens the file if it has `bytes` bytes from the offset on.
    fn open(&self, path: &Path, bytes: u64) -> Result<File, GraphError> {
        let io = GraphError::io("open", path);
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Err(io(error)),
        };
        // Checked before opening: opening a pipe would wait for its writer.
        if !metadata.is_file() {
            return Err(self.bad("it is not a file"));
        }
        let end = self.offset.saturating_add(bytes);
        if end > metadata.len() {
            let has = metadata.len();
            return Err(self.bad(format!("bytes up to {end} are needed, it has {has}")));
        }
        if bytes > TENSOR_BYTES_MAX {
            let what = format!("tensor '{}'", self.tensor);
            return Err(GraphError::TooLarge { what, bytes, bytes_max: TENSOR_BYTES_MAX });
        }
        File::open(path).map_err(io)
    }

    fn bad(&self, problem: impl Into<String>) -> GraphError {
        GraphError::BadExternalData {
            tensor: self.tensor.to_owned(),
            location: self.location.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Makes `count` zeros; `None` if the system lacks the memory.
fn zeroed<T: Zeroable + Clone>(count: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).ok()?;
    values.resize(count, T::zeroed());
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx_protobuf::StringStringEntryProto;

    fn tensor(entries: &[(&str, &str)]) -> TensorProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            ..StringStringEntryProto::default()
        };
        TensorProto {
            name: "w".into(),
            external_data: entries.iter().map(entry).collect(),
            data_location: DataLocation::EXTERNAL.into(),
            ..TensorProto::default()
        }
    }

    fn read(entries: &[(&str, &str)], folder: &Path, count: u64) -> Result<Vec<f32>, String> {
        let tensor = tensor(entries);
        let read = External::of(&tensor).and_then(|external| external.read(Some(folder), count));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_from_offset_and_length() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("deep/w.bin"), values).unwrap();
        let at =
            |offset, length| [("location", "deep/w.bin"), ("offset", offset), ("length", length)];
        assert_eq!(read(&at("4", "8"), folder.path(), 2).unwrap(), [2.0, 3.0]);
        assert_eq!(read(&at("12", "0"), folder.path(), 0).unwrap(), [0.0; 0]);
        assert_eq!(read(&at("0", "0")[..1], folder.path(), 3).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(read(&at("0", "0")[..1], folder.path(), 1).unwrap(), [1.0]);

        let error_of = |entries: &[_], count| read(entries, folder.path(), count).unwrap_err();
        assert!(error_of(&at("4", "8"), 3).contains("8 bytes are given, its shape needs 12"));
        assert!(error_of(&at("8", "8"), 2).contains("bytes up to 16 are needed, it has 12"));
        assert!(error_of(&at("18446744073709551615", "4"), 1).contains("it has 12"));
        assert!(error_of(&at("-1", "4"), 1).contains("offset is not a number"));
        assert!(error_of(&at("0", "18446744073709551616"), 1).contains("length is not a number"));
        assert!(error_of(&at("0", "4")[..1], u64::MAX).contains("are needed"));
    }

    #[test]
    fn paths_outside_the_folder_are_rejected() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("model");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(outside.path().join("secret"), [0; 4]).unwrap();
        std::fs::write(folder.join("w.bin"), [0; 4]).unwrap();
        let secret = outside.path().join("secret");
        let secret = secret.to_str().unwrap();
        for location in ["", "..", "../secret", "a/../../secret", "/etc/passwd", secret] {
            let message = read(&[("location", location)], &folder, 1).unwrap_err();
            assert!(message.contains("must be a path inside the model's folder"), "{message}");
        }
        assert!(read(&[], &folder, 1).is_err());
        assert!(read(&[("location", "missing")], &folder, 1).unwrap_err().contains("cannot find"));
        assert!(read(&[("location", "w.bin")], &folder, 1).is_ok());
        assert!(read(&[("location", "./w.bin")], &folder, 1).is_ok());
        assert!(read(&[("location", ".")], &folder, 1).unwrap_err().contains("not a file"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(secret, folder.join("link")).unwrap();
            let message = read(&[("location", "link")], &folder, 1).unwrap_err();
            assert!(message.contains("a link leads out"), "{message}");
            std::fs::create_dir(folder.join("deep")).unwrap();
            assert!(read(&[("location", "deep")], &folder, 0).unwrap_err().contains("not a file"));
        }
    }
}
