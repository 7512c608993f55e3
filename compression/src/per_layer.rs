//! A setting for every layer of a model: a default for each kind, and exceptions by name.

use crate::suggest::nearest;
use crate::{CompressError, Layer, LayerKind};
use std::collections::BTreeMap;

/// Number of names that an error suggests.
const SUGGESTIONS: usize = 3;

/// A setting for each layer. `None` leaves a layer unchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct PerLayer<T> {
    /// Setting of convolutions that are not named below.
    pub convolution: Option<T>,
    /// Setting of fully connected layers that are not named below.
    pub fully_connected: Option<T>,
    /// Settings of single layers, by the name of the weight or of a node that it feeds.
    pub named: BTreeMap<String, Option<T>>,
}

impl<T: Clone> PerLayer<T> {
    /// Creates the same setting for all layers.
    pub fn all(value: T) -> Self {
        Self {
            convolution: Some(value.clone()),
            fully_connected: Some(value),
            named: BTreeMap::new(),
        }
    }

    /// Creates settings that leave every layer unchanged.
    pub fn none() -> Self {
        Self { convolution: None, fully_connected: None, named: BTreeMap::new() }
    }

    /// Sets one layer apart; `None` leaves it unchanged.
    pub fn with(mut self, name: &str, value: Option<T>) -> Self {
        self.named.insert(name.to_owned(), value);
        self
    }
}

impl<T> PerLayer<T> {
    /// Pairs each of `layers` with its setting. Layers without one are left out.
    ///
    /// # Errors
    /// `NoSuchLayer` when no layer has one of the names.
    pub fn resolve<'a, 'l>(
        &'a self,
        layers: &'l [Layer],
    ) -> Result<Vec<(&'l Layer, &'a T)>, CompressError> {
        if let Some(unknown) =
            self.named.keys().find(|name| !layers.iter().any(|l| l.has_name(name)))
        {
            let names = layers.iter().map(|layer| layer.name.as_str());
            let suggestions = nearest(unknown, names, SUGGESTIONS);
            return Err(CompressError::NoSuchLayer { name: unknown.clone(), suggestions });
        }
        let chosen = layers.iter().filter_map(|layer| Some((layer, self.setting_of(layer)?)));
        Ok(chosen.collect())
    }

    fn setting_of(&self, layer: &Layer) -> Option<&T> {
        let own = self.named.get(&layer.name);
        let own = own.or_else(|| layer.nodes.iter().find_map(|node| self.named.get(node)));
        let default = match layer.kind {
            LayerKind::Convolution => &self.convolution,
            LayerKind::FullyConnected => &self.fully_connected,
        };
        own.unwrap_or(default).as_ref()
    }
}

impl Layer {
    /// Returns true if the layer or one of its nodes has this name.
    fn has_name(&self, name: &str) -> bool {
        self.name == name || self.nodes.iter().any(|node| node == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers;
    use skysail_graph::mlp;

    #[test]
    fn settings_by_name_override_those_by_kind() {
        let model = mlp(&[4, 3, 2, 2], 1).unwrap();
        let layers = layers(&model).unwrap();
        let by_node = layers[1].nodes[0].clone();
        let settings = PerLayer { fully_connected: Some(1), ..PerLayer::none() };
        let settings = settings.with("fc0.weight", None).with(&by_node, Some(2));
        let resolved = settings.resolve(&layers).unwrap();
        let found: Vec<_> =
            resolved.iter().map(|(layer, value)| (layer.name.as_str(), **value)).collect();
        assert_eq!(found, [("fc1.weight", 2), ("fc2.weight", 1)]);
        assert!(PerLayer::<u8>::none().resolve(&layers).unwrap().is_empty());
    }

    #[test]
    fn an_error_suggests_names_for_an_unknown_one() {
        let layers = layers(&mlp(&[4, 3, 2], 1).unwrap()).unwrap();
        let unknown = PerLayer::all(1).with("fc1.wieght", Some(2));
        let message = unknown.resolve(&layers).unwrap_err().to_string();
        let expected = "the model has no layer 'fc1.wieght'; the nearest are 'fc1.weight', \
                        'fc0.weight'";
        assert_eq!(message, expected);
        let message = PerLayer::all(1).with("a", None).resolve(&[]).unwrap_err().to_string();
        assert!(message.ends_with("it has no layers that can be compressed"), "{message}");
    }
}
