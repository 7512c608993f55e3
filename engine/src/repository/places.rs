//! Places of this machine's files, which the reasons that clients read do not show.

use super::sent_files::SentFiles;
use crate::config::EngineConfig;
use std::path::{Path, PathBuf};

/// Files that the system names by a number.
const OPEN_FILES: &str = "/proc/self/fd/";

/// Folders of models and libraries.
pub(super) struct Places(Vec<String>);

impl Places {
    pub(super) fn new(config: &EngineConfig) -> Self {
        let libraries = config.operator_libraries.iter().filter_map(|library| library.parent());
        Self::of(config.models.folders().chain(libraries))
    }

    fn of<'a>(folders: impl Iterator<Item = &'a Path>) -> Self {
        let both = folders.flat_map(|folder| [Some(folder.to_owned()), folder.canonicalize().ok()]);
        let is_some_place = |folder: &PathBuf| folder.file_name().is_some();
        let mut places: Vec<String> = both
            .flatten()
            .filter(is_some_place)
            .map(|folder| format!("{}/", folder.display()))
            .collect();
        // The innermost first, as one may be inside another.
        places.sort_by_key(|place| std::cmp::Reverse(place.len()));
        places.dedup();
        Self(places)
    }

    /// Leaves of each path of a file the part below the folder of models, or of sent files.
    pub(super) fn hide(&self, reason: &str) -> String {
        let mut text = cut(reason, &SentFiles::path_start(), |rest| {
            // The folder's own name ends the part that is cut.
            rest.find('/').map_or(rest.len(), |at| at + 1)
        });
        for place in &self.0 {
            text = cut(&text, place, |_| 0);
        }
        let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
        cut(&text, OPEN_FILES, digits)
    }
}

/// Cuts each `start` that begins a word out, with as much behind it as `more` says.
fn cut(text: &str, start: &str, more: impl Fn(&str) -> usize) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(start) {
        left.push_str(before);
        let is_inside = |c: char| c.is_alphanumeric() || "/._-".contains(c);
        if left.ends_with(is_inside) {
            left.push_str(start);
            rest = after;
        } else {
            rest = after.get(more(after)..).unwrap_or_default();
        }
    }
    left.push_str(rest);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_the_folder_of_models_on() {
        let places =
            Places::of([Path::new("/srv"), Path::new("/srv/models"), Path::new("/")].into_iter());
        for (reason, shown) in [
            ("/srv/models/add/config.pbtxt: line 3", "add/config.pbtxt: line 3"),
            ("can't read \"/srv/models/add/1/w.bin\"", "can't read \"add/1/w.bin\""),
            ("/srv/x failed:/srv/y", "x failed:y"),
            ("its node '/srv2/x', and http://h/srv/models/x", ""),
            ("Load model from /proc/self/fd/12 failed", "Load model from  failed"),
        ] {
            assert_eq!(places.hide(reason), if shown.is_empty() { reason } else { shown });
        }
        let sent = format!("{}Ab3/1/model.onnx is no model", SentFiles::path_start());
        assert_eq!(places.hide(&sent), "1/model.onnx is no model");
    }
}
