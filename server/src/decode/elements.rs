//! Decodes elements of JSON tensors, flat or nested, directly to the binary form.

use super::fault::Fault;
use super::number::Number;
use super::reader::{Kind, Reader};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use half::{bf16, f16};
use skysail_engine::tensor::{DataType, push_bytes_element};

/// Key of an object with an element of BYTES in base64.
pub(super) const B64: &str = "b64";

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Follows the lists around elements.
pub(super) trait Nesting {
    /// A list begins at this depth; the outermost is at 0.
    fn open(&mut self, _depth: usize) -> Result<(), Fault> {
        Ok(())
    }

    /// A list at this depth ends.
    fn close(&mut self, _depth: usize) -> Result<(), Fault> {
        Ok(())
    }

    /// An element stands in this many lists.
    fn element(&mut self, _depth: usize) -> Result<(), Fault> {
        Ok(())
    }
}

/// Any nesting: the shape is stated elsewhere.
pub(super) struct AnyNesting;

impl Nesting for AnyNesting {}

/// Appends all elements of a value to `data`. Returns true if some were in base64.
pub(super) fn read(
    reader: &mut Reader<'_>,
    datatype: DataType,
    data: &mut Vec<u8>,
    nesting: &mut impl Nesting,
) -> Result<bool, Fault> {
    let mut any_base64 = false;
    match datatype {
        DataType::Bool => each(reader, nesting, |reader| {
            data.push(bool(reader)?);
            Ok(())
        }),
        DataType::Uint8 => integers(reader, nesting, data, datatype, u8::to_le_bytes),
        DataType::Uint16 => integers(reader, nesting, data, datatype, u16::to_le_bytes),
        DataType::Uint32 => integers(reader, nesting, data, datatype, u32::to_le_bytes),
        DataType::Uint64 => integers(reader, nesting, data, datatype, u64::to_le_bytes),
        DataType::Int8 => integers(reader, nesting, data, datatype, i8::to_le_bytes),
        DataType::Int16 => integers(reader, nesting, data, datatype, i16::to_le_bytes),
        DataType::Int32 => integers(reader, nesting, data, datatype, i32::to_le_bytes),
        DataType::Int64 => integers(reader, nesting, data, datatype, i64::to_le_bytes),
        DataType::Fp32 => floats(reader, nesting, data, datatype, |number| {
            let value = number.to_f32();
            (value.is_finite(), value.to_le_bytes())
        }),
        DataType::Fp64 => floats(reader, nesting, data, datatype, |number| {
            let value = number.to_f64();
            (value.is_finite(), value.to_le_bytes())
        }),
        DataType::Fp16 => floats(reader, nesting, data, datatype, |number| {
            let value = f16::from_f32(number.to_f32_for_rounding());
            (value.is_finite(), value.to_le_bytes())
        }),
        DataType::Bf16 => floats(reader, nesting, data, datatype, |number| {
            let value = bf16::from_f32(number.to_f32_for_rounding());
            (value.is_finite(), value.to_le_bytes())
        }),
        DataType::Bytes => each(reader, nesting, |reader| {
            any_base64 |= bytes(reader, data)?;
            Ok(())
        }),
    }?;
    Ok(any_base64)
}

/// Reads each element of a value, in lists or alone.
fn each(
    reader: &mut Reader<'_>,
    nesting: &mut impl Nesting,
    mut element: impl FnMut(&mut Reader<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut depth = 0;
    loop {
        if reader.eat(b'[') {
            nesting.open(depth)?;
            depth += 1;
            if depth > super::reader::DEPTH_MAX {
                return Err(reader.too_deep());
            }
            if reader.peek() != Some(b']') {
                continue;
            }
        } else {
            element(reader)?;
            nesting.element(depth)?;
        }
        while depth > 0 && reader.eat(b']') {
            depth -= 1;
            nesting.close(depth)?;
        }
        if depth == 0 {
            return Ok(());
        }
        reader.expect_or(b',', "',' or ']'")?;
    }
}

#[inline]
fn integers<T: TryFrom<i128>, const N: usize>(
    reader: &mut Reader<'_>,
    nesting: &mut impl Nesting,
    data: &mut Vec<u8>,
    datatype: DataType,
    to_bytes: impl Fn(T) -> [u8; N],
) -> Result<(), Fault> {
    each(reader, nesting, |reader| {
        let before = reader.clone();
        let number = match reader.kind() {
            Kind::Number => reader.number()?,
            _ => return Err(wrong(reader, datatype)),
        };
        let fitting = match number {
            Number::Integer(value) => T::try_from(value).ok(),
            _ => None,
        };
        match fitting {
            Some(value) => data.extend_from_slice(&to_bytes(value)),
            None => return Err(does_not_fit(before, number, datatype)),
        }
        Ok(())
    })
}

/// Reads floats. `round` returns the bytes, and false if they are not finite.
#[inline]
fn floats<const N: usize>(
    reader: &mut Reader<'_>,
    nesting: &mut impl Nesting,
    data: &mut Vec<u8>,
    datatype: DataType,
    round: impl Fn(Number<'_>) -> (bool, [u8; N]),
) -> Result<(), Fault> {
    each(reader, nesting, |reader| {
        let before = reader.clone();
        let number = match reader.kind() {
            Kind::Number => reader.number()?,
            // A missing value.
            Kind::Null => {
                reader.null()?;
                Number::NotFinite(f64::NAN)
            }
            _ => return Err(wrong(reader, datatype)),
        };
        let (is_finite, bytes) = round(number);
        if !is_finite && !matches!(number, Number::NotFinite(_)) {
            return Err(does_not_fit(before, number, datatype));
        }
        data.extend_from_slice(&bytes);
        Ok(())
    })
}

fn bool(reader: &mut Reader<'_>) -> Result<u8, Fault> {
    let before = reader.clone();
    match reader.kind() {
        Kind::Bool => Ok(u8::from(reader.bool()?)),
        Kind::Number => match reader.number()? {
            Number::Integer(0) => Ok(0),
            Number::Integer(1) => Ok(1),
            number => Err(does_not_fit(before, number, DataType::Bool)),
        },
        _ => Err(wrong(reader, DataType::Bool)),
    }
}

/// Appends an element of BYTES. Returns true if it was in base64.
fn bytes(reader: &mut Reader<'_>, data: &mut Vec<u8>) -> Result<bool, Fault> {
    match reader.kind() {
        Kind::Text => {
            push_bytes_element(data, reader.text()?.as_bytes());
            Ok(false)
        }
        Kind::Object => {
            base64_object(reader, data)?;
            Ok(true)
        }
        _ => Err(wrong(reader, DataType::Bytes)),
    }
}

/// Appends the bytes of an object such as `{"b64": "aGk="}`.
fn base64_object(reader: &mut Reader<'_>, data: &mut Vec<u8>) -> Result<(), Fault> {
    let before = reader.clone();
    let mut decoded = None;
    let mut is_known = true;
    reader.object(|reader, key| {
        if key != B64 || decoded.is_some() || reader.kind() != Kind::Text {
            is_known = false;
            return reader.skip().map(drop);
        }
        let text = reader.text()?;
        let bytes = BASE64.decode(text.as_bytes());
        decoded = Some(bytes.map_err(|_| Fault::value("a 'b64' in 'data' is no base64"))?);
        Ok(())
    })?;
    match decoded {
        Some(bytes) if is_known => {
            push_bytes_element(data, &bytes);
            Ok(())
        }
        _ => Err(wrong(&mut { before }, DataType::Bytes)),
    }
}

/// The error of an element of another kind.
fn wrong(reader: &mut Reader<'_>, datatype: DataType) -> Fault {
    let wanted = match datatype {
        DataType::Bool => "true or false for BOOL".to_owned(),
        DataType::Bytes => "a text for BYTES, or an object {\"b64\": BASE64}".to_owned(),
        datatype => format!("a number for {datatype}"),
    };
    reader.wrong("an element of 'data'", &wanted)
}

/// The error of a number that the datatype does not hold.
fn does_not_fit(mut before: Reader<'_>, number: Number<'_>, datatype: DataType) -> Fault {
    let is_float =
        matches!(datatype, DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64);
    let problem = match number {
        _ if is_float => "is too large for",
        Number::Integer(_) => "does not fit",
        _ => "is no integer, as are all elements of",
    };
    Fault::value(format!("{} in 'data' {problem} {datatype}", before.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Error;

    fn read_all(json: &str, datatype: DataType) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        let mut reader = Reader::new(json);
        read(&mut reader, datatype, &mut data, &mut AnyNesting)
            .and_then(|_| reader.end())
            .map_err(|fault| Error::from(fault).to_string())?;
        Ok(data)
    }

    #[test]
    fn nested_and_flat_lists_are_equal() {
        let flat = read_all("[1, -2.5, 3]", DataType::Fp32).unwrap();
        assert_eq!(flat, read_all("[[1], [-2.5, 3 ] , []]", DataType::Fp32).unwrap());
        assert_eq!(flat[4..8], (-2.5_f32).to_le_bytes());
        assert!(read_all("[ ]", DataType::Fp32).unwrap().is_empty());
        assert_eq!(read_all("7", DataType::Int8).unwrap(), [7]);
        for wrong in ["[1", "[1,]", "[,1]", "[1 2]", "[[1]", "[1]]", "", "]"] {
            assert!(read_all(wrong, DataType::Fp32).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_datatype_accepts_its_own_values_only() {
        assert_eq!(read_all("[true, 0]", DataType::Bool).unwrap(), [1, 0]);
        assert_eq!(read_all("[\"ab\"]", DataType::Bytes).unwrap(), b"\x02\0\0\0ab");
        assert_eq!(read_all("[-1]", DataType::Int16).unwrap(), [255, 255]);
        let largest = read_all("[18446744073709551615]", DataType::Uint64).unwrap();
        assert_eq!(largest, [255; 8]);
        for (json, datatype, says) in [
            ("[300]", DataType::Uint8, "300 in 'data' does not fit UINT8"),
            ("[-1]", DataType::Uint32, "-1 in 'data' does not fit UINT32"),
            ("[2]", DataType::Bool, "2 in 'data' does not fit BOOL"),
            ("[1.5]", DataType::Int32, "1.5 in 'data' is no integer, as are all elements of INT32"),
            ("[NaN]", DataType::Int32, "NaN in 'data' is no integer"),
            ("[1e39]", DataType::Fp32, "1e39 in 'data' is too large for FP32"),
            ("[1e999]", DataType::Fp64, "1e999 in 'data' is too large for FP64"),
            ("[65520]", DataType::Fp16, "65520 in 'data' is too large for FP16"),
            ("[1e39]", DataType::Bf16, "too large for BF16"),
            ("[\"1\"]", DataType::Fp32, "must be a number for FP32, not \"1\""),
            ("[1]", DataType::Bytes, "must be a text for BYTES"),
            ("[null]", DataType::Int8, "must be a number for INT8, not null"),
            ("[null]", DataType::Bytes, "not null"),
            ("[null]", DataType::Bool, "true or false for BOOL, not null"),
            ("[{}]", DataType::Fp32, "not {}"),
        ] {
            let message = read_all(json, datatype).unwrap_err();
            assert!(message.contains(says), "{json} as {datatype}: {message}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_and_missing_ones_are_floats() {
        let read = read_all("[NaN, Infinity, -Infinity, null, -0]", DataType::Fp32).unwrap();
        let read: Vec<f32> = read.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert!(read[0].is_nan() && read[3].is_nan());
        assert_eq!((read[1], read[2]), (f32::INFINITY, f32::NEG_INFINITY));
        assert!(read[4].is_sign_negative());
        let halves = read_all("[-Infinity, 65504, 6e-8]", DataType::Fp16).unwrap();
        assert_eq!(halves, [0, 0xfc, 0xff, 0x7b, 1, 0]);
        assert_eq!(read_all("[1, Infinity]", DataType::Bf16).unwrap(), [0x80, 0x3f, 0x80, 0x7f]);
    }

    #[test]
    fn base64_holds_any_bytes() {
        for json in [r#"[{"b64": "//4AAQ=="}]"#, r#"[[{ "b64" :"//4AAQ"}]]"#] {
            assert_eq!(read_all(json, DataType::Bytes).unwrap(), b"\x04\0\0\0\xff\xfe\0\x01");
        }
        for (json, says) in [
            (r#"[{"b64": "*"}]"#, "no base64"),
            (r#"[{"b64": 7}]"#, "a text for BYTES"),
            (r#"[{"b64": "", "b64": ""}]"#, "a text for BYTES"),
            (r#"[{"b65": ""}]"#, "not {\"b65\": \"\"}"),
        ] {
            let message = read_all(json, DataType::Bytes).unwrap_err();
            assert!(message.contains(says), "{json}: {message}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        assert!(read_all(&"[".repeat(100_000), DataType::Int8).is_err());
    }
}
