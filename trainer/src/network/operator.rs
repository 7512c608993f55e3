//! Interface and table of the supported operators.

use super::floats::Floats;
use super::operators as ops;
use super::pass::Pass;
use super::value::{Value, int_values};
use skysail_graph::{GraphError, Node};
use std::fmt::Debug;

/// An operator with its attributes, ready to run.
pub(crate) trait Operator: Debug + Send + Sync {
    /// Computes the outputs. An error text continues "node 'x': Gemm ...".
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String>;
}

/// Inputs of a node; `None` for omitted ones.
#[derive(Debug)]
pub(crate) struct Inputs(pub(crate) Vec<Option<Value>>);

impl Inputs {
    /// The input at `index`, if present.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).and_then(Option::as_ref)
    }

    /// The required input at `index`.
    pub(crate) fn value(&self, index: usize) -> Result<&Value, String> {
        self.get(index).ok_or_else(|| format!("lacks its input {index}"))
    }

    /// The required input of floats at `index`.
    pub(crate) fn floats(&self, index: usize) -> Result<&Floats, String> {
        match self.value(index)? {
            Value::Floats(floats) => Ok(floats),
            Value::Ints(_) => Err(format!("has integers as input {index}, not floats")),
        }
    }

    /// The input of floats at `index`, if present.
    pub(crate) fn floats_if_any(&self, index: usize) -> Result<Option<&Floats>, String> {
        self.get(index).map(|_| self.floats(index)).transpose()
    }

    /// The values of the input of integers at `index`, if present.
    pub(crate) fn ints_if_any(&self, index: usize) -> Result<Option<Vec<i64>>, String> {
        match self.get(index) {
            None => Ok(None),
            Some(Value::Ints(ints)) => Ok(Some(int_values(ints))),
            Some(Value::Floats(_)) => Err(format!("has floats as input {index}, not integers")),
        }
    }

    /// The values of the required input of integers at `index`.
    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>, String> {
        self.ints_if_any(index)?.ok_or_else(|| format!("lacks its input {index}"))
    }
}

/// An error of a node that cannot be compiled for training.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// The file is invalid.
    Graph(GraphError),
    /// A feature is not supported; the text continues "node 'x': Gemm ...".
    Unsupported(String),
}

impl From<GraphError> for CompileError {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl From<String> for CompileError {
    fn from(problem: String) -> Self {
        Self::Unsupported(problem)
    }
}

/// A node to compile, with its context.
pub(crate) struct NodeContext<'a> {
    /// The node.
    pub(crate) node: Node<'a>,
    /// Version of ONNX's operators.
    pub(crate) opset: i64,
    /// Index in the graph; distinguishes its random numbers from those of other nodes.
    pub(crate) index: usize,
    /// Entry in the layout of each input that is a parameter.
    pub(crate) entries: Vec<Option<usize>>,
}

impl<'a> NodeContext<'a> {
    /// An integer attribute, or its default.
    pub(crate) fn int(&self, name: &str, otherwise: i64) -> Result<i64, CompileError> {
        Ok(self.node.int(name)?.unwrap_or(otherwise))
    }

    /// A float attribute, or its default.
    pub(crate) fn float(&self, name: &str, otherwise: f32) -> Result<f32, CompileError> {
        Ok(self.node.float(name)?.unwrap_or(otherwise))
    }

    /// An attribute with a list of integers, if present.
    pub(crate) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, CompileError> {
        Ok(self.node.ints(name)?.map(<[i64]>::to_vec))
    }

    /// An attribute with a list of sizes, or its default.
    pub(crate) fn sizes(
        &self,
        name: &str,
        otherwise: &[usize],
    ) -> Result<Vec<usize>, CompileError> {
        let Some(ints) = self.node.ints(name)? else { return Ok(otherwise.to_vec()) };
        let sizes = ints.iter().map(|int| usize::try_from(*int).ok()).collect::<Option<_>>();
        sizes.ok_or_else(|| format!("with {name} {ints:?} is not supported").into())
    }
}

/// Compiles a node.
pub(crate) type Compile = fn(&NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError>;

/// The supported ONNX operators, by name.
const SUPPORTED: &[(&str, Compile)] = &[
    ("Abs", ops::unary::compile),
    ("Add", ops::binary::compile),
    ("And", ops::compare::compile),
    ("AveragePool", ops::pool::average),
    ("BatchNormalization", ops::batch_norm::compile),
    ("Cast", ops::constant::cast),
    ("Clip", ops::unary::clip),
    ("Concat", ops::join::concat),
    ("Constant", ops::constant::compile),
    ("ConstantOfShape", ops::constant::of_shape),
    ("Conv", ops::conv::compile),
    ("Cos", ops::unary::compile),
    ("Div", ops::binary::compile),
    ("Dropout", ops::dropout::compile),
    ("Elu", ops::unary::compile),
    ("Equal", ops::compare::compile),
    ("Erf", ops::unary::compile),
    ("Exp", ops::unary::compile),
    ("Expand", ops::layout::expand),
    ("Flatten", ops::layout::flatten),
    ("Gather", ops::indexing::gather),
    ("Gelu", ops::unary::compile),
    ("Gemm", ops::matrix::gemm),
    ("GlobalAveragePool", ops::pool::global_average),
    ("GlobalMaxPool", ops::pool::global_max),
    ("Greater", ops::compare::compile),
    ("GreaterOrEqual", ops::compare::compile),
    ("HardSigmoid", ops::unary::compile),
    ("HardSwish", ops::unary::compile),
    ("Identity", ops::constant::identity),
    ("LayerNormalization", ops::layer_norm::compile),
    ("LeakyRelu", ops::unary::compile),
    ("Less", ops::compare::compile),
    ("LessOrEqual", ops::compare::compile),
    ("Log", ops::unary::compile),
    ("LogSoftmax", ops::softmax::compile),
    ("MatMul", ops::matrix::matmul),
    ("Max", ops::binary::compile),
    ("MaxPool", ops::pool::max),
    ("Min", ops::binary::compile),
    ("Mul", ops::binary::compile),
    ("Neg", ops::unary::compile),
    ("Not", ops::compare::not),
    ("Or", ops::compare::compile),
    ("PRelu", ops::binary::compile),
    ("Pad", ops::indexing::pad),
    ("Pow", ops::binary::compile),
    ("Range", ops::constant::range),
    ("Reciprocal", ops::unary::compile),
    ("ReduceMax", ops::reduce::compile),
    ("ReduceMean", ops::reduce::compile),
    ("ReduceMin", ops::reduce::compile),
    ("ReduceSum", ops::reduce::compile),
    ("Relu", ops::unary::relu),
    ("Reshape", ops::layout::reshape),
    ("Shape", ops::constant::shape),
    ("Sigmoid", ops::unary::compile),
    ("Sin", ops::unary::compile),
    ("Slice", ops::indexing::slice),
    ("Softmax", ops::softmax::compile),
    ("Softplus", ops::unary::compile),
    ("Split", ops::join::split),
    ("Sqrt", ops::unary::compile),
    ("Squeeze", ops::layout::squeeze),
    ("Sub", ops::binary::compile),
    ("Sum", ops::binary::compile),
    ("Tanh", ops::unary::compile),
    ("Transpose", ops::layout::transpose),
    ("Unsqueeze", ops::layout::unsqueeze),
    ("Where", ops::compare::choose),
];

/// Finds the compile function of an operator, if it is supported.
pub(crate) fn find(domain: &str, operator: &str) -> Option<Compile> {
    let found = SUPPORTED.binary_search_by_key(&operator, |row| row.0);
    found.ok().filter(|_| domain.is_empty()).map(|row| SUPPORTED[row].1)
}

/// Names of the supported operators, for messages.
pub(crate) fn supported_names() -> String {
    SUPPORTED.iter().map(|row| row.0).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(SUPPORTED.is_sorted_by_key(|row| row.0));
        assert!(find("", "Gemm").is_some());
        assert!(find("ai.onnx.ml", "Gemm").is_none());
        assert!(find("", "Loop").is_none());
    }
}
