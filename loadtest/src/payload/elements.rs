//! Conversion of elements between JSON and the protocol's raw bytes.

use super::DataType;
use half::{bf16, f16};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use std::str;

/// Appends the elements of a JSON tensor with any nesting of arrays, and returns their number.
pub(super) fn append_json(
    datatype: DataType,
    data: &Value,
    raw: &mut Vec<u8>,
) -> Result<usize, String> {
    if let Value::Array(values) = data {
        return values.iter().try_fold(0, |count, value| {
            append_json(datatype, value, raw).map(|more| count + more)
        });
    }
    append_element(datatype, data, raw)
        .ok_or_else(|| format!("{data} is not a valid {datatype}"))?;
    Ok(1)
}

fn append_element(datatype: DataType, value: &Value, raw: &mut Vec<u8>) -> Option<()> {
    match datatype {
        DataType::Bool => raw.push(u8::from(value.as_bool()?)),
        DataType::Uint8 => raw.extend(u8::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        DataType::Uint16 => raw.extend(u16::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        DataType::Uint32 => raw.extend(u32::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        DataType::Uint64 => raw.extend(value.as_u64()?.to_le_bytes()),
        DataType::Int8 => raw.extend(i8::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        DataType::Int16 => raw.extend(i16::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        DataType::Int32 => raw.extend(i32::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        DataType::Int64 => raw.extend(value.as_i64()?.to_le_bytes()),
        DataType::Fp16 => raw.extend(f16::from_f64(value.as_f64()?).to_le_bytes()),
        DataType::Bf16 => raw.extend(bf16::from_f64(value.as_f64()?).to_le_bytes()),
        DataType::Fp32 => raw.extend((value.as_f64()? as f32).to_le_bytes()),
        DataType::Fp64 => raw.extend(value.as_f64()?.to_le_bytes()),
        DataType::Bytes => append_text(value.as_str()?.as_bytes(), raw)?,
    }
    Some(())
}

/// Appends one element of BYTES: its length, then its bytes. `None` when it is too long.
pub(super) fn append_text(text: &[u8], raw: &mut Vec<u8>) -> Option<()> {
    raw.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
    raw.extend(text);
    Some(())
}

/// Raw elements, serialized to JSON as a flat array.
pub(super) struct Elements<'a> {
    pub(super) datatype: DataType,
    pub(super) raw: &'a [u8],
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.datatype {
            DataType::Bool => to.collect_seq(self.raw.iter().map(|&byte| byte != 0)),
            DataType::Uint8 => to.collect_seq(self.each(u8::from_le_bytes)),
            DataType::Uint16 => to.collect_seq(self.each(u16::from_le_bytes)),
            DataType::Uint32 => to.collect_seq(self.each(u32::from_le_bytes)),
            DataType::Uint64 => to.collect_seq(self.each(u64::from_le_bytes)),
            DataType::Int8 => to.collect_seq(self.each(i8::from_le_bytes)),
            DataType::Int16 => to.collect_seq(self.each(i16::from_le_bytes)),
            DataType::Int32 => to.collect_seq(self.each(i32::from_le_bytes)),
            DataType::Int64 => to.collect_seq(self.each(i64::from_le_bytes)),
            DataType::Fp32 => to.collect_seq(self.each(f32::from_le_bytes)),
            DataType::Fp64 => to.collect_seq(self.each(f64::from_le_bytes)),
            DataType::Bytes => to.collect_seq(self.texts().ok_or(S::Error::custom("not UTF-8"))?),
            DataType::Fp16 | DataType::Bf16 => Err(S::Error::custom("JSON has no such numbers")),
        }
    }
}

impl<'a> Elements<'a> {
    fn each<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        self.raw.as_chunks().0.iter().map(move |&bytes| read(bytes))
    }

    fn texts(&self) -> Option<Vec<&'a str>> {
        let mut texts = Vec::new();
        let mut rest = self.raw;
        while let Some((length, after)) = rest.split_first_chunk() {
            let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            texts.push(str::from_utf8(text).ok()?);
            rest = after;
        }
        Some(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(datatype: DataType, data: &Value) -> Result<Vec<u8>, String> {
        let mut raw = Vec::new();
        append_json(datatype, data, &mut raw)?;
        Ok(raw)
    }

    #[test]
    fn every_json_datatype_comes_back_as_it_was() {
        for (datatype, data) in [
            (DataType::Bool, json!([true, false])),
            (DataType::Uint8, json!([0, 255])),
            (DataType::Uint16, json!([0, 65_535])),
            (DataType::Uint32, json!([u32::MAX])),
            (DataType::Uint64, json!([u64::MAX])),
            (DataType::Int8, json!([-128, 127])),
            (DataType::Int16, json!([i16::MIN])),
            (DataType::Int32, json!([i32::MIN])),
            (DataType::Int64, json!([i64::MIN])),
            (DataType::Fp32, json!([0.1, -2.5])),
            (DataType::Fp64, json!([0.1, 1e300])),
            (DataType::Bytes, json!(["", "grüß"])),
        ] {
            let raw = read(datatype, &data).unwrap();
            let written = serde_json::to_string(&Elements { datatype, raw: &raw }).unwrap();
            assert_eq!(written, data.to_string(), "{datatype}");
        }
    }

    #[test]
    fn half_precision_is_read_but_not_written() {
        assert_eq!(read(DataType::Fp16, &json!([1.0])).unwrap(), [0x00, 0x3c]);
        assert_eq!(read(DataType::Bf16, &json!([1.0])).unwrap(), [0x80, 0x3f]);
        let elements = Elements { datatype: DataType::Fp16, raw: &[0, 0] };
        assert!(serde_json::to_string(&elements).is_err());
    }

    #[test]
    fn nested_arrays_are_flattened() {
        assert_eq!(read(DataType::Uint8, &json!([[1, 2], [3, 4]])).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn values_out_of_range_are_errors() {
        assert_eq!(read(DataType::Int8, &json!([128])).unwrap_err(), "128 is not a valid INT8");
        assert_eq!(read(DataType::Uint8, &json!([1.5])).unwrap_err(), "1.5 is not a valid UINT8");
        assert_eq!(read(DataType::Bytes, &json!([1])).unwrap_err(), "1 is not a valid BYTES");
    }
}
