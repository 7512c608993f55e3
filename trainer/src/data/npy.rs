//! Arrays of NumPy's (`.npy`): a magic number, a Python dictionary as text, and the elements
//! (NumPy Enhancement Proposal 1).

use super::dataset::Inputs;
use crate::batch::Targets;

const MAGIC: &[u8] = b"\x93NUMPY";
/// The most bytes of the dictionary; NumPy's own are of 118.
const HEADER_BYTES_MAX: usize = 1 << 16;

/// An array, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Inputs,
}

/// The array in these bytes: of booleans or finite numbers, rows first.
pub(super) fn array(bytes: &[u8]) -> Result<Array, String> {
    let (header, elements) = split(bytes).ok_or("it is no .npy file, or cut off")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is no text")?;
    let odd = || {
        let start: String = header.chars().take(200).collect();
        format!("its header is not one of an array: {start}")
    };
    let value = |key| value(header, key).ok_or_else(odd);
    let shape = shape(value("shape")?).ok_or_else(odd)?;
    if value("fortran_order")?.starts_with("True") && shape.len() > 1 {
        return Err("it has columns first: save numpy.ascontiguousarray(it)".to_owned());
    }
    let descr = quoted(value("descr")?).ok_or_else(odd)?;
    let (size, convert) = element(descr).ok_or_else(|| {
        format!("its elements are {descr}: only booleans and numbers of up to 8 bytes are read")
    })?;
    let count = shape.iter().try_fold(size, |count, dim| count.checked_mul(*dim));
    if count != Some(elements.len()) {
        let problem = format!("its shape is {shape:?} of {descr}, and {} bytes", elements.len());
        return Err(format!("{problem} follow: it is cut off, or too long"));
    }
    let values = convert(elements, descr.starts_with('>'));
    check_finite(&shape, &values)?;
    Ok(Array { shape, values })
}

/// Refuses what is no number, with its row.
fn check_finite(shape: &[usize], values: &Inputs) -> Result<(), String> {
    let Inputs::Float32(values) = values else { return Ok(()) };
    let Some(place) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let size = shape.iter().skip(1).product::<usize>().max(1);
    Err(format!("row {}: {} is no number that can be learned from", place / size, values[place]))
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

/// The text from where the value of a key begins.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    Some(text.strip_prefix('\'')?.split_once('\'')?.0)
}

/// `(2, 3)`, `(2,)` or `()`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let (sizes, _) = text.strip_prefix('(')?.split_once(')')?;
    let sizes = sizes.trim().trim_end_matches(',');
    if sizes.is_empty() {
        return Some(Vec::new());
    }
    sizes.split(',').map(|size| size.trim().parse().ok()).collect()
}

type Convert = fn(&[u8], bool) -> Inputs;

/// Bytes of an element, and how they are read.
fn element(descr: &str) -> Option<(usize, Convert)> {
    /// Elements of `N` bytes, which `read` takes little-endian.
    fn each<const N: usize, T>(bytes: &[u8], swap: bool, read: fn([u8; N]) -> T) -> Vec<T> {
        let (elements, _) = bytes.as_chunks::<N>();
        let element = elements.iter().map(|element| {
            let mut element = *element;
            if swap {
                element.reverse();
            }
            read(element)
        });
        element.collect()
    }
    macro_rules! reads {
        ($kind:ident, $own:ty, $to:ty) => {
            (size_of::<$own>(), |bytes, swap| {
                Inputs::$kind(each(bytes, swap, |element| <$own>::from_le_bytes(element) as $to))
            })
        };
    }
    let reads: (usize, Convert) = match descr.get(1..)? {
        "u1" | "b1" => (1, |bytes, _| Inputs::Bytes(bytes.to_vec())),
        "i1" => reads!(Int64, i8, i64),
        "i2" => reads!(Int64, i16, i64),
        "i4" => reads!(Int64, i32, i64),
        "i8" => reads!(Int64, i64, i64),
        "u2" => reads!(Int64, u16, i64),
        "u4" => reads!(Int64, u32, i64),
        "f4" => reads!(Float32, f32, f32),
        "f8" => reads!(Float32, f64, f32),
        _ => return None,
    };
    descr.starts_with(['<', '>', '|', '=']).then_some(reads)
}

/// Labels where the array is of integers, and numbers where it is not.
pub(super) fn targets(array: Array) -> Result<Targets, String> {
    let label = |label: i64| {
        u32::try_from(label)
            .map_err(|_| format!("{label} is no label: labels are 0, 1, 2 and so on"))
    };
    match array.values {
        Inputs::Float32(numbers) => Ok(Targets::Numbers(numbers)),
        Inputs::Bytes(labels) => Ok(Targets::Classes(labels.into_iter().map(u32::from).collect())),
        Inputs::Int64(labels) => {
            let place = |(row, found): (usize, i64)| {
                label(found).map_err(|problem| format!("row {row}: {problem}"))
            };
            Ok(Targets::Classes(
                labels.into_iter().enumerate().map(place).collect::<Result<_, _>>()?,
            ))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file as NumPy writes it.
    pub(in crate::data) fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    #[test]
    fn numbers_of_every_kind_are_read() {
        let read = |descr, elements: &[u8]| {
            let shape = format!("({},)", elements.len() / usize::from(descr_size(descr)));
            array(&npy(descr, &shape, elements)).unwrap().values
        };
        assert_eq!(read("<f4", &1.5_f32.to_le_bytes()), Inputs::Float32(vec![1.5]));
        assert_eq!(read(">f4", &1.5_f32.to_be_bytes()), Inputs::Float32(vec![1.5]));
        assert_eq!(read("<f8", &2.5_f64.to_le_bytes()), Inputs::Float32(vec![2.5]));
        assert_eq!(read("|u1", &[1, 2]), Inputs::Bytes(vec![1, 2]));
        assert_eq!(read("|i1", &[255]), Inputs::Int64(vec![-1]));
        assert_eq!(read("<i8", &(-7_i64).to_le_bytes()), Inputs::Int64(vec![-7]));
        assert_eq!(read(">u2", &[1, 0]), Inputs::Int64(vec![256]));
        assert_eq!(array(&npy("<f4", "(2, 0, 3)", &[])).unwrap().shape, [2, 0, 3]);
        assert_eq!(array(&npy("<f4", "()", &[0; 4])).unwrap().shape, [0_usize; 0]);
    }

    fn descr_size(descr: &str) -> u8 {
        descr.as_bytes()[2] - b'0'
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let said = |bytes: &[u8]| array(bytes).unwrap_err();
        assert!(said(b"PK").contains("no .npy file"));
        assert!(said(&npy("|O", "(2,)", &[])).contains("its elements are |O"));
        assert!(said(&npy("<f4", "(3,)", &[0; 8])).contains("8 bytes follow"));
        assert!(said(&npy("<f4", "(18446744073709551615, 2)", &[])).contains("cut off"));
        assert!(said(&npy("<f4", "(-1,)", &[])).contains("its header"));
        assert!(said(&npy("é", "(1,)", &[0; 8])).contains("its elements are é"));
        let odd = npy("<f4", "(1, 2)", &[0; 8]);
        let odd = String::from_utf8_lossy(&odd).replace("False", "True ");
        assert!(array(odd.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_number_is_told_with_its_row() {
        let said = |descr, shape, elements: &[u8]| array(&npy(descr, shape, elements)).unwrap_err();
        let rows = [0.0, 1.0, 2.0, f32::NAN].map(f32::to_le_bytes).concat();
        assert_eq!(
            said("<f4", "(2, 2)", &rows),
            "row 1: NaN is no number that can be learned from"
        );
        let large = [1.0, 1e300].map(f64::to_le_bytes).concat();
        assert!(said("<f8", "(2,)", &large).starts_with("row 1: inf is no number"));
    }

    #[test]
    fn labels_are_integers_of_any_size() {
        let of = |descr, elements: &[u8]| targets(array(&npy(descr, "(1,)", elements)).unwrap());
        assert_eq!(of("<i8", &9_i64.to_le_bytes()), Ok(Targets::Classes(vec![9])));
        assert!(of("<i8", &(-9_i64).to_le_bytes()).unwrap_err().contains("row 0: -9"));
        assert_eq!(of("<f4", &0.5_f32.to_le_bytes()), Ok(Targets::Numbers(vec![0.5])));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            shape in "[0-9(), ]{0,24}",
            descr in "[<>|][fiubO][1248]",
            elements in proptest::collection::vec(any::<u8>(), 0..32),
            cut in 0_usize..120,
        ) {
            let bytes = npy(&descr, &shape, &elements);
            let _ = array(&bytes);
            let _ = array(&bytes[..cut.min(bytes.len())]);
        }
    }
}
