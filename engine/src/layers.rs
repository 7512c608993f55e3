//! Report on the layers of a package, for logs, metrics and metadata.

use serde::Serialize;
use std::fmt;

/// Execution of a layer: the form of its weights and kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// All weights, including zeros, on ONNX Runtime's operator.
    Dense,
    /// Non-zero weights, on a sparse kernel.
    Sparse,
    /// Integers of 8 bits, on ONNX Runtime's operators.
    Int8,
    /// Integers of 4 bits, on ONNX Runtime's operator.
    Int4,
}

impl Execution {
    /// All executions.
    pub const ALL: [Self; 4] = [Self::Sparse, Self::Dense, Self::Int8, Self::Int4];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// Run times of a layer on this machine, on one thread, sparse and dense.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayerTimes {
    /// Rows of the model's batch.
    pub batch: usize,
    /// Microseconds of the sparse kernel.
    pub sparse_us: f64,
    /// Microseconds of ONNX Runtime with all weights.
    pub dense_us: f64,
    /// True if the dense time is a lower bound. The sparse time was so far below it that no
    /// comparison was needed.
    pub dense_is_bound: bool,
}

/// A convolution or product of a package, identified by its weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Name of the tensor of weights.
    pub name: String,
    /// Operator, such as `Gemm`.
    pub operator: String,
    /// Dimensions of the tensor.
    pub shape: Vec<u64>,
    /// Share of non-zero weights, from 0 to 1.
    pub density: f64,
    /// Execution of the layer.
    pub execution: Execution,
    /// Reason for the execution.
    pub why: String,
    /// Measured run times by batch size.
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

/// Report on all layers of a package. Its display is one line for the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// Layers in the graph's order.
    pub layers: Vec<Layer>,
    /// Bytes of memory that all weights take.
    pub weights_bytes: u64,
    /// Bytes that they would take if all were dense.
    pub dense_bytes: u64,
}

impl Layers {
    /// Number of layers with this execution.
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
            .map(|(index, (count, name))| match (index, count) {
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

/// Formats bytes as megabytes, with more digits for small values.
fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    let digits = if megabytes < 0.1 { 3 } else { 1 };
    format!("{megabytes:.digits$}")
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
        let text = layer.to_string();
        assert_eq!(
            text,
            "'fc' (Gemm [4, 2], 25.0 %) is sparse: it is faster; batch 1: 3 us sparse, at least \
             12 us dense"
        );
    }
}
