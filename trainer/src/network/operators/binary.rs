//! Binary functions with broadcasting: `Add`, `Sub`, `Mul`, `Div`, `Pow`, `PRelu`; `Min`, `Max` and
//! `Sum` have any number of inputs.

use super::matrix::align;
use super::unary::relu_of;
use crate::network::floats::{Dense, Floats, burn_op, dims};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, broadcast, int_values};
use burn_backend::{Scalar, Shape};
use burn_flex::FlexTensor;

#[derive(Debug, Clone, Copy)]
enum Binary {
    Add,
    Div,
    Max,
    Min,
    Mul,
    PRelu,
    Pow,
    Sub,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(match context.node.op_type() {
        "Add" | "Sum" => Binary::Add,
        "Div" => Binary::Div,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        "Mul" => Binary::Mul,
        "PRelu" => Binary::PRelu,
        "Pow" => Binary::Pow,
        "Sub" => Binary::Sub,
        name => return Err(format!("is not a binary function: {name}").into()),
    }))
}

impl Operator for Binary {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let mut result = inputs.value(0)?.clone();
        for index in 1..inputs.0.len() {
            result = self.of(&result, inputs.value(index)?)?;
        }
        Ok(vec![result])
    }
}

impl Binary {
    fn of(self, a: &Value, b: &Value) -> Result<Value, String> {
        match (a, b) {
            (Value::Floats(a), Value::Floats(b)) => Ok(Value::Floats(self.of_floats(a, b)?)),
            (Value::Ints(a), Value::Ints(b)) => self.of_ints(a, b),
            (Value::Floats(a), Value::Ints(b)) if matches!(self, Self::Pow) => {
                let exponent = int_values(b).iter().map(|value| *value as f32).collect();
                let Value::Floats(b) = Value::floats(&dims(b), exponent) else {
                    return Err("has no exponent".to_owned());
                };
                Ok(Value::Floats(power(a, &b)?))
            }
            _ => Err("mixes floats and integers".to_owned()),
        }
    }

    fn of_floats(self, a: &Floats, b: &Floats) -> Result<Floats, String> {
        let shape = broadcast(&dims(a), &dims(b))?;
        let (a, b) = (align(a, shape.len()), align(b, shape.len()));
        Ok(match self {
            Self::Add => burn_op!(float_add(a, b)),
            Self::Div => burn_op!(float_div(a, b)),
            Self::Mul => burn_op!(float_mul(a, b)),
            Self::Sub => burn_op!(float_sub(a, b)),
            Self::Pow => power(&a, &b)?,
            Self::PRelu => {
                let below = negative(&relu_of(&negative(&a)));
                let (above, below) = (relu_of(&a), burn_op!(float_mul(below, b)));
                burn_op!(float_add(above, below))
            }
            // max(a, b) = b + relu(a - b).
            Self::Max => {
                let (a, b) = (expand(&a, &shape), expand(&b, &shape));
                let more = relu_of(&burn_op!(float_sub(a, b)));
                burn_op!(float_add(b, more))
            }
            Self::Min => {
                let (a, b) = (expand(&a, &shape), expand(&b, &shape));
                let more = relu_of(&burn_op!(float_sub(a, b)));
                burn_op!(float_sub(a, more))
            }
        })
    }

    fn of_ints(self, a: &FlexTensor, b: &FlexTensor) -> Result<Value, String> {
        let shape = broadcast(&dims(a), &dims(b))?;
        let (a, b) = (ints(a, &shape), ints(b, &shape));
        let of = |(a, b): (&i64, &i64)| match self {
            Self::Add => Some(a.wrapping_add(*b)),
            Self::Div => a.checked_div(*b),
            Self::Max => Some(*a.max(b)),
            Self::Min => Some(*a.min(b)),
            Self::Mul => Some(a.wrapping_mul(*b)),
            Self::Sub => Some(a.wrapping_sub(*b)),
            Self::Pow => a.checked_pow(u32::try_from(*b).ok()?),
            Self::PRelu => Some(if *a < 0 { a.wrapping_mul(*b) } else { *a }),
        };
        let values: Option<Vec<i64>> = a.iter().zip(&b).map(of).collect();
        let values = values.ok_or("divides by zero, or overflows")?;
        Ok(Value::ints(&shape, values))
    }
}

/// Values of integers, broadcast to a shape.
pub(crate) fn ints(x: &FlexTensor, shape: &[usize]) -> Vec<i64> {
    match super::layout::expanded(&Value::Ints(x.clone()), shape.to_vec()) {
        Value::Ints(x) => int_values(&x),
        Value::Floats(_) => Vec::new(),
    }
}

fn expand(x: &Floats, shape: &[usize]) -> Floats {
    burn_op!(float_expand(x; Shape::from(shape.to_vec())))
}

fn negative(x: &Floats) -> Floats {
    burn_op!(float_mul_scalar(x; Scalar::Float(-1.0)))
}

/// Raises `a` to a power that is a single number.
fn power(a: &Floats, b: &Floats) -> Result<Floats, String> {
    let exponents = Dense::of(b.primitive());
    let &[exponent] = exponents.values() else {
        return Err(format!(
            "has exponents of shape {:?}, but only a single one is supported",
            dims(b)
        ));
    };
    if b.is_tracked() {
        return Err("has an exponent that depends on parameters".to_owned());
    }
    Ok(match exponent {
        2.0 => burn_op!(float_mul(a, a)),
        _ => burn_op!(float_powf_scalar(a; Scalar::Float(exponent.into()))),
    })
}
