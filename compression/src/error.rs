//! Errors of compression steps: in their settings, their data, or the model.

use skysail_graph::GraphError;

/// An error of a [`Runner`](crate::Runner) that cannot run a model.
pub type RunnerError = Box<dyn std::error::Error + Send + Sync>;

/// Reason why a model could not be compressed. The model is then unchanged, and a retry never
/// helps.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The model is broken, or would be.
    #[error(transparent)]
    Graph(#[from] GraphError),

    /// A setting names a layer that the model does not have.
    #[error("the model has no layer '{name}'; {}", suggested(suggestions))]
    NoSuchLayer {
        /// Name in the setting.
        name: String,
        /// Names of layers most like it, the most alike first.
        suggestions: Vec<String>,
    },

    /// A setting has a value outside its range.
    #[error("{setting} is {value}: it must be {wanted}")]
    BadSetting {
        /// Name of the setting.
        setting: &'static str,
        /// Value of it.
        value: String,
        /// Values it may have.
        wanted: &'static str,
    },

    /// A weight holds NaN or an infinity, which no step can compress.
    #[error("layer '{layer}' holds {value} at element {index}: weights must be finite numbers")]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// Index of the weight in row-major order.
        index: usize,
        /// Value of it.
        value: f32,
    },

    /// The calibration data do not fit the model.
    #[error("calibration batch {batch}: {problem}")]
    BadBatch {
        /// Index of the batch, from 0.
        batch: usize,
        /// Name of the input, what was expected, and what was found.
        problem: String,
    },

    /// There is no calibration data.
    #[error("there is no calibration data: at least one batch is needed")]
    NoBatches,

    /// A value that is to be quantized has no range, since none was observed.
    #[error("value '{value}' was not observed during calibration")]
    NotObserved {
        /// Name of the value.
        value: String,
    },

    /// A value became NaN or infinite while calibrating.
    #[error("value '{value}' holds {found} in calibration batch {batch}: it cannot be quantized")]
    NotFiniteValue {
        /// Name of the value.
        value: String,
        /// Index of the batch, from 0.
        batch: usize,
        /// The value that was found: NaN or an infinity.
        found: f32,
    },

    /// The model uses operators that are too old for quantization.
    #[error(
        "the model uses version {found} of ONNX's operators, and this needs {needed}: convert it \
         first, for example with onnx.version_converter"
    )]
    OldOperators {
        /// Version that the model uses.
        found: i64,
        /// Version that is needed.
        needed: i64,
    },

    /// The runner failed.
    #[error("cannot run the model to calibrate it: {0}")]
    Runner(#[source] RunnerError),

    /// Two outputs differ in shape or type, and cannot be compared.
    #[error("cannot compare the outputs: {0}")]
    NotComparable(String),
}

fn suggested(suggestions: &[String]) -> String {
    match suggestions {
        [] => "it has no layers that can be compressed".to_owned(),
        [one] => format!("the nearest is '{one}'"),
        many => format!("the nearest are '{}'", many.join("', '")),
    }
}
