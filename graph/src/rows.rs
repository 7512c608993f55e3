//! Proof that the rows of a batch are independent, on the graph and without a run.
//!
//! An abstract interpretation (Cousot and Cousot, 1977) tracks the [`Dependence`] of each value. A
//! value depends on no request, on one row at a time along an axis, on the number of rows, or on
//! several rows. A rule for each family of operators infers the outputs' dependence. A rule that
//! fails ends the proof. Declarations of the model are not believed.

use crate::shapes::call::Call;
use crate::shapes::scope::{Analysis, Context, Scope, kinds};
use crate::shapes::value::{Number, Value};
use crate::size::{Factor, Size, is_free_of_rows};
use crate::{Dim, ElementType, Graph, Kind, Model, ValueInfo};
use dependence::{Problem, Rows};

pub(crate) use dependence::Dependence;
pub use dependence::RowCause;
pub use output_shape::OutputShape;

mod dependence;
mod rule;
mod table;
mod microsoft;
mod elementwise;
mod axes;
mod batched;
mod matrix;
mod einsum;
mod layout;
mod parts;
mod gather;
mod scatter;
mod repeat;
mod recurrent;
mod attention;
mod ml;
mod strings;
mod control;
mod output_shape;

/// Most elements of a shared tensor of unknown integers that get symbolic values.
const NUMBERED_MAX: u64 = 16;

/// Verdict on whether a row's result depends on the rows that share its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Independence {
    /// Proven: each row of each output follows from the same row of the inputs alone.
    Independent,
    /// Rows affect each other.
    Dependent(RowCause),
    /// Neither proven nor refuted.
    Unknown(RowCause),
}

impl Model {
    /// Proves that rows, the first dimension of every input, are independent where no dimension is
    /// zero. The verdict names the obstacle otherwise.
    pub fn row_independence(&self) -> Independence {
        let unknown = |problem| Independence::Unknown(graph_cause(problem));
        if self.has_two_versions_of_a_domain() {
            return unknown("it imports two versions of one domain of operators");
        }
        let Some(inlined) = self.inline_functions() else {
            return unknown("its functions are too large, or of another version than the model");
        };
        inlined.as_ref().unwrap_or(self).independence()
    }

    fn independence(&self) -> Independence {
        let graph = self.graph();
        let inputs = graph.inputs();
        let given = match inputs.iter().map(row_input).collect::<Result<Vec<_>, _>>() {
            Ok(given) => given,
            Err(cause) => return Independence::Dependent(cause),
        };
        if given.is_empty() {
            return Independence::Dependent(graph_cause("it has no inputs"));
        }
        let context = self.context();
        let given = given_values(graph, &inputs, true)
            .into_iter()
            .zip(given)
            .map(|((name, value), dependence)| (name, Value { dependence, ..value }))
            .collect();
        let scope = Scope::with_inputs(graph, given, &context);
        let verdicts = graph.outputs().into_iter().map(|output| {
            let name = &output.name;
            classify(name, &scope.value(name).dependence)
        });
        // A certain verdict goes first.
        let mut unknown = None;
        for verdict in verdicts {
            match verdict {
                Independence::Independent => {}
                Independence::Dependent(_) => return verdict,
                Independence::Unknown(_) => unknown = unknown.or(Some(verdict)),
            }
        }
        unknown.unwrap_or(Independence::Independent)
    }

    /// Proven dimensions of each output, in order. With `same_rows`, all inputs have the same first
    /// dimension.
    pub fn output_shapes(&self, same_rows: bool) -> Vec<OutputShape> {
        let graph = self.graph();
        let inlined = self.inline_functions().filter(|_| !self.has_two_versions_of_a_domain());
        let Some(inlined) = inlined else {
            return graph.outputs().iter().map(|_| OutputShape::default()).collect();
        };
        let graph = inlined.as_ref().unwrap_or(self).graph();
        let context = self.context();
        let given = given_values(graph, &graph.inputs(), same_rows);
        let scope = Scope::with_inputs(graph, given, &context);
        let outputs = graph.outputs().into_iter();
        let shape = |output: ValueInfo| {
            OutputShape::of(scope.value(&output.name).dims(), context.excludes_zero())
        };
        outputs.map(shape).collect()
    }

    fn has_two_versions_of_a_domain(&self) -> bool {
        self.opsets().any(|(domain, version)| self.opset(domain) != Some(version))
    }

    fn context(&self) -> Context {
        Context::new(Analysis::Rows { opset: self.opset("").unwrap_or(1) })
    }
}

/// Makes the graph's inputs: each dynamic dimension is a size of its own, but that of the rows.
fn given_values<'a>(
    graph: Graph<'a>,
    inputs: &[ValueInfo],
    same_rows: bool,
) -> Vec<(&'a str, Value)> {
    let names = graph.proto().input.iter().map(|input| input.name.as_str());
    let value = |name: &'a str| {
        let input = inputs.iter().position(|input| input.name == name)?;
        let kind = match &inputs[input].kind {
            Kind::Tensor { element, dims: Some(dims) } => {
                let dims = dims.iter().enumerate();
                let open = |axis| match axis {
                    0 if same_rows => Size::of(Factor::Rows),
                    _ => Size::of(Factor::Input { input, axis }),
                };
                let dim = |(axis, dim): (usize, &Dim)| match dim {
                    Dim::Fixed(size) => Dim::Fixed(*size),
                    _ => open(axis),
                };
                Kind::Tensor { element: *element, dims: Some(dims.map(dim).collect()) }
            }
            kind => kind.clone(),
        };
        Some((name, Value::of(kind)))
    };
    names.filter_map(value).collect()
}

/// Dependence of an input whose first dimension is that of the rows.
fn row_input(input: &ValueInfo) -> Result<Dependence, RowCause> {
    let name = &input.name;
    let Kind::Tensor { dims: Some(dims), .. } = &input.kind else {
        return Err(graph_cause(format!("the dimensions of input '{name}' are not said")));
    };
    match dims.first() {
        Some(Dim::Fixed(size)) => {
            Err(graph_cause(format!("the first dimension of input '{name}' is fixed at {size}")))
        }
        Some(_) => Ok(Dependence::along(0)),
        None => {
            Err(graph_cause(format!("input '{name}' is a scalar, and has no dimension of rows")))
        }
    }
}

/// Verdict on an output, which must have one entry for each row along its first axis.
fn classify(name: &str, dependence: &Dependence) -> Independence {
    let dependent = |problem| Independence::Dependent(graph_cause(problem));
    match dependence {
        Dependence::Rows(Rows { axis: 0, outer: Dim::Fixed(1), block: Dim::Fixed(1) }) => {
            Independence::Independent
        }
        Dependence::Rows(Rows { axis: 0, outer: Dim::Fixed(1), block }) => {
            dependent(format!("output '{name}' has {block} entries for each row"))
        }
        Dependence::Rows(Rows { axis: 0, .. }) => {
            dependent(format!("output '{name}' has the rows of all requests several times over"))
        }
        Dependence::Rows(Rows { axis, .. }) => {
            dependent(format!("output '{name}' has its rows along dimension {axis}, not the first"))
        }
        Dependence::Shared => dependent(format!("output '{name}' has no rows")),
        Dependence::Count => dependent(format!("output '{name}' depends on the number of rows")),
        Dependence::Mixed(mixed) if mixed.is_certain => {
            Independence::Dependent(mixed.cause.clone())
        }
        Dependence::Mixed(mixed) => Independence::Unknown(mixed.cause.clone()),
    }
}

fn graph_cause(problem: impl Into<String>) -> RowCause {
    RowCause { node: None, problem: problem.into() }
}

/// An unknown value, as the analysis has reached its limits.
pub(crate) fn too_large() -> Value {
    let problem = Problem::Unknown("the model is too large to analyse".into());
    Value { dependence: Dependence::mixed(problem, None), ..Value::UNKNOWN }
}

/// A value that is used before its definition.
pub(crate) fn unresolved() -> Value {
    let problem = "one of its inputs is not defined before it".to_owned();
    Value { dependence: Dependence::mixed(Problem::Unknown(problem), None), ..Value::UNKNOWN }
}

/// Infers the outputs of a node, one value for each.
pub(crate) fn infer(call: &Call<'_, '_>) -> Vec<Value> {
    let count = call.output_count();
    if !call.scope().context().step() {
        return vec![too_large(); count];
    }
    if let Some(made) = control::outputs(call) {
        return made;
    }
    let mut made = kinds(call);
    made.resize(count, Value::UNKNOWN);
    let dependences = dependences(call, &made);
    made.into_iter().zip(dependences).map(|(made, on)| resolve(call, made, on)).collect()
}

/// Infers the dependence of outputs of known kinds.
fn dependences(call: &Call<'_, '_>, made: &[Value]) -> Vec<Dependence> {
    let same = |dependence: Dependence| vec![dependence; made.len()];
    let mixed = |problem| same(Dependence::mixed(problem, Some(call.node())));
    if is_random(call) {
        return mixed(Problem::Unknown("its output is random".into()));
    }
    let inputs: Vec<&Dependence> = call.dependences().collect();
    // A shape depends on the number of rows at most; its numbers are known, or follow from the
    // tensor.
    let is_shape = call.domain().is_empty() && matches!(call.operator(), "Shape" | "Size");
    if let (true, [input]) = (is_shape, inputs.as_slice()) {
        return same(if input.rows().is_some() { Dependence::Count } else { (*input).clone() });
    }
    if let Some(mixed) = inputs.iter().find(|input| matches!(input, Dependence::Mixed(_))) {
        return same((*mixed).clone());
    }
    let rule = table::rule(call.domain(), call.operator());
    let is_known = rule.is_some() || matches!(call.domain(), "" | "ai.onnx.ml");
    if is_known && inputs.iter().all(|input| **input == Dependence::Shared) {
        return same(Dependence::Shared);
    }
    let Some(rule) = rule else {
        let domain = if call.domain().is_empty() { "ONNX" } else { call.domain() };
        return mixed(Problem::Unknown(format!("no rule is known for this operator of {domain}")));
    };
    match rule(call) {
        Ok(mut dependences) => {
            let rest = Problem::Unknown("no rule is known for this output".into());
            dependences.resize(made.len(), Dependence::mixed(rest, Some(call.node())));
            dependences
        }
        // Without rows among the inputs, outputs depend on their number at most.
        Err(_) if inputs.iter().all(|input| input.rows().is_none()) => same(Dependence::Count),
        Err(problem) => mixed(problem),
    }
}

fn is_random(call: &Call<'_, '_>) -> bool {
    let random = matches!(
        call.operator(),
        "RandomNormal"
            | "RandomUniform"
            | "RandomNormalLike"
            | "RandomUniformLike"
            | "Bernoulli"
            | "Multinomial"
    );
    // Dropout is random in training mode.
    let trains = call.operator() == "Dropout"
        && call.has_input(2)
        && call.input(2).numbers() != Some(&[Number::Int(0)]);
    call.domain().is_empty() && (random || trains)
}

/// Adds the dependence to a value, and the dimensions that follow from it.
fn resolve(call: &Call<'_, '_>, made: Value, dependence: Dependence) -> Value {
    // A node that mixes rows may fail for several of them, even if the resulting numbers are known.
    if matches!(dependence, Dependence::Mixed(_)) {
        return Value { dependence, ..made };
    }
    if let Some(dependence) = of_known_elements(&made) {
        return Value { dependence, ..made };
    }
    match dependence {
        Dependence::Rows(rows) => with_row_sizes(call, &made, rows),
        Dependence::Shared => with_shared_sizes(call, made),
        Dependence::Count | Dependence::Mixed(_) => Value { dependence, ..made },
    }
}

/// Dependence of a value with known elements: none, or on the number of rows.
fn of_known_elements(made: &Value) -> Option<Dependence> {
    let is_free = |number: &Number| match number {
        Number::Int(_) => Some(true),
        Number::Open(dim) => Some(is_free_of_rows(dim)),
        Number::Unknown => None,
    };
    let numbers = made.numbers().filter(|numbers| !numbers.is_empty())?;
    let free: Vec<bool> = numbers.iter().map(is_free).collect::<Option<_>>()?;
    let fixed = made.dims()?.iter().all(is_free_of_rows);
    Some(if fixed && free.into_iter().all(|free| free) {
        Dependence::Shared
    } else {
        Dependence::Count
    })
}

/// Resolves the dimensions of a value with rows: all others are those of a single row.
fn with_row_sizes(call: &Call<'_, '_>, made: &Value, rows: Rows) -> Value {
    let unknown = |problem: &str| {
        let problem = Problem::Unknown(problem.into());
        let dependence = Dependence::mixed(problem, Some(call.node()));
        Value { dependence, ..Value::tensor(made.element(), None) }
    };
    let Some(dims) = made.dims().filter(|dims| rows.axis < dims.len()) else {
        return unknown("the rank of its output is not known");
    };
    let mut dims = dims.to_vec();
    for (axis, dim) in dims.iter_mut().enumerate() {
        let size = rows.size();
        if axis == rows.axis && (*dim == Dim::Unknown || *dim == size) {
            *dim = size;
        } else if axis != rows.axis && *dim == Dim::Unknown {
            *dim = fresh(call);
        } else if axis == rows.axis || !is_free_of_rows(dim) {
            return unknown("the dimensions of its output are not known");
        }
    }
    let dependence = Dependence::Rows(rows);
    Value { dependence, ..Value::tensor(made.element(), Some(dims)) }
}

/// Resolves a shared value: unknown sizes and numbers become symbols, equal for all requests.
fn with_shared_sizes(call: &Call<'_, '_>, made: Value) -> Value {
    let Kind::Tensor { element, dims: Some(dims) } = &made.kind else { return made };
    let known = |dim: &Dim| if *dim == Dim::Unknown { fresh(call) } else { dim.clone() };
    let dims: Vec<Dim> = dims.iter().map(known).collect();
    let integer = matches!(element, ElementType::Int32 | ElementType::Int64 | ElementType::Bool);
    let count = crate::shapes::dims::product(&dims);
    let numbers = match (made.numbers(), count) {
        (Some(numbers), _) => Some(numbers.iter().map(|number| numbered(call, number)).collect()),
        (None, Dim::Fixed(count)) if integer && count <= NUMBERED_MAX => {
            Some((0..count).map(|_| numbered(call, &Number::Unknown)).collect())
        }
        (None, _) => None,
    };
    Value::tensor(*element, Some(dims)).with_numbers(numbers)
}

fn numbered(call: &Call<'_, '_>, number: &Number) -> Number {
    match number {
        Number::Unknown => Number::Open(fresh(call)),
        number => number.clone(),
    }
}

fn fresh(call: &Call<'_, '_>) -> Dim {
    Size::of(Factor::Fresh(call.scope().context().fresh()))
}

/// Joins the dependences of two possible values.
fn join(call: &Call<'_, '_>, a: &Dependence, b: &Dependence) -> Dependence {
    match (a, b) {
        (Dependence::Mixed(_), _) => a.clone(),
        (_, Dependence::Mixed(_)) => b.clone(),
        (a, b) if a == b => a.clone(),
        (Dependence::Shared | Dependence::Count, Dependence::Shared | Dependence::Count) => {
            Dependence::Count
        }
        _ => {
            let problem = "its output has rows along one dimension, or another".to_owned();
            Dependence::mixed(Problem::Unknown(problem), Some(call.node()))
        }
    }
}

#[cfg(test)]
mod tests;
