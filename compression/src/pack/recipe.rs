//! Recipes: the options of `pack` in a TOML file. Errors name the line and the key.

use crate::args::BadConfiguration;
use crate::options::Options;
use skysail_compression::{CompressError, Layer, PerLayer};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Limit of a recipe in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// A recipe and its text.
pub(crate) struct Recipe {
    path: PathBuf,
    text: String,
    pub(crate) options: Options,
}

impl Recipe {
    /// Reads a recipe. Its relative paths start at its own folder.
    pub(crate) fn load(path: &Path) -> Result<Self, BadConfiguration> {
        let text = read(path).map_err(|error| {
            BadConfiguration(format!("cannot read {}: {error}", path.display()))
        })?;
        let mut options: Options = toml::from_str(&text).map_err(|error| {
            BadConfiguration(format!("{}: {}", path.display(), error.to_string().trim_end()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let named = [&mut options.calibrate, &mut options.data, &mut options.sign];
        let named = named.into_iter().flatten().chain(&mut options.parent);
        named.for_each(|file| *file = folder.join(&*file));
        Ok(Self { path: path.to_owned(), text, options })
    }

    /// Rejects names of layers that the model does not have.
    pub(crate) fn check(&self, layers: &[Layer]) -> Result<(), BadConfiguration> {
        let pruned = self.options.prune_layer.iter().map(|named| (&named.layer, named.offset));
        let shared = self.options.bits_layer.iter().map(|named| (&named.layer, named.offset));
        for (layer, offset) in pruned.chain(shared) {
            self.known(layer, layers).map_err(|error| {
                let (path, line) = (self.path.display(), self.line(offset.unwrap_or_default()));
                BadConfiguration(format!("{path}:{line}: {error}"))
            })?;
        }
        Ok(())
    }

    fn known(&self, name: &str, layers: &[Layer]) -> Result<(), CompressError> {
        PerLayer::none().with(name, Some(())).resolve(layers).map(drop)
    }

    /// Returns the line, from 1, of an offset in the text.
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// Reads a file of limited size.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    match (read as u64) < BYTES_MAX {
        true => Ok(text),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Share;
    use crate::options::Init;
    use skysail_compression::layers;
    use skysail_graph::mlp;

    fn recipe(text: &str) -> Result<Recipe, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.toml");
        std::fs::write(&path, text).unwrap();
        Recipe::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn recipe_keys_are_the_names_of_the_flags() {
        let text = "prune = 0.3\nmax-loss = \"1%\"\ninit = \"density\"\ndata = \"d.npz\"\n\
                    [bits-layer]\n\"fc0.weight\" = 8\n[prune-layer]\nb = 1\n";
        let options = recipe(text).unwrap().options;
        assert_eq!(options.prune, Some(Share(0.3)));
        assert_eq!((options.max_loss, options.init), (Some(Share(0.01)), Some(Init::Density)));
        let layer = &options.bits_layer[0];
        assert_eq!((layer.layer.as_str(), layer.value), ("fc0.weight", 8));
        assert_eq!(options.prune_layer[0].value, Share(1.0));
        let data = options.data.unwrap();
        assert!(data.is_absolute() && data.ends_with("d.npz"));
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let message = recipe("prune = 0.3\nbist = 5\n").err().unwrap();
        assert!(message.contains("line 2") && message.contains("bist"), "{message}");
        let message = recipe("[prune-layer]\na = 1.5\n").err().unwrap();
        assert!(message.contains("line 2") && message.contains("a share from 0 to 1"), "{message}");
        let layers = layers(&mlp(&[4, 3], 1).unwrap()).unwrap();
        let found = recipe("bits = 5\n\n[bits-layer]\n\"fc0.wieght\" = 8\n").unwrap();
        let message = found.check(&layers).unwrap_err().to_string();
        assert!(
            message.contains("small.toml:4: ") && message.contains("'fc0.weight'"),
            "{message}"
        );
        assert!(recipe("[bits-layer]\n\"fc0.weight\" = 8\n").unwrap().check(&layers).is_ok());
    }
}
