//! The places that models come from: repositories, and models with a path of their own.

use super::load_with::LoadWith;
use super::source::{self, ModelSource};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use mirror::{Copied, Mirror};

mod mirror;
#[cfg(test)]
mod tests;

/// A place that models come from.
#[derive(Clone)]
pub struct Root {
    path: PathBuf,
    /// Name of the model that the place is; `None` for a repository, whose folders are models.
    model: Option<String>,
    /// The place as its user wrote it, for errors.
    label: String,
    mirror: Option<Arc<dyn Mirror>>,
}

/// All places that models come from.
#[derive(Clone, Debug, Default)]
pub struct Roots(Vec<Root>);

/// Models found in all roots.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Models by name. One that can not be read has the reason in its settings.
    pub(crate) models: BTreeMap<String, ModelSource>,
    /// Roots that can not be read, or not completely yet, with the reasons.
    pub(crate) unread: Vec<Unread>,
}

/// A root that can not be read, or not completely yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Path of the root. Models below it stay as they are.
    path: PathBuf,
    /// Root and reason, for people.
    pub(crate) reason: String,
    /// True if the log says so already.
    pub(crate) is_reported: bool,
}

/// Reason why a model has no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoSource {
    /// No root has a model of this name.
    Unknown,
    /// No root is known to have it, and one could not be read.
    Unread(String),
}

/// Where a model lies.
struct Location<'a> {
    root: &'a Root,
    path: PathBuf,
    /// Reason why its newest state is not there.
    problem: Option<String>,
}

impl Root {
    /// A folder whose folders are models.
    pub fn repository(folder: impl Into<PathBuf>) -> Self {
        let path = folder.into();
        Self { label: path.display().to_string(), path, model: None, mirror: None }
    }

    /// A file or folder that is a model, with the name under which it serves.
    pub fn model(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { model: Some(name.into()), ..Self::repository(path) }
    }

    /// A place elsewhere, which a mirror copies: a repository, or the model of this name.
    pub fn mirrored(
        label: impl Into<String>,
        model: Option<String>,
        mirror: Arc<dyn Mirror>,
    ) -> Self {
        let path = mirror.copy().to_owned();
        Self { path, model, label: label.into(), mirror: Some(mirror) }
    }

    /// The path of the root, and the folder around that if it may be a file.
    fn folders(&self) -> impl Iterator<Item = &Path> {
        let around = self.model.as_ref().and_then(|_| self.path.parent());
        std::iter::once(self.path.as_path()).chain(around)
    }

    /// Models of the root by name, with their problems.
    fn models(&self) -> Result<BTreeMap<String, Option<String>>, String> {
        if let Some(mirror) = &self.mirror {
            return Ok(mirror.models());
        }
        if let Some(name) = &self.model {
            return Ok([(name.clone(), None)].into());
        }
        let names = source::names(&self.path).map_err(|error| self.unread(&error.to_string()))?;
        Ok(names.into_iter().map(|name| (name, None)).collect())
    }

    /// Problem of the root as a whole, in words.
    fn unread(&self, reason: &str) -> String {
        format!("{} can not be read: {reason}", self.label)
    }

    /// Path of one of its models.
    fn path_of(&self, name: &str) -> PathBuf {
        match self.model {
            Some(_) => self.path.clone(),
            None => self.path.join(name),
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// One repository.
impl From<PathBuf> for Roots {
    fn from(folder: PathBuf) -> Self {
        Self(vec![Root::repository(folder)])
    }
}

impl FromIterator<Root> for Roots {
    fn from_iter<T: IntoIterator<Item = Root>>(roots: T) -> Self {
        Self(roots.into_iter().collect())
    }
}

/// Names all roots.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |root: &Root| match &root.model {
            Some(name) => format!("{name}={}", root.label),
            None => root.label.clone(),
        };
        f.write_str(&self.0.iter().map(word).collect::<Vec<_>>().join(", "))
    }
}

impl Roots {
    /// Checks that all repositories on this machine can be read.
    ///
    /// # Errors
    /// Names the first that can not.
    pub(crate) fn check(&self) -> std::io::Result<()> {
        let local = self.0.iter().filter(|root| root.mirror.is_none() && root.model.is_none());
        for root in local {
            std::fs::read_dir(&root.path).map_err(|error| {
                std::io::Error::new(error.kind(), format!("{}: {error}", root.label))
            })?;
            if source::is_model_itself(&root.path) {
                tracing::warn!(
                    "{} has a model's file directly in it, which is not served: `--model NAME={}` \
                     serves such a folder",
                    root.label,
                    root.label
                );
            }
        }
        Ok(())
    }

    /// Folders that have models, or the file of one.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().flat_map(Root::folders)
    }

    /// Scans all models of all roots.
    pub(crate) fn scan(&self) -> Scan {
        let (locations, unread) = self.locations();
        let scanned = |(name, locations): (String, Vec<Location<'_>>)| {
            let source = scan_locations(&name, &locations, None);
            // A folder that went while it was read is not a broken model.
            let is_gone = locations.iter().all(Location::is_gone);
            (!is_gone).then_some((name, source))
        };
        Scan { models: locations.into_iter().filter_map(scanned).collect(), unread }
    }

    /// Scans one model, with the settings and files that replace its own.
    ///
    /// # Errors
    /// No root has such a model.
    pub(crate) fn scan_model(&self, name: &str, with: &LoadWith) -> Result<ModelSource, NoSource> {
        let config = with.config.as_deref();
        if let Some(files) = &with.files {
            if !source::is_model_name(name) {
                return Err(NoSource::Unknown);
            }
            let mut source = source::scan_folder(files.folder(), name, config);
            for version in source.versions.values_mut() {
                version.sent = Some(Arc::clone(files));
            }
            return Ok(source);
        }
        let (mut locations, unread) = self.locations();
        match (locations.remove(name), unread.into_iter().next()) {
            (Some(locations), _) => Ok(scan_locations(name, &locations, config)),
            (None, Some(unread)) => Err(NoSource::Unread(unread.reason)),
            (None, None) => Err(NoSource::Unknown),
        }
    }

    /// Names of all models, each with the reason why it can not be read, if that is known.
    pub(crate) fn names(&self) -> BTreeMap<String, Option<String>> {
        let (locations, _) = self.locations();
        let problem = |(name, locations): (String, Vec<Location<'_>>)| {
            let problem = match locations.as_slice() {
                [Location { root, path, .. }] if root.mirror.is_none() && !path.exists() => {
                    Some(missing(path))
                }
                [only] => only.problem.clone(),
                several => Some(conflict(several)),
            };
            (name, problem)
        };
        locations.into_iter().map(problem).collect()
    }

    /// True if a root is known to have a model of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.locations().0.contains_key(name)
    }

    /// True if a model of this name may lie elsewhere, so that [`fetch`](Self::fetch) takes time.
    pub(crate) fn is_elsewhere(&self, name: &str) -> bool {
        let has = |root: &Root| root.model.as_ref().is_none_or(|model| model == name);
        self.0.iter().any(|root| root.mirror.is_some() && has(root))
    }

    /// Copies a model's newest state from a place elsewhere, and waits for that. It does nothing for
    /// models on this machine.
    ///
    /// # Errors
    /// The place can not be read.
    pub(crate) fn fetch(&self, name: &str) -> Result<(), String> {
        let has = |root: &&Root| root.model.as_ref().is_none_or(|model| model == name);
        let mut mirrors = self.0.iter().filter(has).filter_map(|root| root.mirror.as_ref());
        mirrors.try_for_each(|mirror| mirror.fetch(name))
    }

    /// Reasons why models that serve may not be the newest, by name.
    pub(crate) fn notes(&self) -> BTreeMap<String, String> {
        let of_root = |root: &Root| {
            let Some(mirror) = &root.mirror else { return BTreeMap::new() };
            let of_all = match mirror.state() {
                Copied::All => None,
                Copied::NotYet(reason) | Copied::Before(reason) => Some(root.unread(&reason)),
            };
            let note = |(name, problem): (String, Option<String>)| {
                Some((name, problem.or_else(|| of_all.clone())?))
            };
            mirror.models().into_iter().filter_map(note).collect()
        };
        self.0.iter().flat_map(of_root).collect()
    }

    fn locations(&self) -> (BTreeMap<String, Vec<Location<'_>>>, Vec<Unread>) {
        let (mut locations, mut unread) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for root in &self.0 {
            if let Some(mirror) = &root.mirror
                && let Copied::NotYet(reason) = mirror.state()
            {
                let (path, reason) = (root.path.clone(), root.unread(&reason));
                unread.push(Unread { path, reason, is_reported: true });
            }
            match root.models() {
                Ok(models) => {
                    for (name, problem) in models {
                        let path = root.path_of(&name);
                        locations.entry(name).or_default().push(Location { root, path, problem });
                    }
                }
                Err(reason) => {
                    let path = root.path.clone();
                    unread.push(Unread { path, reason, is_reported: false });
                }
            }
        }
        (locations, unread)
    }
}

impl Scan {
    /// True if a model that was found in this folder before is there no more.
    pub(crate) fn has_lost(&self, name: &str, folder: Option<&Path>) -> bool {
        let is_unread =
            |folder: &Path| self.unread.iter().any(|root| folder.starts_with(&root.path));
        !self.models.contains_key(name) && !folder.is_some_and(is_unread)
    }
}

impl Location<'_> {
    /// True if a repository's folder of this name was there, and is no more.
    fn is_gone(&self) -> bool {
        let is_listed = self.root.model.is_none() && self.root.mirror.is_none();
        is_listed && self.path.symlink_metadata().is_err()
    }
}

/// Scans a model in the one place where it lies.
fn scan_locations(name: &str, locations: &[Location<'_>], config: Option<&str>) -> ModelSource {
    let [Location { root, path, problem }] = locations else {
        let first = locations.first().map(|first| first.path.as_path());
        return ModelSource::unreadable(first.unwrap_or(Path::new("")), conflict(locations));
    };
    let path = match root.mirror {
        None => path.clone(),
        // The copy of a changed model replaces the old one while that may still be read.
        Some(_) => match path.canonicalize() {
            Ok(path) => path,
            Err(_) => {
                let label = &root.label;
                return match problem {
                    Some(problem) => ModelSource::unreadable(path, format!("{label}: {problem}")),
                    None => ModelSource::coming(path, format!("it is being copied from {label}")),
                };
            }
        },
    };
    match root.model {
        Some(_) => source::scan_path(&path, name, config),
        None => source::scan_folder(&path, name, config),
    }
}

fn missing(path: &Path) -> String {
    format!("{} is not there, or leads nowhere", path.display())
}

/// Problem of a model that lies in several places.
fn conflict(locations: &[Location<'_>]) -> String {
    let place = |location: &Location<'_>| match (&location.root.model, &location.root.mirror) {
        (Some(name), _) => format!("{name}={}", location.root.label),
        (None, None) => location.path.display().to_string(),
        (None, Some(_)) => format!("a model of {}", location.root.label),
    };
    let places = locations.iter().map(place).collect::<Vec<_>>().join(" and ");
    let count = locations.len();
    format!(
        "{count} repositories have a model of this name, {places}: only one of them can have it"
    )
}
