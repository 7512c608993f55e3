//! Joining and splitting of tensors: `Concat` and `Split`.

use super::indexing::{Range, sliced};
use crate::network::floats::{Diff, Floats, Inner};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis};
use burn_backend::ops::{FloatTensorOps, IntTensorOps};
use burn_flex::FlexTensor;

#[derive(Debug)]
struct Concat {
    axis: i64,
}

pub(crate) fn concat(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Concat { axis: context.int("axis", 1)? }))
}

impl Operator for Concat {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let first = inputs.value(0)?.dims();
        let along = axis(self.axis, first.len())?;
        let (mut floats, mut ints): (Vec<Floats>, Vec<FlexTensor>) = Default::default();
        for index in 0..inputs.0.len() {
            let value = inputs.value(index)?;
            let mut shape = value.dims();
            if shape.len() == first.len() {
                shape[along] = first[along];
            }
            if shape != first {
                let other = value.dims();
                return Err(format!("joins {first:?} and {other:?} along axis {along}"));
            }
            match value {
                Value::Floats(value) => floats.push(value.clone()),
                Value::Ints(value) => ints.push(value.clone()),
            }
        }
        if !floats.is_empty() && !ints.is_empty() {
            return Err("mixes floats and integers".to_owned());
        }
        if floats.is_empty() {
            return Ok(vec![Value::Ints(Inner::int_cat(ints, along))]);
        }
        if floats.iter().any(|value| value.is_tracked()) {
            return Ok(vec![Value::Floats(Diff::float_cat(floats, along))]);
        }
        let plain = floats.into_iter().map(|value| value.into_primitive()).collect();
        Ok(vec![Value::Floats(Floats::new(Inner::float_cat(plain, along)))])
    }
}

#[derive(Debug)]
struct Split {
    axis: i64,
    /// Attribute of old versions, replaced by an input.
    sizes: Option<Vec<i64>>,
    parts: usize,
}

pub(crate) fn split(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let parts = context.node.outputs().len();
    Ok(Box::new(Split { axis: context.int("axis", 0)?, sizes: context.ints("split")?, parts }))
}

impl Operator for Split {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.value(0)?;
        let shape = x.dims();
        let along = axis(self.axis, shape.len())?;
        let given = self.sizes.clone().map_or_else(|| inputs.ints_if_any(1), |s| Ok(Some(s)))?;
        let sizes: Vec<usize> = match given {
            Some(sizes) => {
                let sizes: Option<_> = sizes.iter().map(|s| usize::try_from(*s).ok()).collect();
                sizes.ok_or("has a part of a negative size")?
            }
            None => {
                let each = shape[along].div_ceil(self.parts);
                let left = |part: usize| shape[along].saturating_sub(part * each).min(each);
                (0..self.parts).map(left).collect()
            }
        };
        let total = sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(*size));
        if total != shape[along] || sizes.len() != self.parts {
            return Err(format!("splits {} into {sizes:?}", shape[along]));
        }
        let mut start = 0;
        let parts = sizes.iter().map(|size| {
            let range = Range { start, end: start + size, step: 1 };
            start += size;
            sliced(x, along, range)
        });
        Ok(parts.collect())
    }
}
