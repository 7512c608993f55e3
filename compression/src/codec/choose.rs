//! Chooses the codec of a tensor: the smallest of those that apply. Of two about as small, as
//! `Codes` and `Sparse` often are, it is the one with less to decode.

use super::codebook::Coding;
use super::sparse::SparseCodes;
use super::words::Form;
use super::{Codec, Coded, Figures, codes, huffman_sparse, planes, pruned, sparse};

/// Zeros are dropped only if at least one word in this many is zero.
const ZEROS_WORTH: usize = 64;
/// Number of symbols whose decoding costs as much as a byte: a symbol counts as a 50th of a bit.
const SYMBOLS_WORTH_A_BYTE: usize = 400;

/// Statistics of a tensor's words.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// Number of words that are not zero.
    pub(crate) kept: usize,
    /// Distinct words, and each word as an index into them; none for too many.
    pub(crate) coding: Option<Coding>,
}

impl Analysis {
    pub(crate) fn of(form: Form, bytes: &[u8]) -> Self {
        let kept = form.words(bytes).filter(|word| *word != 0).count();
        Self { kept, coding: Coding::of(form, form.words(bytes)) }
    }
}

/// Encodes a tensor's bytes with the smallest of the codecs in `allowed`, or `Raw`.
pub(crate) fn encode(form: Form, bytes: &[u8], found: &Analysis, allowed: &[Codec]) -> Coded {
    let zeros = form.count - found.kept;
    let sparse = zeros * ZEROS_WORTH >= form.count && form.count as u64 <= 1 << 32;
    let may = |codec: Codec| allowed.contains(&codec);
    let mut made = vec![raw(bytes, found.kept)];
    if may(Codec::Planes) {
        made.push(planes::encode(form, bytes, found.kept));
    }
    if let Some(coding) = &found.coding {
        if may(Codec::Codes) {
            made.push(codes::encode(form, coding, found.kept));
        }
        if sparse && (may(Codec::Sparse) || may(Codec::Huffman)) {
            let tensor = SparseCodes::of(coding);
            made.extend(may(Codec::Sparse).then(|| sparse::encode(form, &tensor)));
            let huffman = may(Codec::Huffman).then(|| huffman_sparse::encode(form, &tensor));
            made.extend(huffman.flatten());
        }
    }
    if sparse && may(Codec::Pruned) {
        made.push(pruned::encode(form, bytes));
    }
    let smallest = made.into_iter().min_by_key(|coded| cost(form, coded));
    smallest.unwrap_or_else(|| raw(bytes, found.kept))
}

/// Returns the bytes in the file plus the cost of decoding.
fn cost(form: Form, coded: &Coded) -> usize {
    let mut row = Vec::new();
    coded.describe(&mut row);
    let symbols = match coded.codec {
        Codec::Codes => form.count,
        Codec::Huffman => 2 * coded.figures.gaps,
        Codec::Sparse => coded.figures.kept + coded.figures.gaps,
        Codec::Raw | Codec::Planes | Codec::Pruned => 0,
    };
    coded.bytes() + row.len() + symbols / SYMBOLS_WORTH_A_BYTE
}

fn raw(bytes: &[u8], kept: usize) -> Coded {
    let figures = Figures { kept, ..Figures::default() };
    Coded { codec: Codec::Raw, figures, parts: vec![bytes.to_vec()] }
}
