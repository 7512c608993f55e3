//! Messages on the wire: prost's encoding, with a limit on the decoded size.
//!
//! A field of two bytes becomes a tensor of hundreds of bytes in memory, and a large message may
//! hold millions of them. So fields are counted before a message is decoded. For an inference
//! request, the fields of its inputs and outputs are counted too.

use crate::grpc::ModelInferRequest;
use bytes::{Buf, BufMut, Bytes};
use prost::{Message, decode_length_delimiter};
use std::any::TypeId;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Most fields of a message, together with those of its counted inner messages.
const FIELDS_MAX: usize = 1 << 14;

/// Most fields in the typed contents of a request's tensors. Each `BYTES` element is a field.
const ELEMENTS_MAX: usize = 1 << 20;

/// A kind of message: the limit for its fields, and its counted inner messages by field number.
struct Kind {
    is_contents: bool,
    inner: &'static [(usize, &'static Kind)],
}

const FLAT: Kind = Kind { is_contents: false, inner: &[] };
const CONTENTS: Kind = Kind { is_contents: true, inner: &[] };
const INPUT: Kind = Kind { is_contents: false, inner: &[(5, &CONTENTS)] };
const REQUEST: Kind = Kind { is_contents: false, inner: &[(5, &INPUT), (6, &FLAT)] };

/// Encodes messages `T` and decodes messages `U`.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountingDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountingDecoder(ProstDecoder::default())
    }
}

/// Decodes messages whose number of fields is within the limits.
#[derive(Debug)]
pub struct CountingDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + 'static> Decoder for CountingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let is_request = TypeId::of::<U>() == TypeId::of::<ModelInferRequest>();
        let kind = if is_request { &REQUEST } else { &FLAT };
        Count::default().add(buffer.chunk(), kind).map_err(Status::invalid_argument)?;
        self.0.decode(buffer)
    }
}

/// Sends messages that are encoded already, and decodes messages `U`, as load tests do.
#[derive(Debug)]
pub struct PreEncoded<U>(PhantomData<U>);

impl<U> Default for PreEncoded<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U: Message + Default + Send + 'static> tonic::codec::Codec for PreEncoded<U> {
    type Encode = Bytes;
    type Decode = U;
    type Encoder = PreEncodedEncoder;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        PreEncodedEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Sends encoded messages as they are.
#[derive(Debug)]
pub struct PreEncodedEncoder;

impl Encoder for PreEncodedEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }
}

/// Counted fields.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    fields: usize,
    elements: usize,
}

impl Count {
    /// Counts fields up to the limits. A truncated message ends the count, and fails to decode.
    fn add(&mut self, mut message: &[u8], kind: &Kind) -> Result<(), String> {
        while let Some(Field { number, value, rest }) = first(message)? {
            let (count, max) = match kind.is_contents {
                true => (&mut self.elements, ELEMENTS_MAX),
                false => (&mut self.fields, FIELDS_MAX),
            };
            *count += 1;
            if *count > max {
                return Err(format!("the message has more than {max} fields"));
            }
            if let Some((_, inner)) = kind.inner.iter().find(|(inner, _)| *inner == number) {
                self.add(value, inner)?;
            }
            message = rest;
        }
        Ok(())
    }
}

/// A field on the wire, and the bytes after it.
struct Field<'a> {
    number: usize,
    /// Value without its length; empty for a varint.
    value: &'a [u8],
    rest: &'a [u8],
}

/// Splits off the first field, if it is complete.
fn first(mut message: &[u8]) -> Result<Option<Field<'_>>, &'static str> {
    let Ok(key) = decode_length_delimiter(&mut message) else { return Ok(None) };
    let length = match key & 7 {
        0 => decode_length_delimiter(&mut message).map(|_| 0),
        1 => Ok(8),
        2 => decode_length_delimiter(&mut message),
        5 => Ok(4),
        _ => return Err("the message has a field of a kind that the protocol does not use"),
    };
    let parts = length.ok().and_then(|length| message.split_at_checked(length));
    Ok(parts.map(|(value, rest)| Field { number: key >> 3, value, rest }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::model_infer_request::InferInputTensor;
    use crate::grpc::{InferTensorContents, ModelReadyRequest};

    fn count(message: &[u8]) -> Result<usize, String> {
        let mut count = Count::default();
        count.add(message, &FLAT).map(|()| count.fields)
    }

    fn count_request(request: &ModelInferRequest) -> Result<Count, String> {
        let mut count = Count::default();
        count.add(&request.encode_to_vec(), &REQUEST).map(|()| count)
    }

    /// A request with one input of these typed contents.
    fn request(contents: InferTensorContents) -> ModelInferRequest {
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        ModelInferRequest { inputs: vec![input], ..Default::default() }
    }

    #[test]
    fn fields_are_counted_as_prost_writes_them() {
        let ready = ModelReadyRequest { name: "m".repeat(300), version: "1".into() };
        assert_eq!(count(&ready.encode_to_vec()), Ok(2));
        assert_eq!(count(b""), Ok(0));
        assert_eq!(
            count(&[0x08, 0x96, 0x01, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]),
            Ok(3)
        );
    }

    #[test]
    fn too_many_fields_are_an_error_before_they_are_decoded() {
        let request = ModelInferRequest {
            inputs: vec![Default::default(); FIELDS_MAX],
            ..Default::default()
        };
        let mut message = request.encode_to_vec();
        assert_eq!(count(&message), Ok(FIELDS_MAX));
        message.extend_from_slice(b"\x2a\x00");
        assert!(count(&message).unwrap_err().contains("16384 fields"));
    }

    #[test]
    fn fields_of_inputs_are_counted_too() {
        let shape = vec![1; 8];
        let mut tensor =
            request(InferTensorContents { int_contents: vec![1; 9], ..Default::default() });
        tensor.inputs[0].shape = shape;
        // The input, its shape and its contents, whose numbers are one packed field.
        assert_eq!(count_request(&tensor), Ok(Count { fields: 3, elements: 1 }));
        let parameters = (0..FIELDS_MAX).map(|name| (name.to_string(), Default::default()));
        let input = InferInputTensor { parameters: parameters.collect(), ..Default::default() };
        let many = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert!(count_request(&many).unwrap_err().contains("16384 fields"));
        // Raw tensors are not parsed.
        let raw = vec![b"\x2a\x00".repeat(FIELDS_MAX + 1).into()];
        let raw = ModelInferRequest { raw_input_contents: raw, ..Default::default() };
        assert_eq!(count_request(&raw), Ok(Count { fields: 1, elements: 0 }));
    }

    #[test]
    fn bytes_elements_have_a_limit_of_their_own() {
        let of = |count| {
            let bytes_contents = vec![Default::default(); count];
            count_request(&request(InferTensorContents { bytes_contents, ..Default::default() }))
        };
        assert_eq!(of(ELEMENTS_MAX), Ok(Count { fields: 2, elements: ELEMENTS_MAX }));
        assert!(of(ELEMENTS_MAX + 1).unwrap_err().contains("1048576 fields"));
    }

    #[test]
    fn truncated_and_invalid_fields_end_the_count() {
        for broken in [&b"\x0a"[..], b"\x0a\x05ab", b"\x0d\x01", b"\xff\xff\xff", b"\x0a\xff\xff"] {
            assert_eq!(count(broken), Ok(0), "{broken:?}");
        }
        for group in [b"\x0b", b"\x0c", b"\x0f"] {
            assert!(count(group).is_err(), "{group:?}");
        }
    }
}
