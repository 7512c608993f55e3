//! Arrays of NumPy's (`.npy`): a magic number, a Python dictionary as text, and the elements.

use anyhow::{Context, Result, ensure};
use skysail_graph::{ElementType, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The most bytes of the dictionary; NumPy's own are of 118.
const HEADER_BYTES_MAX: usize = 1 << 16;

/// The array in these bytes: of booleans or numbers, little-endian, rows first.
pub(super) fn array(bytes: &[u8]) -> Result<Tensor> {
    let (header, elements) = split(bytes).context("it is no .npy file, or cut off")?;
    let header = std::str::from_utf8(header).context("its header is no text")?;
    let odd = || format!("its header is not one that this program reads: {header}");
    let dictionary = Dictionary(header);
    let order = dictionary.value("fortran_order").with_context(odd)?;
    ensure!(order.starts_with("False"), "it has columns first: save numpy.ascontiguousarray(it)");
    let name = dictionary.value("descr").and_then(quoted).with_context(odd)?;
    let element = element(name).with_context(|| {
        format!("its elements are {name}: only booleans and little-endian numbers are read")
    })?;
    let shape = dictionary.value("shape").and_then(shape).with_context(odd)?;
    Tensor::from_bytes(element, &shape, elements.to_vec()).context("it is cut off, or too long")
}

/// The header's text, and the elements' bytes.
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

/// A dictionary of three entries, none of which holds another's name.
struct Dictionary<'a>(&'a str);

impl<'a> Dictionary<'a> {
    /// The text from where the value of `key` begins.
    fn value(&self, key: &str) -> Option<&'a str> {
        let (_, rest) = self.0.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    }
}

fn quoted(text: &str) -> Option<&str> {
    Some(text.strip_prefix('\'')?.split_once('\'')?.0)
}

/// `(2, 3)`, `(2,)` or `()`.
fn shape(text: &str) -> Option<Vec<u64>> {
    let (sizes, _) = text.strip_prefix('(')?.split_once(')')?;
    let sizes = sizes.trim().trim_end_matches(',');
    if sizes.is_empty() {
        return Some(Vec::new());
    }
    sizes.split(',').map(|size| size.trim().parse().ok()).collect()
}

fn element(name: &str) -> Option<ElementType> {
    Some(match name {
        "|b1" => ElementType::Bool,
        "|i1" => ElementType::Int8,
        "|u1" => ElementType::UInt8,
        "<i2" => ElementType::Int16,
        "<u2" => ElementType::UInt16,
        "<f2" => ElementType::Float16,
        "<i4" => ElementType::Int32,
        "<u4" => ElementType::UInt32,
        "<f4" => ElementType::Float32,
        "<i8" => ElementType::Int64,
        "<u8" => ElementType::UInt64,
        "<f8" => ElementType::Float64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy writes it.
    fn file(header: &str, elements: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    const HEADER: &str = "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 2), }\n";

    #[test]
    fn arrays_are_read() {
        let found = array(&file(HEADER, &[1, 0, 2, 0])).unwrap();
        assert_eq!(found, Tensor::new(&[1, 2], &[1_i16, 2]).unwrap());
        let scalar = HEADER.replace("(1, 2)", "()");
        assert!(array(&file(&scalar, &[7, 0])).unwrap().shape().is_empty());
        let longer = array(&file(&HEADER.replace("(1, 2)", "(2,)"), &[0; 4]));
        assert_eq!(longer.unwrap().shape(), [2]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |header: &str, elements: &[u8]| {
            format!("{:#}", array(&file(header, elements)).unwrap_err())
        };
        assert!(said(HEADER, &[0; 3]).contains("cut off, or too long"));
        assert!(said(&HEADER.replace("False", "True"), &[0; 4]).contains("ascontiguousarray"));
        assert!(said(&HEADER.replace("<i2", ">i2"), &[0; 4]).contains("elements are >i2"));
        assert!(said(&HEADER.replace("(1, 2)", "(1, -2)"), &[0; 4]).contains("header"));
        assert!(said("{}", &[]).contains("header"));
    }

    #[test]
    fn no_bytes_can_do_harm() {
        let whole = file(&HEADER.replace("(1, 2)", "(18446744073709551615, 4)"), &[0; 4]);
        assert!(array(&whole).is_err());
        let whole = file(HEADER, &[1, 0, 2, 0]);
        for place in 0..whole.len() {
            let _ = array(&whole[..place]).unwrap_err();
            for value in [0, b'\'', b'(', 255] {
                let mut changed = whole.clone();
                changed[place] = value;
                // Read or refused.
                let _ = array(&changed);
            }
        }
        let long = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes(), b"{}"].concat();
        assert!(array(&long).is_err());
    }
}
