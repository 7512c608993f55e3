//! Batch sizes at which layers are measured, with the shapes of all values.

use skysail_graph::{Dim, Graph, Kind, Shapes};

/// Sizes at which dense and sparse layers differ: one request, a few, and two from which times grow
/// in proportion. A smaller largest batch replaces the sizes above it.
const BATCHES: [usize; 4] = [1, 4, 16, 64];

/// Size given to open dimensions other than the batch dimension, as in trial runs.
const OPEN_DIM: u64 = 8;

/// Shapes of a graph's values at one batch size.
#[derive(Debug)]
pub(super) struct BatchShapes {
    pub(super) batch: usize,
    shapes: Shapes,
}

impl BatchShapes {
    /// Shape of a value; `None` if it is not known.
    pub(super) fn shape(&self, value: &str) -> Option<Vec<usize>> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(size) => usize::try_from(*size).ok(),
            Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => None,
        };
        self.shapes.dims(value)?.iter().map(fixed).collect()
    }
}

/// The batch sizes in use for a graph whose largest batch is `batch_max`; 0 for a model that does
/// not batch.
pub(super) fn sizes(graph: Graph<'_>, batch_max: Option<usize>) -> Vec<BatchShapes> {
    let is_open = graph.inputs().iter().all(|input| {
        let first = input.kind.dims().and_then(<[Dim]>::first);
        first.is_some_and(|dim| !matches!(dim, Dim::Fixed(_)))
    });
    let batch_max = if is_open { batch_max.unwrap_or(usize::MAX).max(1) } else { 1 };
    batches(batch_max)
        .into_iter()
        .map(|batch| BatchShapes { batch, shapes: shapes(graph, batch) })
        .collect()
}

fn batches(batch_max: usize) -> Vec<usize> {
    let last = BATCHES[BATCHES.len() - 1].min(batch_max);
    BATCHES.into_iter().filter(|batch| *batch < last).chain([last]).collect()
}

fn shapes(graph: Graph<'_>, batch: usize) -> Shapes {
    let size = |(index, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => *size,
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown if index == 0 => batch as u64,
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => OPEN_DIM,
    };
    let mut inputs = Vec::new();
    for input in graph.inputs() {
        if let Kind::Tensor { dims: Some(dims), .. } = &input.kind {
            let dims: Vec<u64> = dims.iter().enumerate().map(size).collect();
            inputs.push((input.name, dims));
        }
    }
    let inputs: Vec<(&str, &[u64])> =
        inputs.iter().map(|(name, dims)| (name.as_str(), dims.as_slice())).collect();
    graph.shapes_for(&inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{ElementType, GraphBuilder, mlp};

    #[test]
    fn the_largest_batch_is_in_use() {
        assert_eq!(batches(usize::MAX), [1, 4, 16, 64]);
        assert_eq!(batches(64), [1, 4, 16, 64]);
        assert_eq!(batches(48), [1, 4, 16, 48]);
        assert_eq!(batches(8), [1, 4, 8]);
        assert_eq!(batches(1), [1]);
    }

    #[test]
    fn shapes_follow_the_batch_size() {
        let model = mlp(&[6, 4, 2], 1).unwrap();
        let sizes = sizes(model.graph(), Some(4));
        let shapes: Vec<_> = sizes.iter().map(|size| size.shape("relu0").unwrap()).collect();
        assert_eq!(shapes, [[1, 4], [4, 4]]);
        assert_eq!(sizes[0].shape("no such value"), None);
    }

    #[test]
    fn a_fixed_first_dimension_is_the_only_size() {
        let mut graph = GraphBuilder::new("fixed");
        let dims = [Dim::from(3), Dim::from("open")];
        graph.input("x", ElementType::Float32, &dims).node("Relu", &["x"], &["y"], &[]).output(
            "y",
            ElementType::Float32,
            &dims,
        );
        let model = graph.finish().unwrap();
        let sizes = sizes(model.graph(), None);
        assert_eq!(sizes.len(), 1);
        assert_eq!(sizes[0].shape("y").unwrap(), [3, 8]);
    }
}
