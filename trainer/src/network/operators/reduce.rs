//! Reductions along axes: sum, mean, minimum and maximum.

use super::matrix::reshaped;
use crate::network::floats::{Floats, burn_op, dims};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, axis};
use burn_backend::Scalar;

#[derive(Debug)]
struct Reduce {
    kind: Kind,
    /// Attribute of old versions, replaced by an input.
    axes: Option<Vec<i64>>,
    keeps_dims: bool,
    is_identity_if_empty: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Max,
    Mean,
    Min,
    Sum,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let kind = match context.node.op_type() {
        "ReduceMax" => Kind::Max,
        "ReduceMean" => Kind::Mean,
        "ReduceMin" => Kind::Min,
        "ReduceSum" => Kind::Sum,
        name => return Err(format!("is not a reduction: {name}").into()),
    };
    let is_identity_if_empty = context.int("noop_with_empty_axes", 0)? != 0;
    let keeps_dims = context.int("keepdims", 1)? != 0;
    Ok(Box::new(Reduce { kind, axes: context.ints("axes")?, keeps_dims, is_identity_if_empty }))
}

impl Operator for Reduce {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        let given =
            self.axes.clone().map_or_else(|| inputs.ints_if_any(1), |axes| Ok(Some(axes)))?;
        let axes: Vec<usize> = match given {
            Some(axes) if !axes.is_empty() => {
                axes.iter().map(|a| axis(*a, shape.len())).collect::<Result<_, _>>()?
            }
            _ if self.is_identity_if_empty => return Ok(vec![Value::Floats(x.clone())]),
            _ => (0..shape.len()).collect(),
        };
        if axes.iter().any(|axis| shape[*axis] == 0) {
            return Err(format!("has nothing to reduce in shape {shape:?}"));
        }
        let mut result = x.clone();
        for axis in &axes {
            result = self.along(&result, *axis);
        }
        if let Kind::Mean = self.kind {
            let count: usize = axes.iter().map(|axis| shape[*axis]).product();
            result = burn_op!(float_div_scalar(result; Scalar::Float(count as f64)));
        }
        if self.keeps_dims {
            return Ok(vec![Value::Floats(result)]);
        }
        let kept = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        let kept = kept.map(|(_, dim)| *dim).collect();
        Ok(vec![Value::Floats(reshaped(&result, kept))])
    }
}

impl Reduce {
    fn along(&self, x: &Floats, axis: usize) -> Floats {
        match self.kind {
            Kind::Mean | Kind::Sum => burn_op!(float_sum_dim(x; axis)),
            Kind::Max => burn_op!(float_max_dim(x; axis)),
            Kind::Min => burn_op!(float_min_dim(x; axis)),
        }
    }
}
