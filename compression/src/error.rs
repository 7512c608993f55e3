//! What can be wrong with a compression step: its settings, its data, or the model.

use skysail_graph::GraphError;

/// What a [`Runner`](crate::Runner) says when it cannot run a model.
pub type RunnerError = Box<dyn std::error::Error + Send + Sync>;

/// Why a model could not be compressed. The model is then as it was. Trying again helps for none.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The model itself is broken, or would be.
    #[error(transparent)]
    Graph(#[from] GraphError),

    /// A setting names a layer that the model does not have.
    #[error("the model has no layer '{name}'; {}", nearest(near))]
    NoSuchLayer {
        /// The name that was given.
        name: String,
        /// The names most like it, the most alike first.
        near: Vec<String>,
    },

    /// A setting has a value outside its range.
    #[error("{setting} is {value}: it must be {wanted}")]
    BadSetting {
        /// Which one, in words.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },

    /// A weight holds NaN or an infinity, which no step can compress.
    #[error("layer '{layer}' holds {value} at element {index}: weights must be finite numbers")]
    NotFinite {
        /// The layer.
        layer: String,
        /// Which of its weights, counted in row-major order.
        index: usize,
        /// What it is.
        value: f32,
    },

    /// The data to calibrate with do not fit the model.
    #[error("calibration batch {batch}: {problem}")]
    BadBatch {
        /// Which one, from 0.
        batch: usize,
        /// Which input it is about, what was expected, and what was found.
        problem: String,
    },

    /// Nothing to calibrate with.
    #[error("there is no calibration data: at least one batch is needed")]
    NoBatches,

    /// A value that is to be quantized has no range, since none was observed.
    #[error("value '{value}' was not observed during calibration")]
    NotObserved {
        /// The value.
        value: String,
    },

    /// A value became NaN or infinite while calibrating.
    #[error("value '{value}' holds {found} in calibration batch {batch}: it cannot be quantized")]
    NotFiniteValue {
        /// The value.
        value: String,
        /// Which batch, from 0.
        batch: usize,
        /// NaN or an infinity.
        found: f32,
    },

    /// The model uses operators that are too old for the integers.
    #[error(
        "the model uses version {found} of ONNX's operators, and this needs {needed}: convert it \
         first, for example with onnx.version_converter"
    )]
    OldOperators {
        /// The version it uses.
        found: i64,
        /// The version that is needed.
        needed: i64,
    },

    /// Whoever runs models for this crate failed.
    #[error("cannot run the model to calibrate it: {0}")]
    Runner(#[source] RunnerError),

    /// Two outputs that are to be compared are not alike.
    #[error("cannot compare the outputs: {0}")]
    NotComparable(String),
}

fn nearest(near: &[String]) -> String {
    match near {
        [] => "it has no layers that can be compressed".to_owned(),
        [one] => format!("the nearest is '{one}'"),
        many => format!("the nearest are '{}'", many.join("', '")),
    }
}
