//! Element types of tensors.

use bytemuck::Pod;
use half::{bf16, f16};
use std::fmt;

#[cfg(target_endian = "big")]
compile_error!("ONNX data are little-endian, and this crate reads them in place");

/// Element type of a tensor, as numbered by ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE single precision.
    Float32,
    /// Unsigned, 8 bits.
    UInt8,
    /// Signed, 8 bits.
    Int8,
    /// Unsigned, 16 bits.
    UInt16,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// Strings of bytes, most often UTF-8.
    String,
    /// A byte, 0 or 1.
    Bool,
    /// IEEE half precision.
    Float16,
    /// IEEE double precision.
    Float64,
    /// Unsigned, 32 bits.
    UInt32,
    /// Unsigned, 64 bits.
    UInt64,
    /// Two `Float32`: real, imaginary.
    Complex64,
    /// Two `Float64`: real, imaginary.
    Complex128,
    /// The upper half of a `Float32`.
    BFloat16,
    /// 8 bits: 4 of exponent, 3 of mantissa, no infinity.
    Float8E4M3FN,
    /// 8 bits: 4 of exponent, 3 of mantissa, no infinity, no negative zero.
    Float8E4M3FNUZ,
    /// 8 bits: 5 of exponent, 2 of mantissa.
    Float8E5M2,
    /// 8 bits: 5 of exponent, 2 of mantissa, no infinity, no negative zero.
    Float8E5M2FNUZ,
    /// Unsigned, 4 bits, two a byte, the first in the lower half.
    UInt4,
    /// Signed, 4 bits, two a byte, the first in the lower half.
    Int4,
    /// 4 bits: 2 of exponent, 1 of mantissa; two a byte.
    Float4E2M1,
    /// 8 bits, all of exponent: a power of two.
    Float8E8M0,
    /// A number that this version does not know; 0 where the model states none.
    Other(i32),
}

/// Number in ONNX, type, bits of an element, name. Strings have no fixed size: 0 bits.
const TABLE: [(i32, ElementType, u8, &str); 24] = [
    (1, ElementType::Float32, 32, "float32"),
    (2, ElementType::UInt8, 8, "uint8"),
    (3, ElementType::Int8, 8, "int8"),
    (4, ElementType::UInt16, 16, "uint16"),
    (5, ElementType::Int16, 16, "int16"),
    (6, ElementType::Int32, 32, "int32"),
    (7, ElementType::Int64, 64, "int64"),
    (8, ElementType::String, 0, "string"),
    (9, ElementType::Bool, 8, "bool"),
    (10, ElementType::Float16, 16, "float16"),
    (11, ElementType::Float64, 64, "float64"),
    (12, ElementType::UInt32, 32, "uint32"),
    (13, ElementType::UInt64, 64, "uint64"),
    (14, ElementType::Complex64, 64, "complex64"),
    (15, ElementType::Complex128, 128, "complex128"),
    (16, ElementType::BFloat16, 16, "bfloat16"),
    (17, ElementType::Float8E4M3FN, 8, "float8e4m3fn"),
    (18, ElementType::Float8E4M3FNUZ, 8, "float8e4m3fnuz"),
    (19, ElementType::Float8E5M2, 8, "float8e5m2"),
    (20, ElementType::Float8E5M2FNUZ, 8, "float8e5m2fnuz"),
    (21, ElementType::UInt4, 4, "uint4"),
    (22, ElementType::Int4, 4, "int4"),
    (23, ElementType::Float4E2M1, 4, "float4e2m1"),
    (24, ElementType::Float8E8M0, 8, "float8e8m0"),
];

impl ElementType {
    /// Finds the type of an ONNX number.
    pub fn from_code(code: i32) -> Self {
        let row = TABLE.iter().find(|row| row.0 == code);
        row.map_or(Self::Other(code), |row| row.1)
    }

    /// Number of the type in ONNX.
    pub fn code(self) -> i32 {
        match self {
            Self::Other(code) => code,
            known => known.row().map_or(0, |row| row.0),
        }
    }

    /// Bits of an element; `None` for strings and unknown types.
    pub fn bits(self) -> Option<u32> {
        self.row().map(|row| u32::from(row.2)).filter(|bits| *bits > 0)
    }

    /// Bytes of `count` elements; `None` as for [`bits`](Self::bits), or past 2^64.
    pub fn bytes(self, count: u64) -> Option<u64> {
        Some(count.checked_mul(u64::from(self.bits()?))?.div_ceil(8))
    }

    fn row(self) -> Option<&'static (i32, Self, u8, &'static str)> {
        TABLE.iter().find(|row| row.1 == self)
    }
}

/// Displays the name of the type, such as `float32`.
impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => f.write_str(row.3),
            None => write!(f, "element type {}", self.code()),
        }
    }
}

/// A Rust type of tensor elements. Only this crate implements it.
pub trait Element: Pod + sealed::Sealed {
    /// ONNX type with exactly these bits.
    const TYPE: ElementType;
}

mod sealed {
    /// Restricts implementations of `Element` to this crate.
    pub trait Sealed {}
}

macro_rules! elements {
    ($($rust:ty => $onnx:ident,)*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$onnx;
        }
    )*};
}

elements! {
    f32 => Float32,
    f64 => Float64,
    f16 => Float16,
    bf16 => BFloat16,
    i8 => Int8,
    i16 => Int16,
    i32 => Int32,
    i64 => Int64,
    u8 => UInt8,
    u16 => UInt16,
    u32 => UInt32,
    u64 => UInt64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_types_are_one_to_one() {
        for (code, element, _, word) in TABLE {
            assert_eq!(ElementType::from_code(code), element);
            assert_eq!(element.code(), code);
            assert_eq!(element.to_string(), word);
        }
        for code in [-1, 0, 25, i32::MAX] {
            assert_eq!(ElementType::from_code(code), ElementType::Other(code));
            assert_eq!(ElementType::Other(code).code(), code);
        }
        assert_eq!(ElementType::Other(0).to_string(), "element type 0");
    }

    #[test]
    fn sizes_round_up_and_never_overflow() {
        assert_eq!(ElementType::Float32.bytes(3), Some(12));
        assert_eq!(ElementType::Int4.bytes(3), Some(2));
        assert_eq!(ElementType::Complex128.bytes(1), Some(16));
        assert_eq!(ElementType::String.bytes(1), None);
        assert_eq!(ElementType::Other(99).bytes(1), None);
        assert_eq!(ElementType::UInt8.bytes(u64::MAX), None);
    }

    #[test]
    fn rust_types_have_the_size_of_their_element_types() {
        fn same<T: Element>() {
            assert_eq!(T::TYPE.bytes(1), Some(size_of::<T>() as u64));
        }
        same::<f32>();
        same::<f64>();
        same::<f16>();
        same::<bf16>();
        same::<i8>();
        same::<u16>();
        same::<i64>();
    }
}
