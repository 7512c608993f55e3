//! Arrays of NumPy in `.npy` files: a magic number, a Python dictionary as text, and the elements
//! (NumPy Enhancement Proposal 1).
//!
//! Files may be hostile. Reading never panics, and allocates no more than the file is long.

use skysail_graph::{ElementType, GraphError, Tensor};
use std::borrow::Cow;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Limit of the dictionary in bytes; NumPy writes 118 for an array of few dimensions.
const HEADER_BYTES_MAX: usize = 1 << 16;
/// Alignment of the elements in a file, in bytes.
const ALIGNMENT: usize = 64;

/// NumPy's names of element types, without the mark of the byte order.
const ELEMENTS: [(&str, ElementType); 12] = [
    ("b1", ElementType::Bool),
    ("i1", ElementType::Int8),
    ("u1", ElementType::UInt8),
    ("i2", ElementType::Int16),
    ("u2", ElementType::UInt16),
    ("f2", ElementType::Float16),
    ("i4", ElementType::Int32),
    ("u4", ElementType::UInt32),
    ("f4", ElementType::Float32),
    ("i8", ElementType::Int64),
    ("u8", ElementType::UInt64),
    ("f8", ElementType::Float64),
];

/// An array as a file holds it, in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array<'a> {
    /// Type of the elements: a boolean or a number of up to 8 bytes.
    pub element: ElementType,
    /// Dimensions; none for a scalar.
    pub shape: Vec<u64>,
    /// Elements, little-endian: as many as the shape says.
    pub bytes: Cow<'a, [u8]>,
}

/// Reason why bytes are no array, or why an array cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// The magic number, the version or the length of the header is wrong.
    #[error("it is no .npy file, or cut off")]
    NotNpy,
    /// The header is not a dictionary as NumPy writes it.
    #[error("its header is not one of an array: {0}")]
    BadHeader(String),
    /// The elements lie column by column.
    #[error("it has columns first: save numpy.ascontiguousarray(it)")]
    ColumnsFirst,
    /// The elements are of a type that is not supported.
    #[error("its elements are {0}: only booleans and numbers of up to 8 bytes are supported")]
    Element(String),
    /// The elements do not fill the shape.
    #[error(
        "its shape is {shape:?} of {element}, and {bytes} bytes follow: it is cut off, or too long"
    )]
    Length {
        /// Dimensions of the array.
        shape: Vec<u64>,
        /// Type of the elements.
        element: ElementType,
        /// Bytes after the header.
        bytes: usize,
    },
}

/// Reads the array in the bytes of a file.
///
/// Booleans and numbers of either byte order are read, in row-major order. Elements are
/// borrowed unless their byte order must change.
///
/// # Errors
/// [`NpyError`] when the bytes are no such array, are too few, or are too many.
pub fn read(bytes: &[u8]) -> Result<Array<'_>, NpyError> {
    let (header, elements) = split(bytes).ok_or(NpyError::NotNpy)?;
    let bad = || NpyError::BadHeader(String::from_utf8_lossy(header).chars().take(200).collect());
    let text = std::str::from_utf8(header).map_err(|_| bad())?;
    let value = |key| value(text, key).ok_or_else(bad);
    let shape = shape(value("shape")?).ok_or_else(bad)?;
    let order = value("fortran_order")?;
    let columns_first = order.starts_with("True");
    if !columns_first && !order.starts_with("False") {
        return Err(bad());
    }
    // An array of one dimension is the same in either order.
    if columns_first && shape.len() > 1 {
        return Err(NpyError::ColumnsFirst);
    }
    let name = quoted(value("descr")?).ok_or_else(bad)?;
    let (element, size) = element(name).ok_or_else(|| NpyError::Element(name.to_owned()))?;
    if byte_count(element, &shape) != Some(elements.len() as u64) {
        return Err(NpyError::Length { shape, element, bytes: elements.len() });
    }
    let mut bytes = Cow::Borrowed(elements);
    if name.starts_with('>') && size > 1 {
        bytes.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    Ok(Array { element, shape, bytes })
}

/// Returns the bytes of a file that holds a tensor.
///
/// # Errors
/// [`NpyError::Element`] when NumPy has no such element type.
pub fn write(tensor: &Tensor) -> Result<Vec<u8>, NpyError> {
    let element = tensor.element();
    let found = ELEMENTS.iter().find(|row| row.1 == element);
    let (name, _) = found.ok_or_else(|| NpyError::Element(element.to_string()))?;
    let order = if name.ends_with('1') { '|' } else { '<' };
    let shape: String = tensor.shape().iter().map(|dim| format!("{dim}, ")).collect();
    let header =
        format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({shape})}}");
    // Version 2 has a length of four bytes: magic number, version and length take 12.
    let whole = (12 + header.len() + 1).next_multiple_of(ALIGNMENT);
    let header = format!("{header:width$}\n", width = whole - 13);
    let length = (header.len() as u32).to_le_bytes();
    Ok([MAGIC, &[2, 0], &length, header.as_bytes(), tensor.bytes()].concat())
}

impl Array<'_> {
    /// Copies the array into a tensor.
    ///
    /// # Errors
    /// [`GraphError::BadShape`] when the fields were changed and no longer fit each other.
    pub fn to_tensor(&self) -> Result<Tensor, GraphError> {
        Tensor::from_bytes(self.element, &self.shape, self.bytes.to_vec())
    }
}

/// Splits a file into the text of its header and the bytes of its elements.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<2>()?;
    let (length, rest) = match version[0] {
        1 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|(header, _)| header.len() <= HEADER_BYTES_MAX)
}

/// Returns the text from the start of a key's value. No key of a header is part of another.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    Some(text.strip_prefix('\'')?.split_once('\'')?.0)
}

/// Parses `(2, 3)`, `(2,)` or `()`.
fn shape(text: &str) -> Option<Vec<u64>> {
    let (sizes, _) = text.strip_prefix('(')?.split_once(')')?;
    let sizes = sizes.trim().trim_end_matches(',');
    if sizes.is_empty() {
        return Some(Vec::new());
    }
    sizes.split(',').map(|size| size.trim().parse().ok()).collect()
}

/// Returns the type that a name such as `<f4` stands for, and the bytes of an element.
fn element(name: &str) -> Option<(ElementType, usize)> {
    let name = name.strip_prefix(['<', '>', '|', '='])?;
    let (_, element) = ELEMENTS.iter().find(|row| row.0 == name)?;
    Some((*element, usize::try_from(element.bytes(1)?).ok()?))
}

/// Bytes of an array; `None` when no tensor can have the shape.
fn byte_count(element: ElementType, shape: &[u64]) -> Option<u64> {
    if !shape.iter().all(|dim| i64::try_from(*dim).is_ok()) {
        return None;
    }
    if shape.contains(&0) {
        return Some(0);
    }
    let count = shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim))?;
    element.bytes(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of a file of version 1, which NumPy writes as a rule.
    fn file(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    fn tensor(bytes: &[u8]) -> Tensor {
        read(bytes).unwrap().to_tensor().unwrap()
    }

    #[test]
    fn numbers_of_either_byte_order_are_read() {
        let numbers = Tensor::new(&[2], &[1.5_f32, -2.0]).unwrap();
        let little = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
        let big = [1.5_f32, -2.0].map(f32::to_be_bytes).concat();
        assert_eq!(tensor(&file("<f4", "(2,)", &little)), numbers);
        assert_eq!(tensor(&file("=f4", "(2,)", &little)), numbers);
        assert_eq!(tensor(&file(">f4", "(2,)", &big)), numbers);
        let ints = file(">u2", "(1, 2)", &[1, 0, 0, 2]);
        assert_eq!(tensor(&ints), Tensor::new(&[1, 2], &[256_u16, 2]).unwrap());
        assert!(matches!(read(&file("|u1", "(2,)", &[1, 2])).unwrap().bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn shapes_of_every_form_are_read() {
        let shape = |text, bytes: &[u8]| read(&file("<f4", text, bytes)).unwrap().shape;
        assert!(shape("()", &[0; 4]).is_empty());
        assert_eq!(shape("(2,)", &[0; 8]), [2]);
        assert_eq!(shape("(2, 0, 3)", &[]), [2, 0, 3]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(error(b"PK").contains("no .npy file"));
        assert!(error(&file("|O", "(2,)", &[])).contains("its elements are |O"));
        assert!(error(&file("<c16", "(1,)", &[0; 16])).contains("its elements are <c16"));
        assert!(error(&file("é", "(1,)", &[0; 8])).contains("its elements are é"));
        assert!(error(&file("<f4", "(3,)", &[0; 8])).contains("8 bytes follow"));
        assert!(error(&file("<f4", "(18446744073709551615, 2)", &[])).contains("cut off"));
        assert!(error(&file("<f4", "(18446744073709551615, 0)", &[])).contains("cut off"));
        assert!(error(&file("<f4", "(-1,)", &[])).contains("its header"));
        let with_order = |order, shape| {
            let header = format!("{{'descr': '|u1', 'fortran_order': {order}, 'shape': {shape}}}");
            let length = (header.len() as u16).to_le_bytes();
            [MAGIC, &[1, 0], &length, header.as_bytes(), b"ab"].concat()
        };
        assert_eq!(read(&with_order("True", "(1, 2)")), Err(NpyError::ColumnsFirst));
        assert_eq!(read(&with_order("True", "(2,)")).unwrap().shape, [2]);
        assert!(error(&with_order("0", "(2,)")).contains("its header"));
    }

    #[test]
    fn a_written_tensor_is_read_back() {
        let tensors = [
            Tensor::new(&[2, 1], &[1.5_f32, f32::NAN]),
            Tensor::new(&[], &[7_i64]),
            Tensor::new(&[3], &[1_u8, 2, 3]),
            Tensor::new::<i16>(&[0, 4], &[]),
        ];
        for wanted in tensors.map(Result::unwrap) {
            let bytes = write(&wanted).unwrap();
            assert_eq!((bytes.len() - wanted.bytes().len()) % ALIGNMENT, 0);
            assert_eq!(tensor(&bytes), wanted);
        }
        let strange = Tensor::from_bytes(ElementType::BFloat16, &[1], vec![0; 2]).unwrap();
        assert_eq!(write(&strange), Err(NpyError::Element("bfloat16".to_owned())));
    }

    #[test]
    fn a_header_past_the_limit_is_rejected() {
        let long = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes(), b"{}"].concat();
        assert_eq!(read(&long), Err(NpyError::NotNpy));
        let length = (HEADER_BYTES_MAX + 1) as u32;
        let header = vec![b' '; HEADER_BYTES_MAX + 1];
        let long = [MAGIC, &[2, 0], &length.to_le_bytes(), &header].concat();
        assert_eq!(read(&long), Err(NpyError::NotNpy));
    }

    #[test]
    fn a_damaged_file_is_read_or_rejected() {
        let whole = file("<i2", "(1, 2)", &[1, 0, 2, 0]);
        for position in 0..whole.len() {
            let _ = read(&whole[..position]).unwrap_err();
            for value in [0, b'\'', b'(', 255] {
                let mut changed = whole.clone();
                changed[position] = value;
                let _ = read(&changed);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            shape in "[0-9(), ]{0,24}",
            descr in "[<>|][fiubO][1248]",
            elements in proptest::collection::vec(any::<u8>(), 0..32),
            cut in 0_usize..120,
        ) {
            let bytes = file(&descr, &shape, &elements);
            if let Ok(array) = read(&bytes) {
                prop_assert!(array.to_tensor().is_ok());
            }
            let _ = read(&bytes[..cut.min(bytes.len())]);
        }
    }
}
