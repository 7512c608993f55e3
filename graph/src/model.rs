//! A model: its graph and metadata, read from bytes and written to bytes.

use crate::atomic::folder_of;
use crate::constant::is_constant_of;
use crate::external::is_external;
use crate::presence::keep_zero;
use crate::value::tensor_type;
use crate::walk::{Part, each_part, tensors};
use crate::{Dim, Graph, GraphError, Tensor, TensorView, ValueInfo, wire, write_atomically};
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{Message, ModelProto, StringStringEntryProto, TensorProto};
use protobuf::MessageField;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Largest size of a model in bytes, a limit of protobuf; larger models keep their data in other
/// files.
pub const MODEL_BYTES_MAX: u64 = i32::MAX as u64;

/// First version of the format in which an input can have a default.
const OPTIONAL_INPUTS_SINCE: i64 = 4;

/// An ONNX model.
///
/// All that is read is kept, unknown fields included, so a model that is loaded and saved stays the
/// same. Data in files beside the model stay there until they are asked for.
#[derive(Debug, Clone)]
pub struct Model {
    /// Invariant: it has a graph, and zeros of its attributes are kept.
    proto: ModelProto,
    /// Folder of the external data files.
    folder: Option<PathBuf>,
}

impl Model {
    /// Loads the model from a file.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, else as [`from_bytes`](Self::from_bytes).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, GraphError> {
        let path = path.as_ref();
        let bytes = read_file(path).map_err(GraphError::io("read", path))?;
        let mut model = Self::from_bytes(&bytes)?;
        model.folder = Some(folder_of(path).to_path_buf());
        Ok(model)
    }

    /// Reads a model. Data in other files can be read after [`set_folder`](Self::set_folder).
    ///
    /// # Errors
    /// `Malformed`, `Protobuf` and `NoGraph` when the bytes are no model, `TooLarge` past
    /// [`MODEL_BYTES_MAX`]. Memory is in proportion to the number of bytes, whatever they hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        check_size(bytes.len() as u64)?;
        wire::check(bytes)?;
        let mut proto = ModelProto::parse_from_bytes(bytes)?;
        if proto.graph.is_none() {
            return Err(GraphError::NoGraph);
        }
        each_part(&mut proto, &mut |part| {
            if let Part::Attribute(attribute) = part {
                keep_zero(attribute);
            }
            Ok(())
        })?;
        Ok(Self::from_proto(proto))
    }

    /// Wraps a complete model that this crate built, zeros kept.
    pub(crate) fn from_proto(proto: ModelProto) -> Self {
        Self { proto, folder: None }
    }

    /// Writes the model as bytes, without data that lie in other files.
    ///
    /// The same model gives the same bytes, except that unknown fields come in any order.
    ///
    /// # Errors
    /// `TooLarge` past [`MODEL_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, GraphError> {
        check_size(self.proto.compute_size())?;
        Ok(self.proto.write_to_bytes()?)
    }

    /// Saves the model in a file atomically. Data in other files stay there, so the model must be
    /// saved beside them.
    ///
    /// # Errors
    /// `LeavesExternalData` when they are in another folder, `TooLarge` past
    /// [`MODEL_BYTES_MAX`], `Io` when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), GraphError> {
        let path = path.as_ref();
        let external = tensors(&self.proto).into_iter().find(|tensor| is_external(tensor));
        if let Some(tensor) = external
            && !self.is_in(folder_of(path))?
        {
            return Err(GraphError::LeavesExternalData { tensor: tensor.name.clone() });
        }
        write_atomically(path, &self.to_bytes()?)
    }

    /// True if `folder` is the model's own folder, by any path.
    fn is_in(&self, folder: &Path) -> Result<bool, GraphError> {
        let Some(own) = &self.folder else { return Ok(false) };
        let whole = |path: &Path| path.canonicalize().map_err(GraphError::io("find", path));
        Ok(whole(own)? == whole(folder)?)
    }

    /// Sets the folder of the external data files.
    pub fn set_folder(&mut self, folder: impl Into<PathBuf>) {
        self.folder = Some(folder.into());
    }

    /// Reads all external data into the model.
    ///
    /// # Errors
    /// `TooLarge` when the model would pass [`MODEL_BYTES_MAX`]; the model is then unchanged.
    /// `BadExternalData` and `Io` when data cannot be read; the tensors from there on stay
    /// external.
    pub fn inline_external_data(&mut self) -> Result<(), GraphError> {
        let mut bytes = self.proto.compute_size();
        for tensor in tensors(&self.proto).into_iter().filter(|tensor| is_external(tensor)) {
            let more = TensorView::new(tensor, None).byte_count()?;
            bytes = bytes.saturating_add(more);
        }
        check_size(bytes)?;
        let folder = self.folder.as_deref();
        each_part(&mut self.proto, &mut |part| {
            if let Part::Tensor(tensor) = part
                && is_external(tensor)
            {
                tensor.raw_data = TensorView::new(tensor, folder).bytes()?.into_owned();
                tensor.external_data.clear();
                tensor.data_location = DataLocation::DEFAULT.into();
            }
            Ok(())
        })
    }

    /// Graph of the model.
    pub fn graph(&self) -> Graph<'_> {
        Graph::new(&self.proto.graph, self.folder.as_deref())
    }

    pub(crate) fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// Makes a model with the same folder.
    pub(crate) fn with_proto(&self, proto: ModelProto) -> Self {
        Self { proto, folder: self.folder.clone() }
    }

    pub(crate) fn proto_mut(&mut self) -> &mut ModelProto {
        &mut self.proto
    }

    /// Sets the values of the graph's initializer `name`, or adds it.
    ///
    /// An added initializer replaces a `Constant` node that produces the value. Shape and element
    /// type may change.
    pub fn set_initializer(&mut self, name: &str, tensor: Tensor) {
        let dims: Vec<Dim> = tensor.shape().iter().copied().map(Dim::Fixed).collect();
        let type_ = tensor_type(tensor.element(), &dims);
        let graph = self.proto.graph.mut_or_insert_default();
        graph.node.retain(|node| !is_constant_of(node, |made| made == name));
        // Old models list initializers as inputs too, with their type.
        for info in graph.input.iter_mut().chain(&mut graph.value_info) {
            if info.name == name {
                info.type_ = MessageField::some(type_.clone());
            }
        }
        graph.sparse_initializer.retain(|sparse| sparse.values.name != name);
        let initializers = &mut graph.initializer;
        let first = initializers.iter().position(|tensor| tensor.name == name);
        let place = first.unwrap_or(initializers.len());
        initializers.retain(|tensor| tensor.name != name);
        initializers.insert(place, tensor.into_proto(name));
    }

    /// Drops the values of the graph's initializer `name` and points to the file `location` beside
    /// the model.
    ///
    /// No file is written: the caller passes the values to a runtime by other means.
    pub fn move_initializer(&mut self, name: &str, location: &str) {
        let graph = self.proto.graph.mut_or_insert_default();
        for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.name == name) {
            let empty = TensorProto {
                name: std::mem::take(&mut tensor.name),
                dims: std::mem::take(&mut tensor.dims),
                data_type: tensor.data_type,
                data_location: DataLocation::EXTERNAL.into(),
                external_data: vec![entry("location", location)],
                ..TensorProto::default()
            };
            *tensor = empty;
        }
    }

    /// Inputs that may be left out: each is an initializer too, which is its default.
    ///
    /// Before version 4 of the format every initializer had to be an input, and no value could be
    /// passed for it.
    pub fn optional_inputs(&self) -> Vec<ValueInfo> {
        if self.ir_version() < OPTIONAL_INPUTS_SINCE {
            return Vec::new();
        }
        let graph = self.graph();
        let required: HashSet<String> = graph.inputs().into_iter().map(|v| v.name).collect();
        let all = graph.proto().input.iter().map(ValueInfo::from_proto);
        all.filter(|input| !required.contains(&input.name)).collect()
    }

    /// Version of the file format.
    pub fn ir_version(&self) -> i64 {
        self.proto.ir_version
    }

    /// Operator sets of the model: domain, empty for ONNX's own, and version.
    pub fn opsets(&self) -> impl Iterator<Item = (&str, i64)> {
        self.proto.opset_import.iter().map(|opset| {
            let domain = opset.domain.as_str();
            (if domain == "ai.onnx" { "" } else { domain }, opset.version)
        })
    }

    /// Version of the operators of `domain`, if the model uses them.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets().find(|opset| opset.0 == domain).map(|opset| opset.1)
    }

    /// Name and version of the program that wrote the model; often empty.
    pub fn producer(&self) -> (&str, &str) {
        (&self.proto.producer_name, &self.proto.producer_version)
    }

    /// Metadata of the model: keys and values.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.proto.metadata_props.iter();
        entries.map(|entry| (entry.key.as_str(), entry.value.as_str()))
    }

    /// Sets the metadata entry `key`, in place of an earlier one.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        let entries = &mut self.proto.metadata_props;
        entries.retain(|entry| entry.key != key);
        entries.push(entry(key, value));
    }
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    let (key, value) = (key.to_owned(), value.to_owned());
    StringStringEntryProto { key, value, ..StringStringEntryProto::default() }
}

fn check_size(bytes: u64) -> Result<(), GraphError> {
    if bytes > MODEL_BYTES_MAX {
        let what = "the model".to_owned();
        return Err(GraphError::TooLarge { what, bytes, bytes_max: MODEL_BYTES_MAX });
    }
    Ok(())
}

/// Reads a file up to one byte past the limit.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // Checked before opening: opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MODEL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
