//! Constants, shapes, casts and `Identity`.

use crate::network::floats::{Dense, Floats};
use crate::network::initial;
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, int_values};
use skysail_graph::ElementType;

/// Upper limit of the numbers that `Range` and `ConstantOfShape` create.
const MADE_MAX: usize = 1 << 28;

/// `Constant`.
#[derive(Debug)]
struct Constant(Value);

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let node = context.node;
    let value = if let Some(tensor) = node.tensor("value")? {
        initial::value(&tensor)?
            .ok_or_else(|| format!("of {} is not supported", tensor.element()))?
    } else if let Some(value) = node.int("value_int")? {
        Value::ints(&[], vec![value])
    } else if let Some(values) = node.ints("value_ints")? {
        Value::list(values.to_vec())
    } else if let Some(value) = node.float("value_float")? {
        Value::floats(&[], vec![value])
    } else if let Some(values) = node.floats("value_floats")? {
        Value::floats(&[values.len()], values.to_vec())
    } else {
        return Err("of strings or sparse values is not supported".to_owned().into());
    };
    Ok(Box::new(Constant(value)))
}

impl Operator for Constant {
    fn run(&self, _: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        Ok(vec![self.0.clone()])
    }
}

/// `ConstantOfShape`.
#[derive(Debug)]
struct Filled(Value);

pub(crate) fn of_shape(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let value = match context.node.tensor("value")? {
        Some(tensor) => initial::value(&tensor)?,
        None => Some(Value::floats(&[1], vec![0.0])),
    };
    Ok(Box::new(Filled(value.ok_or_else(|| "of such values is not supported".to_owned())?)))
}

impl Operator for Filled {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let wanted = inputs.ints(0)?;
        let shape: Option<Vec<usize>> =
            wanted.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let count = |shape: &Vec<usize>| {
            let count = shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
            count.is_some_and(|count| count <= MADE_MAX)
        };
        let shape = shape.filter(count).ok_or_else(|| format!("makes shape {wanted:?}"))?;
        let count = shape.iter().product();
        let value = match &self.0 {
            Value::Ints(value) => {
                int_values(value).first().map(|v| Value::ints(&shape, vec![*v; count]))
            }
            Value::Floats(value) => {
                let value = Dense::of(value.primitive());
                value.values().first().map(|v| Value::floats(&shape, vec![*v; count]))
            }
        };
        Ok(vec![value.ok_or("has no value")?])
    }
}

/// `Range` of integers.
#[derive(Debug)]
struct Range;

pub(crate) fn range(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Range))
}

impl Operator for Range {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let one = |index: usize| -> Result<i64, String> {
            inputs.ints(index)?.first().copied().ok_or_else(|| format!("lacks its input {index}"))
        };
        let (start, limit, delta) = (one(0)?, one(1)?, one(2)?);
        let bad = || format!("has start {start}, limit {limit} and delta {delta}");
        let distance = limit.checked_sub(start).ok_or_else(bad)?;
        let steps = distance.checked_div(delta).ok_or_else(bad)?;
        let steps = steps + i64::from(distance % delta != 0 && (distance < 0) == (delta < 0));
        let steps =
            usize::try_from(steps.max(0)).ok().filter(|s| *s <= MADE_MAX).ok_or_else(bad)?;
        let values = (0..steps as i64).map(|step| start + step * delta).collect();
        Ok(vec![Value::list(values)])
    }
}

/// `Identity`.
#[derive(Debug)]
struct Identity;

pub(crate) fn identity(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Identity))
}

impl Operator for Identity {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        Ok(vec![inputs.value(0)?.clone()])
    }
}

/// `Cast`: all floats are `f32` here, and all integers `i64`.
#[derive(Debug)]
enum Cast {
    Float,
    Int,
    Bool,
}

pub(crate) fn cast(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    use ElementType as E;
    let to = ElementType::from_code(i32::try_from(context.int("to", 0)?).unwrap_or(0));
    Ok(Box::new(match to {
        E::Float32 | E::Float64 | E::Float16 | E::BFloat16 => Cast::Float,
        E::Int64 | E::Int32 | E::Int16 | E::Int8 | E::UInt8 | E::UInt16 | E::UInt32 => Cast::Int,
        E::Bool => Cast::Bool,
        other => return Err(format!("to {other} is not supported").into()),
    }))
}

impl Operator for Cast {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let shape = x.dims();
        Ok(vec![match (self, x) {
            (Self::Float, Value::Floats(_)) | (Self::Int, Value::Ints(_)) => x.clone(),
            (Self::Float, Value::Ints(x)) => {
                Value::floats(&shape, int_values(x).iter().map(|value| *value as f32).collect())
            }
            (Self::Bool, Value::Ints(x)) => {
                let truths = int_values(x).iter().map(|value| i64::from(*value != 0)).collect();
                Value::ints(&shape, truths)
            }
            (_, Value::Floats(x)) => Value::ints(&shape, self.of_floats(x)),
        }])
    }
}

impl Cast {
    fn of_floats(&self, x: &Floats) -> Vec<i64> {
        let is_bool = matches!(self, Self::Bool);
        let of = |value: &f32| if is_bool { i64::from(*value != 0.0) } else { *value as i64 };
        Dense::of(x.primitive()).values().iter().map(of).collect()
    }
}

/// `Shape`.
#[derive(Debug)]
struct Shape {
    start: i64,
    end: Option<i64>,
}

pub(crate) fn shape(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Shape { start: context.int("start", 0)?, end: context.node.int("end")? }))
}

impl Operator for Shape {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let shape = inputs.value(0)?.dims();
        let rank = shape.len() as i64;
        let inside =
            |index: i64| (if index < 0 { index + rank } else { index }).clamp(0, rank) as usize;
        let (start, end) = (inside(self.start), inside(self.end.unwrap_or(rank)));
        let taken = shape.get(start..end).unwrap_or(&[]);
        Ok(vec![Value::list(taken.iter().map(|dim| *dim as i64).collect())])
    }
}
