//! Messages on the wire: prost's encoding, with a limit on what a message may unfold to.
//!
//! A field of two bytes becomes a tensor of hundreds of bytes in memory, and a message of the
//! size that tensors need holds millions of them. So fields are counted before any is decoded.

use std::marker::PhantomData;

use bytes::Buf;
use prost::{Message, decode_length_delimiter};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Fields of one message, those inside of its own messages not counted.
const FIELDS_MAX: usize = 1 << 14;

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

/// Decodes messages that have not too many fields.
#[derive(Debug)]
pub struct CountingDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for CountingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        count(buffer.chunk()).map_err(Status::invalid_argument)?;
        self.0.decode(buffer)
    }
}

/// Counts fields up to the limit. Where a message breaks off, decoding it will say so.
fn count(mut message: &[u8]) -> Result<usize, String> {
    let mut fields = 0;
    while let Some(rest) = skip(message)? {
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(format!("the message has more than {FIELDS_MAX} fields"));
        }
        message = rest;
    }
    Ok(fields)
}

/// What follows the first field, if that is whole.
fn skip(mut message: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let Ok(key) = decode_length_delimiter(&mut message) else { return Ok(None) };
    let length = match key & 7 {
        0 => decode_length_delimiter(&mut message).map(|_| 0),
        1 => Ok(8),
        2 => decode_length_delimiter(&mut message),
        5 => Ok(4),
        _ => return Err("the message has a field of a kind that the protocol does not use"),
    };
    let rest = length.ok().and_then(|length| message.get(length..));
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{ModelInferRequest, ModelReadyRequest};

    #[test]
    fn counts_the_fields_of_a_message_as_prost_writes_it() {
        let ready = ModelReadyRequest { name: "m".repeat(300), version: "1".into() };
        assert_eq!(count(&ready.encode_to_vec()), Ok(2));
        assert_eq!(count(b""), Ok(0));
        assert_eq!(
            count(&[0x08, 0x96, 0x01, 0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]),
            Ok(3)
        );
    }

    #[test]
    fn too_many_fields_are_refused_before_they_are_decoded() {
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
    fn what_breaks_off_or_is_no_field_ends_the_count() {
        for broken in [&b"\x0a"[..], b"\x0a\x05ab", b"\x0d\x01", b"\xff\xff\xff", b"\x0a\xff\xff"] {
            assert_eq!(count(broken), Ok(0), "{broken:?}");
        }
        for group in [b"\x0b", b"\x0c", b"\x0f"] {
            assert!(count(group).is_err(), "{group:?}");
        }
    }
}
