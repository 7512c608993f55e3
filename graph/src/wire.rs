//! Checks a model's bytes before they are decoded.
//!
//! The decoder trusts its input too much for a server. It reserves memory for a length before it
//! has seen the bytes. It turns a two-byte message into hundreds of bytes of memory. It takes the
//! last of two graphs where other readers merge them. It follows groups inside groups without a
//! limit (RUSTSEC-2024-0437), and drops them.
//!
//! One pass over the outer structure rules these out without a copy, and names the place of an
//! error, which the decoder cannot.

use crate::GraphError;
use crate::wire_schema::{Child, FIELDS_MAX, Message};

/// Deepest nesting of messages; the decoder has the same limit.
const DEPTH_MAX: usize = 100;
/// Memory of a decoded model for each byte of the file, data aside. The densest real models, of
/// small nodes, need some 20.
const MEMORY_PER_BYTE_MAX: usize = 64;
/// Memory that any model may take, whatever its size.
const MEMORY_BASE: usize = 16 << 20;
/// Memory of a field that is no message: an entry in a list of strings or numbers.
const FIELD_MEMORY: usize = 24;
/// Memory of a field that the schema lacks: an entry in a hash map made for it.
const UNKNOWN_FIELD_MEMORY: usize = 512;

/// Checks that `bytes` have the structure of a model and decode in memory proportional to their
/// number.
///
/// # Errors
/// `Malformed` names the first place that is wrong.
pub(crate) fn check(bytes: &[u8]) -> Result<(), GraphError> {
    let memory_max = bytes.len().saturating_mul(MEMORY_PER_BYTE_MAX).saturating_add(MEMORY_BASE);
    let mut scan = Scan { bytes, at: 0, memory: 0, memory_max, path: Vec::new() };
    scan.message(Message::Model, bytes.len())
}

/// Wire type of a field: the lowest three bits of its tag.
#[derive(Clone, Copy, PartialEq)]
enum WireType {
    Varint,
    Fixed64,
    Delimited,
    Fixed32,
}

/// One step down into the model: a field and an index in its list.
struct Step {
    child: Child,
    index: usize,
}

/// State of the pass. Invariant: `at <= bytes.len()`.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    memory: usize,
    memory_max: usize,
    path: Vec<Step>,
}

impl Scan<'_> {
    /// Passes over a message that ends at `end`.
    fn message(&mut self, message: Message, end: usize) -> Result<(), GraphError> {
        let mut seen = [0_usize; FIELDS_MAX];
        while self.at < end {
            let (field, wire) = self.tag(end)?;
            let child = (wire == WireType::Delimited).then(|| message.child(field)).flatten();
            // All fields that hold messages have numbers within `seen`.
            let (Some(child), Some(index)) = (child, seen.get_mut(field as usize)) else {
                self.charge(if message.has(field) { FIELD_MEMORY } else { UNKNOWN_FIELD_MEMORY })?;
                self.skip(wire, end)?;
                continue;
            };
            let step = Step { child, index: *index };
            *index += 1;
            self.descend(step, end)?;
        }
        Ok(())
    }

    /// Passes over a message inside the present one.
    fn descend(&mut self, step: Step, end: usize) -> Result<(), GraphError> {
        let (child, index) = (step.child, step.index);
        self.path.push(step);
        if self.path.len() > DEPTH_MAX {
            return self.fail("parts lie too deep in one another");
        }
        if child.single && index > 0 {
            return self.fail("given a second time");
        }
        self.charge(child.message.memory())?;
        let length = self.length(end)?;
        self.message(child.message, self.at + length)?;
        self.path.pop();
        Ok(())
    }

    /// Reads a field's number and wire type.
    fn tag(&mut self, end: usize) -> Result<(u32, WireType), GraphError> {
        let tag = self.varint(end)?;
        let Ok(tag) = u32::try_from(tag) else {
            return self.fail("a field's number is too large");
        };
        let wire = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Delimited,
            5 => WireType::Fixed32,
            3 | 4 => return self.fail("groups are not used in ONNX"),
            _ => return self.fail("a field has no valid layout"),
        };
        if tag >> 3 == 0 {
            return self.fail("a field has the number 0");
        }
        Ok((tag >> 3, wire))
    }

    /// Passes over a field's value.
    fn skip(&mut self, wire: WireType, end: usize) -> Result<(), GraphError> {
        let length = match wire {
            WireType::Varint => return self.varint(end).map(|_| ()),
            WireType::Fixed64 => 8,
            WireType::Fixed32 => 4,
            WireType::Delimited => self.length(end)?,
        };
        if length > end - self.at {
            return self.fail("a value is cut off");
        }
        self.at += length;
        Ok(())
    }

    /// Reads a length, and checks that as many bytes are left up to `end`.
    fn length(&mut self, end: usize) -> Result<usize, GraphError> {
        let length = self.varint(end)?;
        match usize::try_from(length) {
            Ok(length) if length <= end - self.at => Ok(length),
            _ => self.fail("a length reaches past the end"),
        }
    }

    /// Reads a number of up to ten bytes, seven bits each.
    fn varint(&mut self, end: usize) -> Result<u64, GraphError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return self.fail("a number is cut off");
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.fail("a number has more than 64 bits")
    }

    /// Counts the memory that decoding will take.
    fn charge(&mut self, memory: usize) -> Result<(), GraphError> {
        self.memory += memory;
        if self.memory > self.memory_max {
            return self.fail("far more small parts than any model needs");
        }
        Ok(())
    }

    fn fail<T>(&self, problem: &'static str) -> Result<T, GraphError> {
        let place = self.path.iter().fold(String::new(), |place, step| {
            let dot = if place.is_empty() { "" } else { "." };
            let name = step.child.name;
            if step.child.single {
                format!("{place}{dot}{name}")
            } else {
                format!("{place}{dot}{name}[{}]", step.index)
            }
        });
        let place = if place.is_empty() { "the model".to_owned() } else { place };
        Err(GraphError::Malformed { problem, place, offset: self.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        check(bytes).unwrap_err().to_string()
    }

    /// A delimited field.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn an_error_names_the_place() {
        let attribute = field(5, &[0x0A, 0x7F]);
        let nodes = [field(1, &[]), field(1, &attribute)].concat();
        let message = error_of(&field(7, &nodes));
        assert!(message.contains("in graph.node[1].attribute[0] at byte 10"), "{message}");
        assert!(message.contains("a length reaches past the end"), "{message}");
        assert!(error_of(&[0x08]).contains("in the model at byte 1"));
    }

    #[test]
    fn broken_numbers_are_rejected() {
        assert!(error_of(&[0x08, 0x80]).contains("cut off"));
        assert!(error_of(&[0x0D, 0, 0, 0]).contains("cut off"));
        assert!(error_of(&[[0x08].as_slice(), &[0xFF; 10]].concat()).contains("64 bits"));
        assert!(error_of(&[0x00, 0x00]).contains("number 0"));
        assert!(error_of(&[0x0E, 0x00]).contains("layout"));
        assert!(error_of(&[0x0B, 0x0C]).contains("groups"));
        assert!(error_of(&[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]).contains("too large"));
        let longest = [[0x08].as_slice(), &[0xFF; 9], &[0x01]].concat();
        assert!(check(&longest).is_ok());
    }

    #[test]
    fn two_graphs_are_rejected() {
        let message = error_of(&[field(7, &[]), field(7, &[])].concat());
        assert!(message.contains("given a second time, in graph"), "{message}");
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| {
            (0..depth).fold(Vec::new(), |inner, level| {
                // Sequences of sequences: TypeProto, Sequence, TypeProto and so on.
                field(if level % 2 == 0 { 1 } else { 4 }, &inner)
            })
        };
        let model = |depth| field(7, &field(11, &field(2, &nested(depth))));
        assert!(check(&model(96)).is_ok());
        assert!(error_of(&model(98)).contains("too deep"));
    }

    #[test]
    fn many_tiny_parts_are_rejected() {
        let flood = |part: &[u8], count: usize| part.repeat(count);
        let attributes = field(7, &field(1, &flood(&field(5, &[]), 400_000)));
        assert!(error_of(&attributes).contains("far more small parts"));
        let unknown = flood(&[0x78, 0], 400_000);
        assert!(error_of(&unknown).contains("far more small parts"));
        assert!(check(&flood(&field(14, &[]), 100_000)).is_ok());
    }
}
