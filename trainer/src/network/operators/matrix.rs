//! Products of matrices: `Gemm` and `MatMul`.

use crate::network::floats::{Dense, Floats, Function, Inner, burn_op, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, broadcast};
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Scalar, Shape};
use burn_flex::FlexTensor;

/// `Gemm`: alpha a b + beta c, with optional transposition of a and b.
#[derive(Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    is_a_transposed: bool,
    is_b_transposed: bool,
}

pub(crate) fn gemm(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Gemm {
        alpha: context.float("alpha", 1.0)?,
        beta: context.float("beta", 1.0)?,
        is_a_transposed: context.int("transA", 0)? != 0,
        is_b_transposed: context.int("transB", 0)? != 0,
    }))
}

impl Operator for Gemm {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (a, b, c) = (inputs.floats(0)?, inputs.floats(1)?, inputs.floats_if_any(2)?);
        if dims(a).len() != 2 || dims(b).len() != 2 {
            return Err(format!("requires matrices, not shapes {:?} and {:?}", dims(a), dims(b)));
        }
        let a = if self.is_a_transposed { &burn_op!(float_swap_dims(a; 0, 1)) } else { a };
        // The most common case has a function of its own.
        let columns = dims(b)[usize::from(!self.is_b_transposed)];
        if let Some(bias) = c
            && (self.alpha, self.beta) == (1.0, 1.0)
            && dims(bias) == [columns]
        {
            return Ok(vec![Value::Floats(linear(a, b, Some(bias), self.is_b_transposed)?)]);
        }
        let product = scaled(&linear(a, b, None, self.is_b_transposed)?, self.alpha);
        let Some(c) = c else { return Ok(vec![Value::Floats(product)]) };
        let shape = dims(&product);
        if broadcast(&shape, &dims(c))? != shape {
            return Err(format!("adds shape {:?} to {shape:?}", dims(c)));
        }
        let c = align(&scaled(c, self.beta), 2);
        Ok(vec![Value::Floats(burn_op!(float_add(product, c)))])
    }
}

fn scaled(x: &Floats, factor: f32) -> Floats {
    if factor == 1.0 {
        return x.clone();
    }
    burn_op!(float_mul_scalar(x; Scalar::Float(factor.into())))
}

/// Prepends dimensions of 1.
pub(crate) fn align(x: &Floats, rank: usize) -> Floats {
    let shape = dims(x);
    if shape.len() >= rank {
        return x.clone();
    }
    let mut aligned = vec![1; rank - shape.len()];
    aligned.extend(shape);
    reshaped(x, aligned)
}

/// Reshapes a tensor; the number of elements must be equal.
pub(crate) fn reshaped(x: &Floats, shape: Vec<usize>) -> Floats {
    burn_op!(float_reshape(x; Shape::from(shape)))
}

#[derive(Debug)]
struct MatMul;

pub(crate) fn matmul(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(MatMul))
}

impl Operator for MatMul {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let (a, b) = (inputs.floats(0)?, inputs.floats(1)?);
        let (left, right) = (dims(a), dims(b));
        let result = match (left.len(), right.len()) {
            (0, _) | (_, 0) => return Err("does not accept scalars".to_owned()),
            // A row times a matrix, or a matrix times a column.
            (1, _) => {
                let row = reshaped(a, vec![1, left[0]]);
                let product = product(&row, &column_if_vector(b))?;
                let mut shape = dims(&product);
                shape.remove(shape.len() - 2);
                if right.len() == 1 {
                    shape.pop();
                }
                reshaped(&product, shape)
            }
            (_, 1) => {
                let product = product(a, &column_if_vector(b))?;
                let mut shape = dims(&product);
                shape.pop();
                reshaped(&product, shape)
            }
            _ => product(a, b)?,
        };
        Ok(vec![Value::Floats(result)])
    }
}

fn column_if_vector(b: &Floats) -> Floats {
    match dims(b)[..] {
        [length] => reshaped(b, vec![length, 1]),
        _ => b.clone(),
    }
}

/// Product of (batches of) matrices with two or more dimensions.
fn product(a: &Floats, b: &Floats) -> Result<Floats, String> {
    let (left, right) = (dims(a), dims(b));
    let (rank, columns) = (left.len().max(right.len()), right[right.len() - 1]);
    if right.len() == 2 {
        // All batches at once: one product of larger matrices.
        let rows = left[..left.len() - 1].iter().product();
        let flat = reshaped(a, vec![rows, left[left.len() - 1]]);
        let mut shape = left[..left.len() - 1].to_vec();
        shape.push(columns);
        return Ok(reshaped(&linear(&flat, b, None, false)?, shape));
    }
    check_inner(left[left.len() - 1], right[right.len() - 2], &left, &right)?;
    broadcast(&left[..left.len() - 2], &right[..right.len() - 2])?;
    let (a, b) = (align(a, rank), align(b, rank));
    Ok(burn_op!(float_matmul(a, b)))
}

fn check_inner(left: usize, right: usize, a: &[usize], b: &[usize]) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    Err(format!("multiplies shapes {a:?} and {b:?}, which do not match"))
}

/// x w + bias; x is `[rows, inputs]`, and w is `[inputs, outputs]`, or transposed.
pub(crate) fn linear(
    x: &Floats,
    weight: &Floats,
    bias: Option<&Floats>,
    is_transposed: bool,
) -> Result<Floats, String> {
    let (left, right) = (dims(x), dims(weight));
    check_inner(left[1], right[usize::from(is_transposed)], &left, &right)?;
    let function =
        Linear { x: x.primitive().clone(), weight: weight.primitive().clone(), is_transposed };
    let mut result = product_of(&function.x, &oriented(&function.weight, is_transposed));
    let Some(bias) = bias else { return Ok(record([x, weight], function, result)) };
    let outputs = dims(&result)[1];
    let row = Dense::of(bias.primitive());
    if outputs > 0 {
        for values in result.storage_mut::<f32>().chunks_exact_mut(outputs) {
            values.iter_mut().zip(row.values()).for_each(|(value, bias)| *value += bias);
        }
    }
    Ok(record([x, weight, bias], function, result))
}

fn product_of(a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
    Inner::float_matmul(a.clone(), b.clone())
}

fn oriented(weight: &FlexTensor, is_transposed: bool) -> FlexTensor {
    if is_transposed { weight.transpose(0, 1) } else { weight.clone() }
}

#[derive(Debug, Clone)]
struct Linear {
    x: FlexTensor,
    weight: FlexTensor,
    is_transposed: bool,
}

impl Linear {
    fn by_x(&self, gradient: &FlexTensor) -> FlexTensor {
        product_of(gradient, &oriented(&self.weight, !self.is_transposed))
    }

    fn by_weight(&self, gradient: &FlexTensor) -> FlexTensor {
        match self.is_transposed {
            true => product_of(&gradient.transpose(0, 1), &self.x),
            false => product_of(&self.x.transpose(0, 1), gradient),
        }
    }
}

impl Function<2> for Linear {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let by_x = wanted[0].then(|| self.by_x(&gradient));
        [by_x, wanted[1].then(|| self.by_weight(&gradient))]
    }
}

impl Function<3> for Linear {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let bias = wanted[2].then(|| sum_of_rows(&gradient));
        let weight = wanted[1].then(|| self.by_weight(&gradient));
        [wanted[0].then(|| self.by_x(&gradient)), weight, bias]
    }
}

/// Sum of each column.
fn sum_of_rows(matrix: &FlexTensor) -> FlexTensor {
    let columns = dims(matrix)[1];
    let matrix = Dense::of(matrix);
    let mut sums = vec![0.0; columns];
    if columns > 0 {
        for row in matrix.values().chunks_exact(columns) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
    tensor(&[columns], sums)
}
