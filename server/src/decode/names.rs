//! Names in one object of JSON, each of which may stand there once.

use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashSet;

/// Names that are searched one by one. More of them are hashed.
const FEW: usize = 8;

/// Most names of an object. Each takes more memory than JSON.
const NAMES_MAX: usize = 1 << 14;

/// Names that an object has had.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    few: SmallVec<[Cow<'a, str>; FEW]>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// Takes note of a name.
    ///
    /// # Errors
    /// When the object has had it, or too many.
    #[expect(clippy::ptr_arg, reason = "a borrowed name is kept without a copy")]
    pub(super) fn once(&mut self, name: &Cow<'a, str>) -> Result<(), String> {
        if self.few.contains(name) || self.many.contains(name) {
            let name: String = name.chars().take(100).collect();
            return Err(format!("'{}' stands there twice", name.escape_debug()));
        }
        if self.few.len() + self.many.len() == NAMES_MAX {
            return Err(format!("'{}' is one of more than {NAMES_MAX}", name.escape_debug()));
        }
        match self.few.len() {
            FEW => drop(self.many.insert(name.clone())),
            _ => self.few.push(name.clone()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_however_many_there_are() {
        let mut names = Names::default();
        for at in 0..NAMES_MAX {
            let name = Cow::from(format!("n{at}"));
            assert_eq!(names.once(&name), Ok(()));
            assert_eq!(names.once(&name), Err(format!("'n{at}' stands there twice")));
            assert!(names.once(&Cow::from("n0")).is_err());
        }
        assert!(names.once(&Cow::from("new")).unwrap_err().contains("more than 16384"));
    }
}
