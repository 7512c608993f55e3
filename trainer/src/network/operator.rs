//! What an operator is to the interpreter, and which it knows.

use super::floats::Floats;
use super::operators as ops;
use super::pass::Pass;
use super::value::{Value, int_values};
use skysail_graph::{GraphError, Node};
use std::fmt::Debug;

/// An operator with its attributes, ready to run.
pub(crate) trait Operator: Debug + Send + Sync {
    /// What it makes of its inputs. A problem is said so that it continues "node 'x': Gemm ...".
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String>;
}

/// The values that a node takes; `None` for those left out.
#[derive(Debug)]
pub(crate) struct Inputs(pub(crate) Vec<Option<Value>>);

impl Inputs {
    /// The input at `index`, if it is there.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).and_then(Option::as_ref)
    }

    /// The input at `index`, which the operator needs.
    pub(crate) fn value(&self, index: usize) -> Result<&Value, String> {
        self.get(index).ok_or_else(|| format!("lacks its input {index}"))
    }

    /// The input at `index`, which must be floats.
    pub(crate) fn floats(&self, index: usize) -> Result<&Floats, String> {
        match self.value(index)? {
            Value::Floats(floats) => Ok(floats),
            Value::Ints(_) => Err(format!("has integers as input {index}, not floats")),
        }
    }

    /// The input at `index`, floats where it is there.
    pub(crate) fn floats_if_any(&self, index: usize) -> Result<Option<&Floats>, String> {
        self.get(index).map(|_| self.floats(index)).transpose()
    }

    /// The values of the input at `index`, integers where it is there.
    pub(crate) fn ints_if_any(&self, index: usize) -> Result<Option<Vec<i64>>, String> {
        match self.get(index) {
            None => Ok(None),
            Some(Value::Ints(ints)) => Ok(Some(int_values(ints))),
            Some(Value::Floats(_)) => Err(format!("has floats as input {index}, not integers")),
        }
    }

    /// The values of the input at `index`, which must be integers.
    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>, String> {
        self.ints_if_any(index)?.ok_or_else(|| format!("lacks its input {index}"))
    }
}

/// Why a node cannot be trained through.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The file is wrong.
    Graph(GraphError),
    /// What is not supported; it continues "node 'x': Gemm ...".
    Unsupported(String),
}

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Unsupported(problem)
    }
}

/// A node to be made ready, and what is known around it.
pub(crate) struct Call<'a> {
    /// The node.
    pub(crate) node: Node<'a>,
    /// The version of ONNX's operators.
    pub(crate) opset: i64,
    /// Its place in the graph: what tells its random numbers from those of other nodes.
    pub(crate) index: usize,
    /// For each input that is itself a parameter, its entry in the layout.
    pub(crate) entries: Vec<Option<usize>>,
}

impl<'a> Call<'a> {
    /// An attribute that is an integer, or what it is when left out.
    pub(crate) fn int(&self, name: &str, otherwise: i64) -> Result<i64, Refusal> {
        Ok(self.node.int(name)?.unwrap_or(otherwise))
    }

    /// An attribute that is a float, or what it is when left out.
    pub(crate) fn float(&self, name: &str, otherwise: f32) -> Result<f32, Refusal> {
        Ok(self.node.float(name)?.unwrap_or(otherwise))
    }

    /// An attribute that is a list of integers, if it is there.
    pub(crate) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        Ok(self.node.ints(name)?.map(<[i64]>::to_vec))
    }

    /// An attribute that is a list of sizes, or what it is when left out.
    pub(crate) fn sizes(&self, name: &str, otherwise: &[usize]) -> Result<Vec<usize>, Refusal> {
        let Some(ints) = self.node.ints(name)? else { return Ok(otherwise.to_vec()) };
        let sizes = ints.iter().map(|int| usize::try_from(*int).ok()).collect::<Option<_>>();
        sizes.ok_or_else(|| format!("with {name} {ints:?} is not supported").into())
    }
}

/// Makes a node ready.
pub(crate) type Compile = fn(&Call<'_>) -> Result<Box<dyn Operator>, Refusal>;

/// The operators of ONNX that are known, by name.
const KNOWN: &[(&str, Compile)] = &[
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
    ("Gather", ops::pick::gather),
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
    ("Pad", ops::pick::pad),
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
    ("Slice", ops::pick::slice),
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

/// How the nodes of `operator` are made ready, if it is known.
pub(crate) fn find(domain: &str, operator: &str) -> Option<Compile> {
    let found = KNOWN.binary_search_by_key(&operator, |row| row.0);
    found.ok().filter(|_| domain.is_empty()).map(|row| KNOWN[row].1)
}

/// The names of the operators that are known, for messages.
pub(crate) fn known() -> String {
    KNOWN.iter().map(|row| row.0).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(KNOWN.is_sorted_by_key(|row| row.0));
        assert!(find("", "Gemm").is_some());
        assert!(find("ai.onnx.ml", "Gemm").is_none());
        assert!(find("", "Loop").is_none());
    }
}
