//! Decodes elements of JSON tensors, flat or nested, directly to the binary form.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use skysail_engine::tensor::{DataType, push_bytes_element};
use std::fmt;

/// Reads a JSON array of elements of one datatype and appends them to `data`.
pub(super) struct Elements<'d> {
    pub(super) datatype: DataType,
    pub(super) data: &'d mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.datatype {
            DataType::Bool => f.write_str("true or false for BOOL"),
            DataType::Bytes => f.write_str("a string for BYTES"),
            DataType::Fp16 | DataType::Bf16 => {
                write!(f, "no JSON for {}: send it with the binary data extension", self.datatype)
            }
            datatype => write!(f, "a number that {datatype} holds"),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { datatype, data } = self;
        while seq.next_element_seed(Elements { datatype, data })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.datatype {
            DataType::Bool => {
                self.data.push(u8::from(value));
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        match self.datatype {
            DataType::Fp32 | DataType::Fp64 => self.visit_f64(value as f64),
            _ => self.integer(value.into()),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.datatype {
            DataType::Fp32 | DataType::Fp64 => self.visit_f64(value as f64),
            _ => self.integer(value.into()),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.datatype {
            DataType::Fp32 => {
                let narrow = value as f32;
                if !narrow.is_finite() {
                    return Err(E::custom(format_args!("{value} is too large for FP32")));
                }
                self.data.extend_from_slice(&narrow.to_le_bytes());
                Ok(())
            }
            DataType::Fp64 => {
                self.data.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        match self.datatype {
            DataType::Bytes => {
                push_bytes_element(self.data, value.as_bytes());
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
        }
    }
}

impl Elements<'_> {
    fn integer<E: serde::de::Error>(self, value: i128) -> Result<(), E> {
        fn fit<T: TryFrom<i128>, const N: usize>(
            value: i128,
            data: &mut Vec<u8>,
            bytes: impl Fn(T) -> [u8; N],
        ) -> bool {
            let fitting = T::try_from(value).ok();
            fitting.is_some_and(|value| {
                data.extend_from_slice(&bytes(value));
                true
            })
        }
        let data = &mut *self.data;
        let fits = match self.datatype {
            DataType::Bool => (value == 0 || value == 1) && fit(value, data, u8::to_le_bytes),
            DataType::Uint8 => fit(value, data, u8::to_le_bytes),
            DataType::Uint16 => fit(value, data, u16::to_le_bytes),
            DataType::Uint32 => fit(value, data, u32::to_le_bytes),
            DataType::Uint64 => fit(value, data, u64::to_le_bytes),
            DataType::Int8 => fit(value, data, i8::to_le_bytes),
            DataType::Int16 => fit(value, data, i16::to_le_bytes),
            DataType::Int32 => fit(value, data, i32::to_le_bytes),
            DataType::Int64 => fit(value, data, i64::to_le_bytes),
            DataType::Fp16 | DataType::Fp32 | DataType::Fp64 | DataType::Bf16 | DataType::Bytes => {
                return Err(E::invalid_type(serde::de::Unexpected::Other("a number"), &self));
            }
        };
        if fits {
            return Ok(());
        }
        Err(E::custom(format_args!("{value} does not fit {}", self.datatype)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, datatype: DataType) -> Result<Vec<u8>, String> {
        let mut data = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        Elements { datatype, data: &mut data }
            .deserialize(&mut deserializer)
            .map_err(|error| error.to_string())?;
        Ok(data)
    }

    #[test]
    fn nested_and_flat_arrays_are_equal() {
        let flat = read("[1, -2.5, 3]", DataType::Fp32).unwrap();
        assert_eq!(flat, read("[[1], [-2.5, 3]]", DataType::Fp32).unwrap());
        assert_eq!(flat[4..8], (-2.5_f32).to_le_bytes());
    }

    #[test]
    fn each_datatype_accepts_its_own_values_only() {
        assert_eq!(read("[true, 0]", DataType::Bool).unwrap(), [1, 0]);
        assert_eq!(read("[\"ab\"]", DataType::Bytes).unwrap(), b"\x02\0\0\0ab");
        assert_eq!(read("[-1]", DataType::Int16).unwrap(), [255, 255]);
        let largest = read("[18446744073709551615]", DataType::Uint64).unwrap();
        assert_eq!(largest, [255; 8]);
        for (json, datatype) in [
            ("[300]", DataType::Uint8),
            ("[-1]", DataType::Uint32),
            ("[2]", DataType::Bool),
            ("[1.5]", DataType::Int32),
            ("[1e39]", DataType::Fp32),
            ("[1e999]", DataType::Fp64),
            ("[NaN]", DataType::Fp32),
            ("[\"1\"]", DataType::Fp32),
            ("[1]", DataType::Bytes),
            ("[null]", DataType::Int8),
            ("[1.0]", DataType::Fp16),
        ] {
            assert!(read(json, datatype).is_err(), "{json} as {datatype}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        assert!(read(&"[".repeat(100_000), DataType::Int8).is_err());
    }
}
