//! Control flow: branches and loops.

use super::dependence::{Problem, Rows, dependent, unknown};
use super::{Dependence, join, resolve};
use crate::shapes::branch::common;
use crate::shapes::call::Call;
use crate::shapes::value::{Number, Value};
use crate::size::is_free_of_rows;
use crate::{Dim, ElementType, Graph, Kind};

/// Most passes over a loop's body in the search for a fixed point.
const ROUNDS_MAX: usize = 8;

/// Infers the outputs of a node with subgraphs; `None` for any other.
pub(super) fn outputs(call: &Call<'_, '_>) -> Option<Vec<Value>> {
    if !call.domain().is_empty() {
        return None;
    }
    let outputs = match call.operator() {
        "If" => if_(call),
        "Loop" => loop_(call),
        "Scan" => scan(call),
        "SequenceMap" => unknown("sequences are not analysed"),
        _ => return None,
    };
    let count = call.output_count();
    let mut outputs = outputs.unwrap_or_else(|problem| vec![mixed(call, problem); count]);
    let rest = || mixed(call, Problem::Unknown("its subgraph has too few outputs".into()));
    outputs.resize_with(count, rest);
    Some(outputs)
}

fn mixed(call: &Call<'_, '_>, problem: Problem) -> Value {
    Value { dependence: Dependence::mixed(problem, Some(call.node())), ..Value::UNKNOWN }
}

/// Requires that a control value is the same for all rows.
fn require_shared(what: &str, on: &Dependence) -> Result<(), Problem> {
    match on {
        Dependence::Shared => Ok(()),
        Dependence::Count => dependent(format!("{what} depends on the number of rows")),
        Dependence::Rows(_) => dependent(format!("{what} depends on values of rows")),
        Dependence::Mixed(mixed) if mixed.is_certain => {
            dependent(format!("{what} depends on all rows ({})", mixed.cause))
        }
        Dependence::Mixed(mixed) => unknown(format!("{what} is not known ({})", mixed.cause)),
    }
}

fn graph<'a>(call: &Call<'_, 'a>, attribute: &str) -> Result<Graph<'a>, Problem> {
    let graph = call.node().graph(attribute).ok().flatten();
    graph.map_or_else(|| unknown(format!("it has no subgraph '{attribute}'")), Ok)
}

/// Infers the outputs of a subgraph.
fn subgraph<'a>(
    call: &Call<'_, 'a>,
    graph: Graph<'a>,
    given: Vec<Value>,
) -> Result<Vec<Value>, Problem> {
    // Nodes are counted when they are visited.
    let proto = graph.proto();
    let others = [proto.input.len(), proto.output.len(), proto.initializer.len()];
    if !call.scope().context().steps(others.iter().sum()) {
        return unknown("the model is too large to analyse");
    }
    let names = proto.input.iter().map(|input| &input.name);
    let is_constant = |name: &String| proto.initializer.iter().any(|tensor| tensor.name == *name);
    if given.len() != proto.input.len() || names.into_iter().any(is_constant) {
        return unknown("the inputs of its subgraph do not fit");
    }
    Ok(call.scope().inside(graph, given).outputs())
}

fn if_(call: &Call<'_, '_>) -> Result<Vec<Value>, Problem> {
    let branch = |attribute: &str| subgraph(call, graph(call, attribute)?, Vec::new());
    match (call.numbers(0), call.dependence(0)) {
        (Some([Number::Int(0)]), Dependence::Shared) => return branch("else_branch"),
        (Some([Number::Int(_)]), Dependence::Shared) => return branch("then_branch"),
        (_, on) => require_shared("its condition", on)?,
    }
    let (a, b) = (branch("then_branch")?, branch("else_branch")?);
    let either = |(a, b): (&Value, &Value)| {
        let on = join(call, &a.dependence, &b.dependence);
        resolve(call, common(a, b), on)
    };
    Ok(a.iter().zip(&b).map(either).collect())
}

fn loop_(call: &Call<'_, '_>) -> Result<Vec<Value>, Problem> {
    for (input, what) in [(0, "how often it runs"), (1, "its condition")] {
        if call.has_input(input) {
            require_shared(what, call.dependence(input))?;
        }
    }
    let scalar = |element| resolve(call, Value::tensor(element, Some(vec![])), Dependence::Shared);
    let before = || vec![scalar(ElementType::Int64), scalar(ElementType::Bool)];
    let states = (2..call.input_count()).map(|input| call.input(input).clone()).collect();
    let body = graph(call, "body")?;
    let run = |states: &[Value]| {
        let mut outputs = subgraph(call, body, [before(), states.to_vec()].concat())?;
        if outputs.is_empty() {
            return unknown("its subgraph has no condition");
        }
        require_shared("whether it goes on", &outputs.remove(0).dependence)?;
        Ok(outputs)
    };
    let (states, outputs) = fixed_point(call, states, run)?;
    let scanned = outputs.into_iter().skip(states.len()).map(|value| stacked(call, value, 0));
    Ok(states.iter().cloned().chain(scanned).collect())
}

fn scan(call: &Call<'_, '_>) -> Result<Vec<Value>, Problem> {
    let count = call.int("num_scan_inputs").and_then(|count| usize::try_from(count).ok());
    let states_count = count.and_then(|count| call.input_count().checked_sub(count));
    let Some(states_count) = states_count.filter(|_| call.opset() >= 9) else {
        return unknown("its inputs are not analysed");
    };
    let axis = |attribute: &str, place: usize| {
        call.ints(attribute).and_then(|axes| axes.get(place).copied()).unwrap_or(0)
    };
    let parts = (states_count..call.input_count())
        .map(|input| part(call, input, axis("scan_input_axes", input - states_count)))
        .collect::<Result<Vec<Value>, Problem>>()?;
    let states = (0..states_count).map(|input| call.input(input).clone()).collect();
    let body = graph(call, "body")?;
    let run = |states: &[Value]| subgraph(call, body, [states.to_vec(), parts.clone()].concat());
    let (states, outputs) = fixed_point(call, states, run)?;
    let scanned = outputs.into_iter().skip(states.len()).enumerate();
    let scanned =
        scanned.map(|(place, value)| stacked(call, value, axis("scan_output_axes", place)));
    Ok(states.iter().cloned().chain(scanned).collect())
}

/// Slice of an input that a scan reads at each step.
fn part(call: &Call<'_, '_>, input: usize, axis: i64) -> Result<Value, Problem> {
    let value = call.input(input);
    let Some(dims) = value.dims() else {
        return unknown("the dimensions of a scanned input are not known");
    };
    let Some(axis) = crate::shapes::dims::axis(axis, dims.len()) else {
        return unknown("an axis that it scans is out of range");
    };
    let on = match &value.dependence {
        Dependence::Rows(rows) if rows.axis == axis => {
            return dependent("it scans rows, one after the other");
        }
        Dependence::Rows(rows) => rows.at(rows.axis - usize::from(axis < rows.axis)),
        other => other.clone(),
    };
    // The axis decides how often the body runs.
    if !is_free_of_rows(&dims[axis]) {
        return unknown("how often it runs may depend on the number of rows");
    }
    let mut dims = dims.to_vec();
    dims.remove(axis);
    Ok(resolve(call, Value::tensor(value.element(), Some(dims)), on))
}

/// Finds a fixed point of a loop's state: its dependence, and the dimensions that no step changes.
/// Also returns the outputs of the last pass.
fn fixed_point(
    call: &Call<'_, '_>,
    mut states: Vec<Value>,
    run: impl Fn(&[Value]) -> Result<Vec<Value>, Problem>,
) -> Result<(Vec<Value>, Vec<Value>), Problem> {
    for _ in 0..ROUNDS_MAX {
        let given: Vec<Value> = states.iter().map(|state| generalised(call, state)).collect();
        let outputs = run(&given)?;
        if outputs.len() < states.len() {
            return unknown("its subgraph has too few outputs");
        }
        let next: Vec<Value> =
            states.iter().zip(&outputs).map(|(old, new)| join_states(call, old, new)).collect();
        if next == states {
            return Ok((given, outputs));
        }
        states = next;
    }
    unknown("what its state depends on does not settle")
}

/// State in any step: whatever varies becomes unknown.
fn generalised(call: &Call<'_, '_>, state: &Value) -> Value {
    resolve(call, state.clone(), state.dependence.clone())
}

/// Joins two possible states; unknown parts stay unknown.
fn join_states(call: &Call<'_, '_>, old: &Value, new: &Value) -> Value {
    let dependence = join(call, &old.dependence, &new.dependence);
    let numbers = old.numbers.clone().filter(|numbers| new.numbers.as_ref() == Some(numbers));
    let kind = match (&old.kind, &new.kind) {
        (old, new) if old == new => old.clone(),
        (Kind::Tensor { .. }, Kind::Tensor { .. }) => common(old, new).kind,
        _ => Kind::Unknown,
    };
    // The size along rows is always known.
    Value { numbers, dependence, ..Value::of(kind) }
}

/// Stacks the values of all steps along a new axis.
fn stacked(call: &Call<'_, '_>, value: Value, axis: i64) -> Value {
    let Some(dims) = value.dims() else { return Value { numbers: None, ..value } };
    let Some(axis) = crate::shapes::dims::axis(axis, dims.len() + 1) else {
        return mixed(call, Problem::Unknown("an axis of its output is out of range".into()));
    };
    let on = match &value.dependence {
        Dependence::Rows(rows) => rows.at(rows.axis + usize::from(axis <= rows.axis)),
        other => other.clone(),
    };
    let of_rows = value.dependence.rows().map(Rows::size);
    // Sizes of the body have no meaning outside.
    let outside = |dim: &Dim| match dim {
        Dim::Fixed(_) => dim.clone(),
        dim if Some(dim) == of_rows.as_ref() && is_outside(dim) => dim.clone(),
        _ => Dim::Unknown,
    };
    let mut dims: Vec<Dim> = dims.iter().map(outside).collect();
    dims.insert(axis, Dim::Unknown);
    resolve(call, Value::tensor(value.element(), Some(dims)), on)
}

/// True if a size consists of input sizes, which mean the same everywhere.
fn is_outside(dim: &Dim) -> bool {
    match dim {
        Dim::Computed(size) => size.is_of_inputs(),
        _ => true,
    }
}
