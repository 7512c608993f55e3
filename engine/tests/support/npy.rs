//! Reads NumPy's files of arrays.

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
    let (magic, rest) = bytes.split_at(8);
    assert_eq!(magic, b"\x93NUMPY\x01\0", "{}", path.display());
    let (length, rest) = rest.split_at(2);
    let (header, data) = rest.split_at(usize::from(u16::from_le_bytes([length[0], length[1]])));
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let datatype = match between(header, "'descr': '", "'") {
        "<f4" => DataType::Fp32,
        "<i8" => DataType::Int64,
        "<i4" => DataType::Int32,
        "|i1" => DataType::Int8,
        other => panic!("{}: elements {other}", path.display()),
    };
    let sizes = between(header, "'shape': (", ")").split(',').map(str::trim);
    let sizes = sizes.filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().unwrap()).collect();
    Some(Array { datatype, shape, data: data.to_vec() })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

impl Array {
    /// One row of a first dimension of rows.
    pub(crate) fn row(&self, row: usize) -> Self {
        let bytes = self.data.len() / self.shape[0];
        let mut shape = self.shape.clone();
        shape[0] = 1;
        let data = self.data[row * bytes..(row + 1) * bytes].to_vec();
        Self { datatype: self.datatype, shape, data }
    }
}
