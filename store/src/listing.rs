//! Objects of a place, by the models that they belong to.

use crate::place::Place;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use std::collections::{BTreeMap, BTreeSet};

/// Objects that are listed, at most.
const OBJECTS_MAX: usize = 100_000;

/// Files of one model, at most.
const FILES_MAX: usize = 4096;

/// Parts of a file's path below its model's folder, at most.
const DEPTH_MAX: usize = 16;

/// An object that is a file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Key in the store.
    pub(crate) key: Path,
    /// Path below the model's folder. Each part is a plain name, as no key has others.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    /// Text that differs for each state of the object.
    pub(crate) state: String,
}

/// Objects of each model by its name, or the reason why the model can not be copied.
pub(crate) type Listing = BTreeMap<String, Result<Vec<Object>, String>>;

/// Lists a place: a repository, or the one model of this name.
///
/// # Errors
/// The store is away or refuses, or it holds what can not be copied.
pub(crate) async fn list(place: &Place, model: Option<&str>) -> Result<Listing, String> {
    if place.may_be_object()
        && let Some(model) = model
    {
        match place.store.head(&place.prefix).await {
            Ok(meta) => return Ok(one_object(model, &meta)),
            // It may be a prefix of this name.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(words(&error)),
        }
    }
    let prefix = Some(&place.prefix).filter(|prefix| prefix.parts_count() > 0);
    let mut metas = Vec::new();
    let mut objects = place.store.list(prefix);
    while let Some(meta) = objects.try_next().await.map_err(|error| words(&error))? {
        if metas.len() >= OBJECTS_MAX {
            return Err(format!("it has more than {OBJECTS_MAX} objects"));
        }
        metas.push(meta);
    }
    if metas.is_empty() {
        return Err("it has no objects".into());
    }
    Ok(by_model(&place.prefix, &metas, model))
}

fn one_object(model: &str, meta: &ObjectMeta) -> Listing {
    let name = meta.location.filename().unwrap_or("model.onnx").to_owned();
    [(model.to_owned(), Ok(vec![object(name, meta)]))].into()
}

fn object(path: String, meta: &ObjectMeta) -> Object {
    let ObjectMeta { location, last_modified, size, e_tag, .. } = meta;
    let etag = e_tag.clone();
    let tag = etag.clone().unwrap_or_else(|| last_modified.to_rfc3339());
    Object { key: location.clone(), path, size: *size, state: format!("{size} {tag}"), etag }
}

/// Groups objects by model: the first part of their path below the prefix, unless all are of one.
fn by_model(prefix: &Path, metas: &[ObjectMeta], model: Option<&str>) -> Listing {
    let mut files = BTreeMap::<String, Vec<Object>>::new();
    if let Some(model) = model {
        files.insert(model.to_owned(), Vec::new());
    }
    for meta in metas {
        let Some(parts) = meta.location.prefix_match(prefix) else { continue };
        let mut parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let model = match model {
            Some(model) => model.to_owned(),
            None if parts.len() > 1 && !parts[0].starts_with('.') => parts.remove(0),
            None => continue,
        };
        if !parts.is_empty() {
            files.entry(model).or_default().push(object(parts.join("/"), meta));
        }
    }
    files.into_iter().map(|(model, objects)| (model, checked(objects))).collect()
}

fn checked(mut objects: Vec<Object>) -> Result<Vec<Object>, String> {
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    let above = |path: &str| {
        path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>()
    };
    let folders: BTreeSet<String> = objects.iter().flat_map(|object| above(&object.path)).collect();
    // Some programs mark a folder by an empty object of its name.
    objects.retain(|object| object.size > 0 || !folders.contains(&object.path));
    if objects.len() > FILES_MAX {
        return Err(format!("it has more than {FILES_MAX} files"));
    }
    let deep = |object: &&Object| object.path.split('/').count() > DEPTH_MAX;
    match objects.iter().find(deep) {
        Some(object) => Err(format!("'{}' is more than {DEPTH_MAX} folders deep", object.path)),
        None => Ok(objects),
    }
}

/// A store's error in words, without the repetitions of its causes.
pub(crate) fn words(error: &object_store::Error) -> String {
    let text = match error {
        object_store::Error::InvalidPath { source } => {
            format!("a key can not be the path of a file, and must be deleted: {source}")
        }
        error => error.to_string(),
    };
    // One line, as it stands in the log and in the index.
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(key: &str, size: u64) -> ObjectMeta {
        ObjectMeta {
            location: Path::parse(key).unwrap(),
            last_modified: Default::default(),
            size,
            e_tag: Some(format!("\"{key}\"")),
            version: None,
        }
    }

    #[test]
    fn objects_are_grouped_by_their_model() {
        let keys = ["p/a/1/model.onnx", "p/a/config.pbtxt", "p/b/2/model.onnx", "p/x", "p/.h/1/x"];
        let metas: Vec<ObjectMeta> = keys.iter().map(|key| meta(key, 5)).collect();
        let listing = by_model(&Path::from("p"), &metas, None);
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["a", "b"]);
        let paths: Vec<&str> =
            listing["a"].as_ref().unwrap().iter().map(|object| object.path.as_str()).collect();
        assert_eq!(paths, ["1/model.onnx", "config.pbtxt"]);
        let one = by_model(&Path::from("p/a"), &metas, Some("m"));
        assert_eq!(one["m"].as_ref().unwrap().len(), 2);
    }

    #[test]
    fn marks_of_folders_are_no_files() {
        let metas = [meta("p/a/1", 0), meta("p/a/1/model.onnx", 5), meta("p/a/1-empty", 0)];
        let listing = by_model(&Path::from("p"), &metas, None);
        let paths: Vec<&str> =
            listing["a"].as_ref().unwrap().iter().map(|object| object.path.as_str()).collect();
        assert_eq!(paths, ["1-empty", "1/model.onnx"]);
    }

    #[test]
    fn what_could_not_be_files_is_an_error() {
        let deep = format!("p/a/{}x", "d/".repeat(20));
        let listing = by_model(&Path::from("p"), &[meta(&deep, 1)], None);
        assert!(listing["a"].as_ref().unwrap_err().contains("folders deep"));
        for key in ["p/a/../../etc/passwd", "p/a/./x", "p/a//x"] {
            assert!(Path::parse(key).is_err(), "{key}");
        }
    }
}
