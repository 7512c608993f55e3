//! The index: the location and the codec of each tensor's segment. Names, shapes and element types
//! are those of the graph's initializers.

use super::PackageError;
use super::header::{checksum_fits, checksum_of};
use crate::codec::cursor::{CodecError, Cursor, put_varint};
use crate::codec::words::Form;
use crate::codec::{Codec, Coded, Plan};
use skysail_graph::{ElementType, Graph, TensorView};
use std::ops::Range;

/// A tensor of a package: an initializer of its graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TensorEntry {
    /// Name of the tensor.
    pub name: String,
    /// Type of the elements.
    pub element: ElementType,
    /// Dimensions of the tensor.
    pub shape: Vec<u64>,
    /// Codec of the values. `None` for a tensor that is too small for a segment, or of strings: it
    /// stays in the graph.
    pub codec: Option<Codec>,
    /// Bytes of the decoded values.
    pub dense_bytes: u64,
    /// Bytes of the segment, and of the row of the index.
    pub bytes: u64,
    /// Number of words that are not zero; all for a tensor in the graph. A word is an element, but
    /// for complex numbers (two) and types of less than a byte (a byte).
    pub kept: u64,
    /// Number of all words.
    pub count: u64,
    /// Number of values in the codebook, if there is one.
    pub distinct: Option<u64>,
    /// Bits of the codes.
    pub codes: Option<Bits>,
    /// Bits of the gaps between values, if zeros are not stored.
    pub gaps: Option<Bits>,
}

/// Mean bits for each value that is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bits {
    /// Bits at a fixed length.
    pub before: f64,
    /// Bits after entropy coding, its tables included.
    pub after: f64,
}

impl TensorEntry {
    /// Returns the share of values that are kept, from 0 to 1; 1 for a tensor without values.
    pub fn density(&self) -> f64 {
        if self.count == 0 { 1.0 } else { self.kept as f64 / self.count as f64 }
    }

    /// Creates the entry of an initializer whose values are in the graph.
    fn in_graph(view: TensorView<'_>, shape: Vec<u64>) -> Self {
        let count = view.count().unwrap_or(0);
        let bytes = match view.strings() {
            Ok(strings) => strings.iter().map(|string| string.len() as u64).sum(),
            Err(_) => view.element().bytes(count).unwrap_or(0),
        };
        Self {
            name: view.name().to_owned(),
            element: view.element(),
            shape,
            codec: None,
            dense_bytes: bytes,
            bytes,
            kept: count,
            count,
            distinct: None,
            codes: None,
            gaps: None,
        }
    }

    fn in_segment(view: TensorView<'_>, shape: Vec<u64>, plan: &Plan, bytes: u64) -> Self {
        let (form, figures) = (plan.form, plan.figures);
        let per_value = |bytes: usize| 8.0 * bytes as f64 / figures.kept as f64;
        let code_bits =
            |distinct: usize| f64::from(usize::BITS - distinct.saturating_sub(1).leading_zeros());
        let codes = |part, before| Some(Bits { before, after: per_value(plan.part_bytes(part)) });
        let gaps = |part, width: f64| {
            let symbols = figures.gaps as f64 / figures.kept as f64;
            Some(Bits { before: width * symbols, after: per_value(plan.part_bytes(part)) })
        };
        let distinct = Some(figures.distinct as u64);
        let (distinct, codes, gaps) = match plan.codec {
            Codec::Raw | Codec::Planes => (None, None, None),
            Codec::Codes => (distinct, codes(1, code_bits(figures.distinct)), None),
            Codec::Huffman => {
                let codes = codes(2, code_bits(figures.distinct + 1));
                (distinct, codes, gaps(1, f64::from(figures.gap_bits)))
            }
            Codec::Sparse => (distinct, codes(2, code_bits(figures.distinct)), gaps(1, 8.0)),
            Codec::Pruned => (None, None, gaps(0, 8.0)),
        };
        // A tensor of zeros alone has no values to count bits for.
        let any = |bits: Option<Bits>| bits.filter(|_| figures.kept > 0);
        let (codes, gaps) = (any(codes), any(gaps));
        Self {
            name: view.name().to_owned(),
            element: view.element(),
            shape,
            codec: Some(plan.codec),
            dense_bytes: form.bytes() as u64,
            bytes,
            kept: figures.kept as u64,
            count: form.count as u64,
            distinct,
            codes,
            gaps,
        }
    }
}

/// A tensor's segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Number of the tensor in the package.
    pub(crate) tensor: usize,
    pub(crate) plan: Plan,
    /// Byte range in the file.
    pub(crate) range: Range<usize>,
    checksum: u32,
}

impl Segment {
    /// Returns the bytes of the segment, after checking them.
    pub(crate) fn bytes<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], CodecError> {
        let bytes = file.get(self.range.clone());
        let bytes = bytes.ok_or(CodecError::new("the segment lies outside the file"))?;
        if !checksum_fits(self.checksum, bytes) {
            return Err(CodecError::new("the checksum is not that of its bytes"));
        }
        Ok(bytes)
    }
}

/// The content of the index.
#[derive(Debug)]
pub(crate) struct Index {
    /// Entries, one for each initializer of the graph, in its order.
    pub(crate) tensors: Vec<TensorEntry>,
    /// Segments in the order of the tensors.
    pub(crate) segments: Vec<Segment>,
}

impl Index {
    /// Reads the index of a package of this graph, whose segments lie at `segments` in the file.
    /// `start` is the offset of the index.
    pub(crate) fn read(
        index: &[u8],
        start: usize,
        graph: Graph<'_>,
        segments: Range<usize>,
    ) -> Result<Self, PackageError> {
        let in_index = PackageError::in_section("index", start);
        let mut read = Self { tensors: Vec::new(), segments: Vec::new() };
        let rows = rows(index, segments.clone()).map_err(in_index)?;
        let mut rows = rows.into_iter().peekable();
        for (number, view) in graph.initializers().enumerate() {
            let shape = view.shape()?;
            let Some(row) = rows.next_if(|row| row.tensor == number as u64) else {
                read.tensors.push(TensorEntry::in_graph(view, shape));
                continue;
            };
            let plan = row.plan(view).map_err(|error| PackageError::BadTensor {
                tensor: view.name().to_owned(),
                problem: error.problem,
                offset: (start as u64).saturating_add(error.offset as u64),
            })?;
            let bytes = (row.bytes + row.range.len()) as u64;
            read.tensors.push(TensorEntry::in_segment(view, shape, &plan, bytes));
            let Row { range, checksum, .. } = row;
            read.segments.push(Segment { tensor: number, plan, range, checksum });
        }
        match rows.next() {
            None => Ok(read),
            Some(row) => {
                let problem = "a row is of a tensor that the graph does not have";
                Err(in_index(CodecError { problem, offset: row.start }))
            }
        }
    }

    /// Returns the bytes that all segments decode to.
    pub(crate) fn dense_bytes(&self) -> u64 {
        let bytes = self.segments.iter().map(|segment| segment.plan.form.bytes() as u64);
        bytes.fold(0, u64::saturating_add)
    }
}

/// Appends the row of an encoded tensor. `skipped` initializers before it have none.
pub(crate) fn put_row(index: &mut Vec<u8>, skipped: usize, coded: &Coded) {
    let mut row = Vec::new();
    put_varint(&mut row, skipped as u64);
    put_varint(&mut row, coded.bytes() as u64);
    let pieces: Vec<&[u8]> = coded.parts.iter().map(Vec::as_slice).collect();
    row.extend(checksum_of(&pieces).to_le_bytes());
    coded.describe(&mut row);
    put_varint(index, row.len() as u64);
    index.extend(row);
}

/// Returns the form of an initializer's values, by its shape.
pub(crate) fn form_of(view: TensorView<'_>) -> Option<Form> {
    let bytes = view.element().bytes(view.count().ok()?)?;
    Form::of(view.element(), usize::try_from(bytes).ok()?)
}

/// A row of the index, without the fields that depend on the codec.
struct Row<'a> {
    /// Number of the initializer in the graph.
    tensor: u64,
    /// Byte range of the segment in the file.
    range: Range<usize>,
    checksum: u32,
    /// Remaining bytes, for the codec.
    rest: &'a [u8],
    /// Offset of the remaining bytes in the index.
    start: usize,
    /// Bytes of the whole row.
    bytes: usize,
}

impl Row<'_> {
    fn plan(&self, view: TensorView<'_>) -> Result<Plan, CodecError> {
        let form = form_of(view).ok_or(CodecError::new("a tensor of no fixed size has a segment"));
        // Unread bytes are reserved for later versions.
        let plan =
            form.and_then(|form| Plan::read(&mut Cursor::new(self.rest), form, self.range.len()));
        plan.map_err(|error| error.within(self.start))
    }
}

/// Reads the rows, whose segments fill `segments`.
fn rows(index: &[u8], segments: Range<usize>) -> Result<Vec<Row<'_>>, CodecError> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut cursor = Cursor::new(index);
    let (mut next, mut at) = (0_u64, segments.start);
    while !cursor.rest().is_empty() {
        let begin = cursor.at();
        let length = cursor.length()?;
        let content = cursor.at();
        let mut row = Cursor::new(cursor.take(length)?);
        let read = |row: &mut Cursor<'_>| Ok((row.varint()?, row.length()?, row.u32()?));
        let (skipped, bytes, checksum) =
            read(&mut row).map_err(|error: CodecError| error.within(content))?;
        let tensor = next.saturating_add(skipped);
        let end = at.checked_add(bytes).filter(|end| *end <= segments.end);
        let end = end.ok_or(cursor.fail("a segment reaches past the last"))?;
        rows.push(Row {
            tensor,
            range: at..end,
            checksum,
            rest: row.rest(),
            start: content + row.at(),
            bytes: cursor.at() - begin,
        });
        (next, at) = (tensor.saturating_add(1), end);
    }
    if at != segments.end {
        return Err(cursor.fail("the segments are longer than the rows say"));
    }
    Ok(rows)
}
