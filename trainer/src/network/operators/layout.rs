//! Operators that change the dimensions of a tensor, but not its values.

use super::matrix::reshaped;
use crate::network::floats::{Floats, Inner, burn_op};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis, broadcast};
use burn_backend::Shape;
use burn_backend::ops::IntTensorOps;

/// Upper limit of the numbers in an expanded tensor.
const EXPANDED_MAX: usize = 1 << 31;

/// Reshapes a value; the number of elements must be equal.
fn reshaped_value(x: &Value, shape: Vec<usize>) -> Value {
    match x {
        Value::Floats(x) => Value::Floats(reshaped(x, shape)),
        Value::Ints(x) => Value::Ints(Inner::int_reshape(x.clone(), Shape::from(shape))),
    }
}

/// Permutes the dimensions.
pub(crate) fn permuted(x: &Floats, order: &[usize]) -> Floats {
    burn_op!(float_permute(x; order))
}

#[derive(Debug)]
struct Reshape {
    /// Attribute of version 1, replaced by an input.
    shape: Option<Vec<i64>>,
    is_zero_kept: bool,
}

pub(crate) fn reshape(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let is_zero_kept = context.int("allowzero", 0)? != 0;
    Ok(Box::new(Reshape { shape: context.ints("shape")?, is_zero_kept }))
}

impl Operator for Reshape {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let wanted = match &self.shape {
            Some(shape) => shape.clone(),
            None => inputs.ints(1)?,
        };
        let shape = self.resolve(&x.dims(), &wanted)?;
        Ok(vec![reshaped_value(x, shape)])
    }
}

impl Reshape {
    /// Resolves the wanted dimensions: 0 copies that of `from`, -1 is what remains.
    fn resolve(&self, from: &[usize], wanted: &[i64]) -> Result<Vec<usize>, String> {
        let bad = || format!("cannot reshape {from:?} to {wanted:?}");
        let count: usize = from.iter().product();
        let mut shape = Vec::with_capacity(wanted.len());
        for (position, dim) in wanted.iter().enumerate() {
            shape.push(match dim {
                0 if !self.is_zero_kept => *from.get(position).ok_or_else(bad)?,
                -1 => 1,
                dim => usize::try_from(*dim).map_err(|_| bad())?,
            });
        }
        let others = shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
        let others = others.ok_or_else(bad)?;
        if let Some(open) = wanted.iter().position(|dim| *dim == -1) {
            shape[open] = count.checked_div(others).ok_or_else(bad)?;
        }
        match shape.iter().product::<usize>() == count {
            true => Ok(shape),
            false => Err(bad()),
        }
    }
}

#[derive(Debug)]
struct Flatten {
    axis: i64,
}

pub(crate) fn flatten(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Flatten { axis: context.int("axis", 1)? }))
}

impl Operator for Flatten {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let shape = x.dims();
        let end = self.axis == shape.len() as i64;
        let position = if end { shape.len() } else { axis(self.axis, shape.len())? };
        let rows = shape[..position].iter().product();
        Ok(vec![reshaped_value(x, vec![rows, shape[position..].iter().product()])])
    }
}

/// The axes of `Squeeze` and `Unsqueeze`: an attribute before version 13, an input since.
fn axes(attribute: Option<&Vec<i64>>, inputs: &Inputs) -> Result<Option<Vec<i64>>, String> {
    attribute.map_or_else(|| inputs.ints_if_any(1), |axes| Ok(Some(axes.clone())))
}

#[derive(Debug)]
struct Squeeze {
    axes: Option<Vec<i64>>,
}

pub(crate) fn squeeze(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Squeeze { axes: context.ints("axes")? }))
}

impl Operator for Squeeze {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let mut shape = x.dims();
        let removed = match axes(self.axes.as_ref(), inputs)? {
            Some(axes) => axes.iter().map(|a| axis(*a, shape.len())).collect::<Result<_, _>>()?,
            None => (0..shape.len()).filter(|axis| shape[*axis] == 1).collect::<Vec<_>>(),
        };
        if removed.iter().any(|axis| shape[*axis] != 1) {
            return Err(format!("removes axes {removed:?} of {shape:?}, but not all are 1"));
        }
        let mut position = 0..;
        shape.retain(|_| !removed.contains(&position.next().unwrap_or(0)));
        Ok(vec![reshaped_value(x, shape)])
    }
}

#[derive(Debug)]
struct Unsqueeze {
    axes: Option<Vec<i64>>,
}

pub(crate) fn unsqueeze(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Unsqueeze { axes: context.ints("axes")? }))
}

impl Operator for Unsqueeze {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let mut shape = x.dims();
        let axes = axes(self.axes.as_ref(), inputs)?.ok_or("lacks its axes")?;
        let rank = shape.len() + axes.len();
        let mut added: Vec<usize> =
            axes.iter().map(|a| axis(*a, rank)).collect::<Result<_, _>>()?;
        added.sort_unstable();
        if added.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("has an axis twice: {axes:?}"));
        }
        added.iter().for_each(|axis| shape.insert(*axis, 1));
        Ok(vec![reshaped_value(x, shape)])
    }
}

#[derive(Debug)]
struct Transpose {
    order: Option<Vec<i64>>,
}

pub(crate) fn transpose(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Transpose { order: context.ints("perm")? }))
}

impl Operator for Transpose {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let rank = x.dims().len();
        let order: Vec<usize> = match &self.order {
            Some(order) => order.iter().map(|a| axis(*a, rank)).collect::<Result<_, _>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(format!("permutes {rank} dimensions by {order:?}"));
        }
        Ok(vec![match x {
            Value::Floats(x) => Value::Floats(permuted(x, &order)),
            Value::Ints(x) => Value::Ints(Inner::int_permute(x.clone(), &order)),
        }])
    }
}

#[derive(Debug)]
struct Expand;

pub(crate) fn expand(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Expand))
}

impl Operator for Expand {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let wanted = inputs.ints(1)?;
        let sizes: Option<Vec<usize>> =
            wanted.iter().map(|dim| usize::try_from(*dim).ok()).collect();
        let sizes = sizes.ok_or_else(|| format!("expands to {wanted:?}"))?;
        let shape = broadcast(&x.dims(), &sizes)?;
        let count = shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
        if count.is_none_or(|count| count > EXPANDED_MAX) {
            return Err(format!("expands to {shape:?}, which is too large"));
        }
        Ok(vec![expanded(x, shape)])
    }
}

/// Broadcasts a value along its dimensions of 1.
pub(crate) fn expanded(x: &Value, shape: Vec<usize>) -> Value {
    let mut aligned = vec![1; shape.len().saturating_sub(x.dims().len())];
    aligned.extend(x.dims());
    match reshaped_value(x, aligned) {
        Value::Floats(x) => Value::Floats(burn_op!(float_expand(x; Shape::from(shape)))),
        Value::Ints(x) => Value::Ints(Inner::int_expand(x, Shape::from(shape))),
    }
}
