//! `SparseConv`: a convolution with sparse kernels, a residual and an activation.

use super::{Pool, ScratchPool, attributes, error, guarded, optional};
use crate::{Activation, ConvInput, Finish, Images, KernelError, SparseConv};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{Shape, TensorElementType, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

/// The operator, with the convolutions that nodes may name.
pub(super) struct Conv {
    pub(super) weights: HashMap<String, Arc<SparseConv>>,
    pub(super) scratch: ScratchPool,
}

impl Conv {
    fn convolution(&self, name: &str) -> Result<&Arc<SparseConv>, KernelError> {
        self.weights.get(name).ok_or_else(|| KernelError::Missing(name.to_owned()))
    }
}

impl Operator for Conv {
    type Kernel<'attr> = ConvKernel;

    fn name(&self) -> &str {
        "SparseConv"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        let optional = || OperatorInput::optional(float);
        [OperatorInput::required(float), optional(), optional()]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<ConvKernel> {
        let name = attributes::weight(context).map_err(error)?;
        Ok(ConvKernel {
            conv: Arc::clone(self.convolution(&name).map_err(error)?),
            activation: attributes::activation(context).map_err(error)?,
            scratch: self.scratch.clone(),
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let conv = self.convolution(&context.attr::<String>("weight")?).map_err(error)?;
        let Some(ValueType::Tensor { ty, shape, dimension_symbols }) =
            context.inputs().into_iter().next()
        else {
            return Ok(());
        };
        // An unknown or wrong shape is left open; a wrong one fails when it runs.
        let Some(output) = known_output(conv, &shape) else { return Ok(()) };
        let known = dimension_symbols.iter().enumerate();
        let symbol = |(index, symbol): (usize, &String)| {
            if index == 0 { symbol.clone() } else { String::new() }
        };
        let dimension_symbols = known.map(symbol).collect();
        context.set_output(0, &ValueType::Tensor { ty, shape: output, dimension_symbols })
    }
}

/// Shape of the output, as far as that of the input is known: unknown dimensions are -1.
fn known_output(conv: &SparseConv, shape: &Shape) -> Option<Shape> {
    let known = |size: i64, other: usize| usize::try_from(size).unwrap_or(other);
    let reach = |i: usize| (conv.convolution().kernel[i] - 1) * conv.convolution().dilations[i] + 1;
    let mut output = shape.clone();
    let (height, width) = match shape[..] {
        [_, _, width] => (1, width),
        [_, _, height, width] => (height, width),
        _ => return None,
    };
    let images =
        Images { count: 1, height: known(height, reach(0)), width: known(width, reach(1)) };
    let size = conv.convolution().output(images).ok()?;
    let rank = output.len();
    output[1] = conv.outputs() as i64;
    if rank == 4 && height >= 0 {
        output[2] = size.height as i64;
    }
    if width >= 0 {
        output[rank - 1] = size.width as i64;
    }
    Some(output)
}

/// Kernel of one node.
pub(super) struct ConvKernel {
    conv: Arc<SparseConv>,
    activation: Activation,
    scratch: ScratchPool,
}

impl Kernel for ConvKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        guarded(|| self.run(context))
    }
}

impl ConvKernel {
    fn run(&self, context: &ComputeContext) -> ort::Result<()> {
        let x = optional(context, 0)?.ok_or_else(|| ort::Error::new("there is no input"))?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let (bias, residual) = (optional(context, 1)?, optional(context, 2)?);
        let bias = bias.as_ref().map(|bias| bias.try_extract_tensor::<f32>()).transpose()?;
        let residual = residual.as_ref().map(|it| it.try_extract_tensor::<f32>()).transpose()?;
        let images = self.images(shape)?;
        let shape = self.output_shape(shape, images)?;
        if let Some((added, _)) = residual.as_ref().filter(|(added, _)| **added != shape) {
            return Err(ort::Error::new(format!("what is added is {added:?}, not {shape:?}")));
        }
        let y = context.output(0, shape)?;
        let mut y = y.ok_or_else(|| ort::Error::new("there is no output"))?;
        let (_, y) = y.try_extract_tensor_mut::<f32>()?;
        let finish = Finish { bias: bias.map(|(_, bias)| bias), activation: self.activation };
        let input = ConvInput { x, images, residual: residual.map(|(_, residual)| residual) };
        let threads = Pool(context);
        let run =
            self.scratch.with(|scratch| self.conv.convolve(input, y, finish, scratch, &threads));
        run.map_err(error)
    }

    fn images(&self, shape: &Shape) -> ort::Result<Images> {
        let channels = self.conv.convolution().channels;
        let size = |size: i64| usize::try_from(size).unwrap_or(0);
        match shape[..] {
            [count, depth, width] if size(depth) == channels => {
                Ok(Images { count: size(count), height: 1, width: size(width) })
            }
            [count, depth, height, width] if size(depth) == channels => {
                Ok(Images { count: size(count), height: size(height), width: size(width) })
            }
            _ => Err(ort::Error::new(format!(
                "the input is {shape:?}; it must be images of {channels} channels"
            ))),
        }
    }

    fn output_shape(&self, input: &Shape, images: Images) -> ort::Result<Shape> {
        let size = self.conv.convolution().output(images).map_err(error)?;
        let mut output = input.clone();
        let rank = output.len();
        output[1] = self.conv.outputs() as i64;
        output[rank - 1] = size.width as i64;
        if rank == 4 {
            output[2] = size.height as i64;
        }
        Ok(output)
    }
}
