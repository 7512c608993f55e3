//! Labels of the classes of an output, from a file with one label a line.

use crate::regular_file;
use crate::signature::Signature;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of the largest file of labels.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Most labels of an output.
const LABELS_MAX: usize = 1 << 20;

/// Bytes of the longest label.
const LABEL_BYTES_MAX: usize = 1024;

/// Labels by the number of their class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Box<str>>);

impl Labels {
    /// The label of a class, if it has one.
    pub fn get(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(|label| &**label).filter(|label| !label.is_empty())
    }

    /// Reads a file in the folder of a model.
    fn read(folder: &Path, file: &str) -> Result<Self, String> {
        let bad = |why: &dyn std::fmt::Display| format!("the file of labels '{file}' {why}");
        let bytes = regular_file::read(&folder.join(file), FILE_BYTES_MAX);
        let bytes = bytes.map_err(|why| bad(&why))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| bad(&"is not UTF-8"))?;
        Self::parse(text).map_err(|why| bad(&why))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut labels = Vec::new();
        for (index, label) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if index == LABELS_MAX {
                return Err(format!("has more than {LABELS_MAX} lines"));
            }
            if label.len() > LABEL_BYTES_MAX {
                let line = index + 1;
                return Err(format!("has more than {LABEL_BYTES_MAX} bytes in line {line}"));
            }
            labels.push(label.into());
        }
        Ok(Self(labels))
    }
}

/// Reads the labels of all outputs that have some, by the index of the output.
///
/// # Errors
/// Names the file that can not be read, or the output that the graph does not have.
pub(crate) fn read_all(
    folder: &Path,
    files: &BTreeMap<String, String>,
    signature: &Signature,
) -> Result<BTreeMap<usize, Labels>, String> {
    let read = |(output, file): (&String, &String)| {
        let missing = || format!("labels are for the output '{output}', and the graph has none");
        let index = signature.output_index(output).ok_or_else(missing)?;
        Ok((index, Labels::read(folder, file)?))
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_line_and_may_be_missing() {
        let labels = Labels::parse("\u{feff}cat\r\n\ndog: big\n").unwrap();
        assert_eq!(labels.get(0), Some("cat"));
        assert_eq!((labels.get(1), labels.get(3)), (None, None));
        assert_eq!(labels.get(2), Some("dog: big"));
        assert_eq!(Labels::parse("").unwrap(), Labels::default());
    }

    #[test]
    fn files_have_limits_and_errors_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(folder.path().join("l.txt"), bytes).unwrap();
            Labels::read(folder.path(), "l.txt")
        };
        assert_eq!(read("é\n".as_bytes()).unwrap().get(0), Some("é"));
        let long = [&b"a\n"[..], &[b'b'; LABEL_BYTES_MAX + 1]].concat();
        for (bytes, words) in [
            (&b"\xff"[..], "'l.txt' is not UTF-8"),
            (&long, "more than 1024 bytes in line 2"),
            (&b"\n".repeat(LABELS_MAX + 1), "more than 1048576 lines"),
            (&b"\n".repeat(FILE_BYTES_MAX as usize + 1), "larger than 16777216 bytes"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let error = Labels::read(folder.path(), "none").unwrap_err();
        assert!(error.contains("'none' is not there"), "{error}");
        let error = Labels::read(folder.path(), "").unwrap_err();
        assert!(error.contains("is not a regular file"), "{error}");
    }

    #[test]
    fn labels_are_for_outputs_of_the_graph() {
        let files = [("y".to_owned(), "l.txt".to_owned())].into();
        let error = read_all(Path::new("."), &files, &Signature::default()).unwrap_err();
        assert!(error.contains("'y'"), "{error}");
    }
}
