//! `SparseMatMul` and `Int8MatMul`: products along the last dimension of `x`.

use super::{INT8_MATMUL, Pool, ScratchPool, attributes, error, guarded, optional};
use crate::{Activation, Finish, Int8Matrix, KernelError, Parallel, Scratch, SparseMatrix};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{Shape, TensorElementType, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

/// A matrix of an operator.
pub(super) trait Matrix: Send + Sync + 'static {
    /// Name of the operator.
    const OPERATOR: &'static str;

    /// True if ONNX Runtime learns the shape of the output.
    const INFERS_SHAPE: bool;

    fn outputs(&self) -> usize;

    fn inputs(&self) -> usize;

    fn multiply(
        &self,
        x: &[f32],
        y: &mut [f32],
        finish: Finish<'_>,
        scratch: &mut Scratch,
        threads: &impl Parallel,
    ) -> Result<(), KernelError>;
}

/// Implements `Matrix` for a matrix of this crate.
macro_rules! matrix {
    ($matrix:ty, $operator:expr, $infers_shape:expr) => {
        impl Matrix for $matrix {
            const OPERATOR: &'static str = $operator;
            const INFERS_SHAPE: bool = $infers_shape;

            fn outputs(&self) -> usize {
                self.outputs()
            }

            fn inputs(&self) -> usize {
                self.inputs()
            }

            fn multiply(
                &self,
                x: &[f32],
                y: &mut [f32],
                finish: Finish<'_>,
                scratch: &mut Scratch,
                threads: &impl Parallel,
            ) -> Result<(), KernelError> {
                self.multiply(x, y, finish, scratch, threads)
            }
        }
    };
}
matrix!(SparseMatrix, "SparseMatMul", true);
// With known shapes, ONNX Runtime would fuse additions and normalizations behind such products into
// `SkipLayerNormalization`, which takes four times as long as both.
matrix!(Int8Matrix, INT8_MATMUL, false);

/// The operator, with the matrices that nodes may name.
pub(super) struct MatMul<M> {
    pub(super) weights: HashMap<String, Arc<M>>,
    pub(super) scratch: ScratchPool,
}

impl<M: Matrix> MatMul<M> {
    fn matrix(&self, name: &str) -> Result<&Arc<M>, KernelError> {
        self.weights.get(name).ok_or_else(|| KernelError::Missing(name.to_owned()))
    }
}

impl<M: Matrix> Operator for MatMul<M> {
    type Kernel<'attr> = MatMulKernel<M>;

    fn name(&self) -> &str {
        M::OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [OperatorInput::required(float), OperatorInput::optional(float)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<MatMulKernel<M>> {
        let name = attributes::weight(context).map_err(error)?;
        Ok(MatMulKernel {
            matrix: Arc::clone(self.matrix(&name).map_err(error)?),
            activation: attributes::activation(context).map_err(error)?,
            scratch: self.scratch.clone(),
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        if !M::INFERS_SHAPE {
            return Ok(());
        }
        let matrix = self.matrix(&context.attr::<String>("weight")?).map_err(error)?;
        let Some(ValueType::Tensor { ty, mut shape, dimension_symbols }) =
            context.inputs().into_iter().next()
        else {
            return Ok(());
        };
        // An unknown shape stays open.
        let Some(last) = shape.last_mut() else { return Ok(()) };
        *last = matrix.outputs() as i64;
        let mut symbols = dimension_symbols.to_vec();
        symbols.iter_mut().rev().take(1).for_each(String::clear);
        let dimension_symbols = symbols.into_iter().collect();
        context.set_output(0, &ValueType::Tensor { ty, shape, dimension_symbols })
    }
}

/// Kernel of one node.
pub(super) struct MatMulKernel<M> {
    matrix: Arc<M>,
    activation: Activation,
    scratch: ScratchPool,
}

impl<M: Matrix> Kernel for MatMulKernel<M> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(|| self.run(context))
    }
}

impl<M: Matrix> MatMulKernel<M> {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let x = optional(context, 0)?.ok_or_else(|| ort::Error::new("there is no input"))?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let bias = optional(context, 1)?;
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?;
        let shape = self.output_shape(shape)?;
        let y = context.output(0, shape)?;
        let mut y = y.ok_or_else(|| ort::Error::new("there is no output"))?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        let finish = Finish { bias: bias.map(|(_, bias)| bias), activation: self.activation };
        let threads = Pool(context);
        let run =
            self.scratch.with(|scratch| self.matrix.multiply(x, y, finish, scratch, &threads));
        run.map_err(error)
    }

    fn output_shape(&self, shape: &Shape) -> ort::Result<Shape> {
        let inputs = self.matrix.inputs();
        let mut output = shape.clone();
        match output.last_mut() {
            Some(last) if usize::try_from(*last) == Ok(inputs) => {
                *last = self.matrix.outputs() as i64;
                Ok(output)
            }
            _ => Err(ort::Error::new(format!(
                "the input is {shape:?}; its last dimension must be {inputs}"
            ))),
        }
    }
}
