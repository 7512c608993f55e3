//! The header of a file: its version, and the table of its sections. `FORMAT.md` has the layout.

use super::PackageError;
use crate::codec::cursor::{CodecError, Cursor};
use std::cmp::Ordering;
use std::ops::Range;

/// First bytes of every package. As in PNG, they are not text, and a transfer that changes line
/// ends damages them.
const MAGIC: [u8; 8] = *b"\x89SKY\r\n\x1A\n";
/// Version of the format. A reader rejects another major version, and reads every minor one.
const MAJOR: u8 = 1;
const MINOR: u8 = 0;
/// Bytes before the table of sections.
const FIXED_BYTES: usize = 16;
/// Bytes of a row of that table.
const ROW_BYTES: usize = 24;
/// Limit of sections: known kinds, and room for those of later minor versions.
const SECTIONS_MAX: u8 = 32;
/// First kind that a reader must know: readers reject unknown kinds from here on.
const REQUIRED: u8 = 0x80;

/// Content of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest = 1,
    Graph = 2,
    Index = 3,
    Segments = 4,
    Digest = 5,
    Signature = 6,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Graph => "graph",
            Self::Index => "index",
            Self::Segments => "segments",
            Self::Digest => "digest",
            Self::Signature => "signature",
        }
    }
}

/// Storage of a section's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Plain = 0,
    /// RFC 1951.
    Deflate = 1,
}

/// A row of the table of sections.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    kind: u8,
    pub(crate) storage: Storage,
    /// CRC-32 of the stored bytes.
    pub(crate) checksum: u32,
    /// Byte range in the file.
    pub(crate) range: Range<usize>,
    /// Bytes when decoded.
    pub(crate) decoded: u64,
}

/// The sections of a file, in order. Invariant: they follow each other without gaps, within the
/// file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) minor: u8,
    sections: Vec<Section>,
}

/// A section to write.
pub(crate) struct NewSection {
    pub(crate) kind: Kind,
    pub(crate) storage: Storage,
    pub(crate) checksum: u32,
    pub(crate) bytes: u64,
    pub(crate) decoded: u64,
}

impl Header {
    /// Reads the header of a file, and checks that its sections fill the rest of it.
    pub(crate) fn read(file: &[u8]) -> Result<Self, PackageError> {
        let in_header = PackageError::in_section("header", 0);
        let mut cursor = Cursor::new(file);
        if cursor.array() != Ok(MAGIC) {
            return Err(PackageError::NotAPackage);
        }
        let [major, minor, count, _] = cursor.array().map_err(in_header)?;
        if major != MAJOR {
            return Err(PackageError::Version { major, minor });
        }
        if count > SECTIONS_MAX {
            return Err(in_header(cursor.fail("too many sections")));
        }
        let checksum = cursor.u32().map_err(in_header)?;
        let table = cursor.take(ROW_BYTES * usize::from(count)).map_err(in_header)?;
        let checked = [&file[..FIXED_BYTES - 4], table].concat();
        if !checksum_fits(checksum, &checked) {
            return Err(in_header(cursor.fail("the checksum is not that of its bytes")));
        }
        let sections = read_rows(table, cursor.at());
        let sections = sections.map_err(|error| in_header(error.within(FIXED_BYTES)))?;
        let end = sections.last().map_or(cursor.at(), |section| section.range.end);
        let problem = match end.cmp(&file.len()) {
            Ordering::Equal => return Ok(Self { minor, sections }),
            Ordering::Greater => "the file ends before its sections do: it is cut off",
            Ordering::Less => "the file goes on after its sections",
        };
        let offset = end.min(file.len());
        Err(in_header(CodecError { problem, offset }))
    }

    /// Returns the section of a kind.
    pub(crate) fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind as u8)
    }

    /// Returns the header of a file of these sections.
    pub(crate) fn write(sections: &[NewSection]) -> Vec<u8> {
        let mut table = Vec::new();
        for section in sections {
            table.extend([section.kind as u8, section.storage as u8, 0, 0]);
            table.extend(section.checksum.to_le_bytes());
            table.extend(section.bytes.to_le_bytes());
            table.extend(section.decoded.to_le_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend([MAJOR, MINOR, sections.len() as u8, 0]);
        bytes.extend(checksum_of(&[&bytes, &table]).to_le_bytes());
        bytes.extend(table);
        bytes
    }
}

fn read_rows(table: &[u8], mut start: usize) -> Result<Vec<Section>, CodecError> {
    let mut cursor = Cursor::new(table);
    let mut sections: Vec<Section> = Vec::new();
    while !cursor.rest().is_empty() {
        let [kind, storage, ..] = cursor.array::<4>()?;
        let checksum = cursor.u32()?;
        let (stored, decoded) = (cursor.u64()?, cursor.u64()?);
        let known = (1..=Kind::Signature as u8).contains(&kind);
        if !known && kind >= REQUIRED {
            return Err(cursor.fail("a section that this version does not know, and must"));
        }
        if known && sections.iter().any(|section| section.kind == kind) {
            return Err(cursor.fail("two sections of one kind"));
        }
        let may_deflate = [Kind::Manifest as u8, Kind::Graph as u8].contains(&kind);
        let storage = match storage {
            0 => Storage::Plain,
            1 if may_deflate => Storage::Deflate,
            _ if known => return Err(cursor.fail("a section is stored in an unknown way")),
            // The storage does not matter, since nobody reads the section.
            _ => Storage::Plain,
        };
        let end = usize::try_from(stored).ok().and_then(|stored| start.checked_add(stored));
        let Some(end) = end else { return Err(cursor.fail("a section reaches past the end")) };
        sections.push(Section { kind, storage, checksum, range: start..end, decoded });
        start = end;
    }
    Ok(sections)
}

/// Returns the CRC-32 (ISO 3309, as in zip and PNG) of bytes in pieces.
pub(crate) fn checksum_of(pieces: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    pieces.iter().for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

/// Returns true if a checksum is that of the bytes. It is always true under a fuzzer, which must
/// get past it.
pub(crate) fn checksum_fits(checksum: u32, bytes: &[u8]) -> bool {
    cfg!(fuzzing) || is_unchecked() || checksum == checksum_of(&[bytes])
}

#[cfg(not(test))]
const fn is_unchecked() -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static UNCHECKED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
fn is_unchecked() -> bool {
    UNCHECKED.get()
}

/// Lets this thread ignore checksums, to test the code behind them.
#[cfg(test)]
pub(crate) fn unchecked(unchecked: bool) {
    UNCHECKED.set(unchecked);
}
