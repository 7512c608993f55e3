//! Tensors: views of those in a model, and owned ones.

use crate::external::{External, is_external};
use crate::{Element, ElementType, GraphError};
use onnx_protobuf::TensorProto;
use std::borrow::Cow;
use std::path::Path;

/// Read-only view of a tensor in a model.
///
/// Values are read on request. Those in a file beside the model are read each time.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    proto: &'a TensorProto,
    folder: Option<&'a Path>,
    name: &'a str,
}

impl<'a> TensorView<'a> {
    /// Makes a view of `proto`; external data lie in `folder`.
    pub(crate) fn new(proto: &'a TensorProto, folder: Option<&'a Path>) -> Self {
        Self { proto, folder, name: &proto.name }
    }

    /// Changes the name of the view.
    pub(crate) fn under(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    /// Name; for an initializer or the tensor of a `Constant` node, that of the value.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Type of the elements.
    pub fn element(&self) -> ElementType {
        ElementType::from_code(self.proto.data_type)
    }

    /// Dimensions; none for a scalar.
    ///
    /// # Errors
    /// `BadTensor` when one is negative.
    pub fn shape(&self) -> Result<Vec<u64>, GraphError> {
        let dims = self.proto.dims.iter();
        let shape: Result<_, _> = dims.map(|dim| u64::try_from(*dim)).collect();
        shape.map_err(|_| self.bad("a dimension is negative"))
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.proto.dims.len()
    }

    /// Number of elements.
    ///
    /// # Errors
    /// `BadTensor` when the shape is invalid or its number of elements overflows.
    pub fn count(&self) -> Result<u64, GraphError> {
        count(&self.shape()?).ok_or_else(|| self.bad("its shape has more than 2^64 elements"))
    }

    /// True if the values lie in a file beside the model.
    pub fn is_external(&self) -> bool {
        is_external(self.proto)
    }

    /// Values as bytes, little-endian; elements of less than a byte are packed.
    ///
    /// # Errors
    /// `BadTensor` when the number of values does not fit the shape, or they are strings.
    /// `BadExternalData` and `Io` when they cannot be read from their file.
    pub fn bytes(&self) -> Result<Cow<'a, [u8]>, GraphError> {
        let needed = self.byte_count()?;
        if self.is_external() {
            return Ok(Cow::Owned(External::of(self.proto)?.read(self.folder, needed)?));
        }
        let bytes = if self.proto.raw_data.is_empty() {
            self.field_bytes()?
        } else {
            Cow::Borrowed(self.proto.raw_data.as_slice())
        };
        if bytes.len() as u64 != needed {
            let (has, shape) = (bytes.len(), &self.proto.dims);
            let problem =
                format!("it has {has} bytes of values, its shape {shape:?} needs {needed}");
            return Err(self.bad(problem));
        }
        Ok(bytes)
    }

    /// Values as a slice, borrowed if they are aligned in memory.
    ///
    /// # Errors
    /// `WrongType` when the elements are not `T`, else as [`bytes`](Self::bytes).
    pub fn values<T: Element>(&self) -> Result<Cow<'a, [T]>, GraphError> {
        if self.element() != T::TYPE {
            return Err(self.wrong_type(T::TYPE));
        }
        if self.is_external() {
            let values = External::of(self.proto)?.read(self.folder, self.count()?)?;
            return Ok(Cow::Owned(values));
        }
        let bytes = self.bytes()?;
        if let Cow::Borrowed(bytes) = bytes
            && let Ok(values) = bytemuck::try_cast_slice(bytes)
        {
            return Ok(Cow::Borrowed(values));
        }
        let mut values = vec![T::zeroed(); bytes.len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(&bytes);
        Ok(Cow::Owned(values))
    }

    /// Values as `f32`.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn as_f32(&self) -> Result<Cow<'a, [f32]>, GraphError> {
        self.values()
    }

    /// Values as `i64`.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn as_i64(&self) -> Result<Cow<'a, [i64]>, GraphError> {
        self.values()
    }

    /// Values of a tensor of strings.
    ///
    /// # Errors
    /// `WrongType` when the elements are no strings; `BadTensor` when their number does not fit the
    /// shape.
    pub fn strings(&self) -> Result<&'a [Vec<u8>], GraphError> {
        if self.element() != ElementType::String {
            return Err(self.wrong_type(ElementType::String));
        }
        let (strings, count) = (&self.proto.string_data, self.count()?);
        if strings.len() as u64 != count {
            let has = strings.len();
            return Err(self.bad(format!("it has {has} strings, its shape needs {count}")));
        }
        Ok(strings)
    }

    /// Copies the tensor.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn to_tensor(&self) -> Result<Tensor, GraphError> {
        Tensor::from_bytes(self.element(), &self.shape()?, self.bytes()?.into_owned())
    }

    /// Bytes that the shape needs.
    pub(crate) fn byte_count(&self) -> Result<u64, GraphError> {
        let element = self.element();
        let bytes = element.bytes(self.count()?);
        bytes.ok_or_else(|| self.bad(format!("values of {element} have no fixed size in bytes")))
    }

    /// Values in the typed field that ONNX has for the element type.
    fn field_bytes(&self) -> Result<Cow<'a, [u8]>, GraphError> {
        use ElementType as E;
        Ok(Cow::Borrowed(match self.element() {
            E::Float32 | E::Complex64 => bytemuck::cast_slice(&self.proto.float_data),
            E::Float64 | E::Complex128 => bytemuck::cast_slice(&self.proto.double_data),
            E::Int32 => bytemuck::cast_slice(&self.proto.int32_data),
            E::Int64 => bytemuck::cast_slice(&self.proto.int64_data),
            E::UInt64 => bytemuck::cast_slice(&self.proto.uint64_data),
            E::UInt32 => {
                let wide = self.proto.uint64_data.iter();
                let narrow = wide.map(|value| Some(u32::try_from(*value).ok()?.to_le_bytes()));
                return self.collect(narrow);
            }
            E::Int16 | E::UInt16 | E::Float16 | E::BFloat16 => {
                let wide = self.proto.int32_data.iter();
                return self.collect(wide.map(|value| narrow::<2>(*value)));
            }
            // All types of a byte or less. The others have no size and fail earlier.
            _ => {
                let wide = self.proto.int32_data.iter();
                return self.collect(wide.map(|value| narrow::<1>(*value)));
            }
        }))
    }

    fn collect<const N: usize>(
        &self,
        values: impl Iterator<Item = Option<[u8; N]>>,
    ) -> Result<Cow<'a, [u8]>, GraphError> {
        let values: Option<Vec<[u8; N]>> = values.collect();
        let element = self.element();
        let values = values.ok_or_else(|| self.bad(format!("a value does not fit {element}")))?;
        Ok(Cow::Owned(values.into_flattened()))
    }

    fn bad(&self, problem: impl Into<String>) -> GraphError {
        GraphError::tensor(self.name(), problem)
    }

    fn wrong_type(&self, wanted: ElementType) -> GraphError {
        GraphError::WrongType { tensor: self.name().to_owned(), wanted, found: self.element() }
    }
}

/// Lowest `N` bytes of `value`, if the rest only repeats the sign or is zero.
fn narrow<const N: usize>(value: i32) -> Option<[u8; N]> {
    let bits = 8 * N as u32;
    let fits = (-(1_i64 << (bits - 1))..1_i64 << bits).contains(&i64::from(value));
    fits.then_some(value)?.to_le_bytes().first_chunk().copied()
}

/// Number of elements of a shape; `None` past 2^64.
fn count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim))
}

/// Owned tensor for a model. Its values always fit its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    element: ElementType,
    /// Dimensions, none above `i64::MAX`, the limit of ONNX.
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// Makes a tensor of values in row-major order.
    ///
    /// # Errors
    /// `BadShape` when the shape needs another number of values.
    pub fn new<T: Element>(shape: &[u64], values: &[T]) -> Result<Self, GraphError> {
        Self::from_bytes(T::TYPE, shape, bytemuck::cast_slice(values).to_vec())
    }

    /// Makes a tensor of little-endian values.
    ///
    /// # Errors
    /// `BadShape` when the shape needs another number of bytes, or the element type has no
    /// fixed size.
    pub fn from_bytes(
        element: ElementType,
        shape: &[u64],
        bytes: Vec<u8>,
    ) -> Result<Self, GraphError> {
        let needed = count(shape).and_then(|count| element.bytes(count));
        let sane = shape.iter().all(|dim| i64::try_from(*dim).is_ok());
        if !sane || needed != Some(bytes.len() as u64) {
            let (bytes, shape) = (bytes.len(), shape.to_vec());
            return Err(GraphError::BadShape { bytes, element, shape });
        }
        Ok(Self { element, shape: shape.to_vec(), bytes })
    }

    /// Type of the elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Dimensions; none for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Values, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the tensor of a model, with a name.
    pub(crate) fn into_proto(self, name: &str) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            data_type: self.element.code(),
            dims: self.shape.iter().map(|dim| dim.cast_signed()).collect(),
            raw_data: self.bytes,
            ..TensorProto::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn proto(element: ElementType, dims: &[i64]) -> TensorProto {
        let (data_type, dims) = (element.code(), dims.to_vec());
        TensorProto { name: "w".into(), data_type, dims, ..TensorProto::default() }
    }

    fn error_of<T: Element + std::fmt::Debug>(proto: &TensorProto) -> String {
        TensorView::new(proto, None).values::<T>().unwrap_err().to_string()
    }

    #[test]
    fn raw_and_typed_fields_read_alike() {
        let typed =
            TensorProto { float_data: vec![1.0, -2.5], ..proto(ElementType::Float32, &[2]) };
        let raw = [1.0_f32, -2.5].iter().flat_map(|v| v.to_le_bytes()).collect();
        let raw = TensorProto { raw_data: raw, ..proto(ElementType::Float32, &[2]) };
        for proto in [typed, raw] {
            let view = TensorView::new(&proto, None);
            assert!(matches!(view.as_f32().unwrap(), Cow::Borrowed([1.0, -2.5])));
            assert_eq!(view.to_tensor().unwrap(), Tensor::new(&[2], &[1.0_f32, -2.5]).unwrap());
        }
    }

    #[test]
    fn values_in_wider_fields_are_narrowed() {
        let ints = |element, values: &[i32]| TensorProto {
            int32_data: values.to_vec(),
            ..proto(element, &[2])
        };
        let signed = ints(ElementType::Int8, &[-128, 5]);
        assert_eq!(*TensorView::new(&signed, None).values::<i8>().unwrap(), [-128, 5]);
        let unsigned = ints(ElementType::UInt16, &[65_535, 0]);
        assert_eq!(*TensorView::new(&unsigned, None).values::<u16>().unwrap(), [65_535, 0]);
        let halves = ints(ElementType::Float16, &[0x3C00, 0xC000]);
        let halves = TensorView::new(&halves, None).values::<f16>().unwrap().into_owned();
        assert_eq!(halves, [f16::from_f32(1.0), f16::from_f32(-2.0)]);
        let wide = ints(ElementType::Bool, &[1, 256]);
        let message = TensorView::new(&wide, None).bytes().unwrap_err().to_string();
        assert_eq!(message, "tensor 'w': a value does not fit bool");
        let words = TensorProto {
            uint64_data: vec![u64::from(u32::MAX), 1 << 32],
            ..proto(ElementType::UInt32, &[2])
        };
        assert!(error_of::<u32>(&words).contains("does not fit uint32"));
        let nibbles = TensorProto { int32_data: vec![0x21, 0x3], ..proto(ElementType::Int4, &[3]) };
        assert_eq!(*TensorView::new(&nibbles, None).bytes().unwrap(), [0x21, 0x03]);
    }

    #[test]
    fn values_that_do_not_fit_the_shape_are_rejected() {
        let with = |dims: &[i64], bytes: usize| TensorProto {
            raw_data: vec![0; bytes],
            ..proto(ElementType::Float32, dims)
        };
        assert!(error_of::<f32>(&with(&[3], 8)).contains("its shape [3] needs 12"));
        assert!(error_of::<f32>(&with(&[2], 7)).contains("7 bytes"));
        assert!(error_of::<f32>(&with(&[-1], 4)).contains("negative"));
        assert!(error_of::<f32>(&with(&[i64::MAX, 3], 4)).contains("2^64"));
        assert!(error_of::<i64>(&with(&[1], 4)).contains("holds float32, not int64"));
        let empty = with(&[i64::MAX, 0, i64::MAX], 0);
        assert!(TensorView::new(&empty, None).as_f32().unwrap().is_empty());
        let scalar = with(&[], 4);
        assert_eq!(*TensorView::new(&scalar, None).as_f32().unwrap(), [0.0]);
        assert!(Tensor::new(&[2, 2], &[0_i64; 3]).is_err());
        assert!(Tensor::from_bytes(ElementType::UInt8, &[u64::MAX, 0], vec![]).is_err());
    }

    #[test]
    fn strings_are_counted_and_have_no_bytes() {
        let mut strings = proto(ElementType::String, &[2]);
        strings.string_data = vec![b"a".to_vec(), vec![0xFF]];
        assert_eq!(TensorView::new(&strings, None).strings().unwrap().len(), 2);
        assert!(TensorView::new(&strings, None).bytes().is_err());
        strings.dims = vec![3];
        assert!(TensorView::new(&strings, None).strings().is_err());
        assert!(TensorView::new(&proto(ElementType::Bool, &[]), None).strings().is_err());
    }
}
