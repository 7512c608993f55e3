//! NumPy's files, as far as inputs for calibration need them.

use anyhow::{Context, Result};
use std::path::Path;

/// Writes little-endian elements of a type that NumPy calls `descr`, such as `<f4`.
pub(super) fn write(path: &Path, descr: &str, shape: &[usize], bytes: &[u8]) -> Result<()> {
    let shape: String = shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape})}}");
    // Magic, version and length take ten bytes; the whole is a multiple of 64.
    let header =
        format!("{header:width$}\n", width = (header.len() + 11).next_multiple_of(64) - 11);
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len())?.to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    std::fs::write(path, file).with_context(|| path.display().to_string())
}

/// The bytes of a file's elements.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let too_short = || format!("{} is no .npy file", path.display());
    let header = file.get(8..10).with_context(too_short)?;
    let start = 10 + usize::from(u16::from_le_bytes([header[0], header[1]]));
    Ok(file.get(start..).with_context(too_short)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write(&path, "<f4", &[1, 2], &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 128 + 8);
        assert_eq!(read(&path).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
