//! NumPy's arrays in the protocol's form.

use skysail_compression::npy;
use skysail_engine::tensor::DataType;
use std::path::Path;

/// An array in the protocol's form.
pub(crate) struct Array {
    pub(crate) datatype: DataType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

/// Reads a file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Option<Array> {
    let bytes = std::fs::read(path).ok()?;
    let array = npy::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let datatype = DataType::from_graph(array.element);
    let datatype = datatype.unwrap_or_else(|| panic!("{}: elements", path.display()));
    let shape = array.shape.iter().map(|size| usize::try_from(*size).unwrap()).collect();
    Some(Array { datatype, shape, data: array.bytes.into_owned() })
}

impl Array {
    /// Returns one row of the first dimension.
    pub(crate) fn row(&self, row: usize) -> Self {
        let bytes = self.data.len() / self.shape[0];
        let mut shape = self.shape.clone();
        shape[0] = 1;
        let data = self.data[row * bytes..(row + 1) * bytes].to_vec();
        Self { datatype: self.datatype, shape, data }
    }
}
