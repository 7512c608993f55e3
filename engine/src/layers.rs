//! How the layers of a package run, for who looks at it from outside.

use serde::Serialize;
use std::fmt;

/// In which form a layer's weights are held and worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// All of them, zeros too, by ONNX Runtime's own operator.
    Dense,
    /// Those that are not zero, by a kernel for sparse weights.
    Sparse,
    /// As integers of 8 bits, by ONNX Runtime's own operators.
    Int8,
    /// As integers of 4 bits, by ONNX Runtime's own operator.
    Int4,
}

impl Execution {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sparse, Self::Dense, Self::Int8, Self::Int4];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// How long a layer ran on this machine, on one thread, in both forms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayerTimes {
    /// Rows of the model's batch.
    pub batch: usize,
    /// By the kernel for sparse weights.
    pub sparse_us: f64,
    /// By ONNX Runtime, with all weights.
    pub dense_us: f64,
    /// Whether the dense time is the least that such a layer can take here: the sparse one was
    /// so much below it that nothing had to be measured.
    pub dense_is_bound: bool,
}

/// A convolution or a product of a package, by its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The name of the weights' tensor.
    pub name: String,
    /// The operator, such as `Gemm`.
    pub operator: String,
    /// The tensor's dimensions.
    pub shape: Vec<u64>,
    /// The part of the weights that is not zero, from 0 to 1.
    pub density: f64,
    /// How it runs.
    pub execution: Execution,
    /// Why.
    pub why: String,
    /// By batch size, as far as that was measured.
    pub times: Vec<LayerTimes>,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, operator, shape, density, execution, why, times } = self;
        let percent = density * 100.0;
        write!(
            f,
            "'{name}' ({operator} {shape:?}, {percent:.1} %) is {}: {why}",
            execution.name()
        )?;
        for LayerTimes { batch, sparse_us, dense_us, dense_is_bound } in times {
            let least = if *dense_is_bound { "at least " } else { "" };
            write!(f, "; batch {batch}: {sparse_us:.0} us sparse, {least}{dense_us:.0} us dense")?;
        }
        Ok(())
    }
}

/// How all layers of a package run. Displayed, it is a line for the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// In the graph's order.
    pub layers: Vec<Layer>,
    /// Memory that all weights of the model take as they run.
    pub weights_bytes: u64,
    /// What they would take if all were dense.
    pub dense_bytes: u64,
}

impl Layers {
    /// How many run so.
    pub fn count(&self, execution: Execution) -> usize {
        self.layers.iter().filter(|layer| layer.execution == execution).count()
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Execution::ALL.map(|execution| (self.count(execution), execution.name()));
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .enumerate()
            .map(|(place, (count, name))| match (place, count) {
                (0, 1) => format!("1 layer {name}"),
                (0, _) => format!("{count} layers {name}"),
                _ => format!("{count} {name}"),
            })
            .collect();
        let counts = if counts.is_empty() { "no layers".into() } else { counts.join(", ") };
        let (weights, dense) = (megabytes(self.weights_bytes), megabytes(self.dense_bytes));
        write!(f, "{counts}, weights {weights} MB (dense {dense} MB)")
    }
}

/// In megabytes, with as many places as tell something.
fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    let places = if megabytes < 0.1 { 3 } else { 1 };
    format!("{megabytes:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(execution: Execution) -> Layer {
        Layer {
            name: "fc".into(),
            operator: "Gemm".into(),
            shape: vec![4, 2],
            density: 0.25,
            execution,
            why: "it is faster".into(),
            times: vec![],
        }
    }

    #[test]
    fn a_package_in_one_line() {
        let mut layers =
            Layers { weights_bytes: 4_100_000, dense_bytes: 25_000_000, ..Layers::default() };
        assert_eq!(layers.to_string(), "no layers, weights 4.1 MB (dense 25.0 MB)");
        layers.layers.push(layer(Execution::Dense));
        assert!(layers.to_string().starts_with("1 layer dense, weights"));
        layers.layers.extend([layer(Execution::Sparse), layer(Execution::Sparse)]);
        assert!(layers.to_string().starts_with("2 layers sparse, 1 dense, weights"));
        assert_eq!(layers.count(Execution::Int8), 0);
    }

    #[test]
    fn a_layer_in_one_line() {
        let mut layer = layer(Execution::Sparse);
        let times = LayerTimes { batch: 1, sparse_us: 3.2, dense_us: 12.0, dense_is_bound: true };
        layer.times.push(times);
        let said = layer.to_string();
        assert_eq!(
            said,
            "'fc' (Gemm [4, 2], 25.0 %) is sparse: it is faster; batch 1: 3 us sparse, at least \
             12 us dense"
        );
    }
}
