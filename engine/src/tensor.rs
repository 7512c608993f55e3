//! Datatypes, shapes and the layout of tensors' bytes.
//!
//! In the engine, tensor data always has the protocol's binary form: little-endian elements in
//! row-major order. A `BYTES` element is its length (`u32`) and then its bytes.

use skysail_graph::ElementType;
use smallvec::SmallVec;
use std::fmt;

/// Sizes of the dimensions, outermost first; empty for a scalar.
pub type Shape = SmallVec<[usize; 4]>;

/// The element types of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// A byte, 0 or 1.
    Bool,
    /// 8-bit unsigned.
    Uint8,
    /// 16-bit unsigned.
    Uint16,
    /// 32-bit unsigned.
    Uint32,
    /// 64-bit unsigned.
    Uint64,
    /// 8-bit signed.
    Int8,
    /// 16-bit signed.
    Int16,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// IEEE half.
    Fp16,
    /// IEEE single.
    Fp32,
    /// IEEE double.
    Fp64,
    /// bfloat16.
    Bf16,
    /// Strings of bytes, each with its length.
    Bytes,
}

impl DataType {
    /// All datatypes.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bf16,
        Self::Bytes,
    ];

    /// Name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bf16 => "BF16",
            Self::Bytes => "BYTES",
        }
    }

    /// The datatype of a name in the protocol.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// The element type of a graph that this datatype carries.
    pub fn graph_element(self) -> ElementType {
        match self {
            Self::Bool => ElementType::Bool,
            Self::Uint8 => ElementType::UInt8,
            Self::Uint16 => ElementType::UInt16,
            Self::Uint32 => ElementType::UInt32,
            Self::Uint64 => ElementType::UInt64,
            Self::Int8 => ElementType::Int8,
            Self::Int16 => ElementType::Int16,
            Self::Int32 => ElementType::Int32,
            Self::Int64 => ElementType::Int64,
            Self::Fp16 => ElementType::Float16,
            Self::Fp32 => ElementType::Float32,
            Self::Fp64 => ElementType::Float64,
            Self::Bf16 => ElementType::BFloat16,
            Self::Bytes => ElementType::String,
        }
    }

    /// The datatype that carries an element type of a graph; `None` if the protocol has none.
    pub fn from_graph(element: ElementType) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.graph_element() == element)
    }

    /// Bytes of an element; `None` for `BYTES`, whose elements differ in size.
    pub fn element_bytes(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Number of elements of a shape; `None` on overflow.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
}

/// The elements of `BYTES` data, in order. Stops at a length that exceeds the data.
pub fn bytes_elements(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (element, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = tail;
        Some(element)
    })
}

/// Appends one element of `BYTES` data. Elements over `u32::MAX` bytes are cut, but bodies are
/// limited to less.
pub fn push_bytes_element(data: &mut Vec<u8>, element: &[u8]) {
    let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&element[..length as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_is_found_by_its_name() {
        for datatype in DataType::ALL {
            assert_eq!(DataType::from_name(datatype.name()), Some(datatype));
        }
        assert_eq!(DataType::from_name("FLOAT"), None);
    }

    #[test]
    fn a_scalar_has_one_element_and_a_zero_dimension_none() {
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[3, 0, 7]), Some(0));
        assert_eq!(elements(&[usize::MAX, 2]), None);
    }

    #[test]
    fn bytes_elements_stop_at_a_length_beyond_the_data() {
        let mut data = Vec::new();
        push_bytes_element(&mut data, b"ab");
        push_bytes_element(&mut data, b"");
        assert_eq!(bytes_elements(&data).collect::<Vec<_>>(), [&b"ab"[..], b""]);
        data.extend_from_slice(&[9, 0, 0, 0, b'x']);
        assert_eq!(bytes_elements(&data).count(), 2);
    }
}
