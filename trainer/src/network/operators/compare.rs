//! Boolean operators: comparisons, logic and `Where`. Comparisons have no gradient.

use super::layout::expanded;
use crate::network::floats::{Dense, Diff, Floats, Inner};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, broadcast, int_values, truths};
use burn_backend::ops::FloatTensorOps;

#[derive(Debug, Clone, Copy)]
enum Compare {
    And,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Or,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(match context.node.op_type() {
        "And" => Compare::And,
        "Equal" => Compare::Equal,
        "Greater" => Compare::Greater,
        "GreaterOrEqual" => Compare::GreaterOrEqual,
        "Less" => Compare::Less,
        "LessOrEqual" => Compare::LessOrEqual,
        "Or" => Compare::Or,
        name => return Err(format!("is not a comparison: {name}").into()),
    }))
}

impl Operator for Compare {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (a, b) = (inputs.value(0)?, inputs.value(1)?);
        let shape = broadcast(&a.dims(), &b.dims())?;
        let holds: Vec<bool> = match (expanded(a, shape.clone()), expanded(b, shape.clone())) {
            (Value::Ints(a), Value::Ints(b)) => {
                let (a, b) = (int_values(&a), int_values(&b));
                a.iter().zip(&b).map(|(a, b)| self.holds(a, b, *a != 0, *b != 0)).collect()
            }
            (Value::Floats(a), Value::Floats(b)) => {
                let (a, b) = (Dense::of(a.primitive()), Dense::of(b.primitive()));
                let pairs = a.values().iter().zip(b.values());
                pairs.map(|(a, b)| self.holds(a, b, *a != 0.0, *b != 0.0)).collect()
            }
            _ => return Err("compares floats with integers".to_owned()),
        };
        Ok(vec![Value::ints(&shape, holds.into_iter().map(i64::from).collect())])
    }
}

impl Compare {
    fn holds<T: PartialOrd>(self, a: &T, b: &T, is_a: bool, is_b: bool) -> bool {
        match self {
            Self::And => is_a && is_b,
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Or => is_a || is_b,
        }
    }
}

#[derive(Debug)]
struct Not;

pub(crate) fn not(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Not))
}

impl Operator for Not {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let values = inputs.ints(0)?.iter().map(|value| i64::from(*value == 0)).collect();
        Ok(vec![Value::ints(&inputs.value(0)?.dims(), values)])
    }
}

/// The operator `Where`.
#[derive(Debug)]
struct Choose;

pub(crate) fn choose(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Choose))
}

impl Operator for Choose {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (condition, a, b) = (inputs.value(0)?, inputs.value(1)?, inputs.value(2)?);
        let shape = broadcast(&condition.dims(), &broadcast(&a.dims(), &b.dims())?)?;
        let of = |value: &Value| expanded(value, shape.clone());
        let Value::Ints(condition) = of(condition) else {
            return Err("has a condition of floats".to_owned());
        };
        Ok(vec![match (of(a), of(b)) {
            (Value::Floats(a), Value::Floats(b)) => {
                let mask = truths(&condition);
                Value::Floats(if a.is_tracked() || b.is_tracked() {
                    Diff::float_mask_where(b, mask, a)
                } else {
                    let (a, b) = (a.primitive().clone(), b.primitive().clone());
                    let result = Inner::float_mask_where(b, mask, a);
                    Floats::new(result)
                })
            }
            (Value::Ints(a), Value::Ints(b)) => {
                let (a, b) = (int_values(&a), int_values(&b));
                let pairs = a.iter().zip(&b).zip(int_values(&condition));
                let chosen = pairs.map(|((a, b), is_a)| if is_a != 0 { *a } else { *b });
                Value::ints(&shape, chosen.collect())
            }
            _ => return Err("mixes floats and integers".to_owned()),
        }])
    }
}
