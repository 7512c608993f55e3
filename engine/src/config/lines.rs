//! Lines of the fields of a configuration, for mistakes that only the graph shows.

use std::collections::HashMap;
use std::sync::Arc;

/// Lines by the path of the field, such as `input[0].dims`. Settings are the same wherever they
/// stand, so that all of these are equal.
#[derive(Clone, Debug, Default)]
pub struct FieldLines(Arc<HashMap<String, usize>>);

impl FieldLines {
    /// The line of a field, or of the innermost one around it that has a line.
    pub(crate) fn line(&self, field: &str) -> Option<usize> {
        let mut path = field;
        while !path.is_empty() {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
        None
    }
}

impl From<HashMap<String, usize>> for FieldLines {
    fn from(lines: HashMap<String, usize>) -> Self {
        Self(Arc::new(lines))
    }
}

impl PartialEq for FieldLines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FieldLines {}
