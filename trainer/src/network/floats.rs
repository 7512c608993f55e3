//! Differentiable floating-point tensors, and functions of them.
//!
//! Tensors are `burn`'s, on the CPU; `burn`'s autodiff orders the backward pass. Most operators
//! have their own [`Function`], which is faster than a general one.

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::tensor::FloatTensor;
use burn_backend::{TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use std::fmt::Debug;

/// Backend without gradients.
pub(crate) type Inner = Flex;
/// Backend with gradients.
pub(crate) type Diff = Autodiff<Flex>;
/// A tensor of `f32`, tracked if its gradient is needed.
pub(crate) type Floats = FloatTensor<Diff>;

/// Calls a `burn` operation: with its gradient if a tensor is tracked, without otherwise.
macro_rules! burn_op {
    ($operation:ident($($tensor:expr),+ $(; $($more:expr),+)?)) => {
        if $($tensor.is_tracked())||+ {
            <$crate::network::floats::Diff as burn_backend::ops::FloatTensorOps<_>>::$operation(
                $($tensor.clone(),)+ $($($more),+)?
            )
        } else {
            $crate::network::floats::Floats::new(
                <$crate::network::floats::Inner as burn_backend::ops::FloatTensorOps<_>>
                    ::$operation($($tensor.primitive().clone(),)+ $($($more),+)?)
            )
        }
    };
}
pub(crate) use burn_op;

/// Creates a tensor from values in row-major order, as many as the shape requires.
pub(crate) fn tensor(shape: &[usize], values: Vec<f32>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Dimensions of a tensor.
pub(crate) fn dims(tensor: &impl TensorMetadata) -> Vec<usize> {
    tensor.shape().to_vec()
}

/// A contiguous tensor.
#[derive(Debug, Clone)]
pub(crate) struct Dense(FlexTensor);

impl Dense {
    /// Wraps `tensor`, copied if it is not contiguous.
    pub(crate) fn of(tensor: &FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() })
    }

    /// Values in row-major order.
    pub(crate) fn values(&self) -> &[f32] {
        let layout = self.0.layout();
        let start = layout.start_offset();
        &self.0.storage::<f32>()[start..start + layout.num_elements()]
    }

    /// The tensor.
    pub(crate) fn tensor(&self) -> &FlexTensor {
        &self.0
    }
}

/// Number of independent partial sums. A single one would wait for each addition, and be less
/// exact.
const LANES: usize = 16;

/// Sum of `each` over pairs of numbers.
pub(crate) fn sum_of_pairs(a: &[f32], b: &[f32], each: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| each(*a, *b)).sum();
    for (a, b) in a.zip(b) {
        let pairs = lanes.iter_mut().zip(a.iter().zip(b));
        pairs.for_each(|(lane, (a, b))| *lane += each(*a, *b));
    }
    lanes.iter().sum::<f32>() + rest
}

/// Sum of `each` over numbers.
pub(crate) fn sum_of(values: &[f32], each: impl Fn(f32) -> f32) -> f32 {
    sum_of_pairs(values, values, |value, _| each(value))
}

/// Backward function of a value computed from `N` inputs.
pub(crate) trait Function<const N: usize>: Clone + Send + Debug + 'static {
    /// Computes the gradients by the `wanted` inputs from the `gradient` by the result.
    fn gradients(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// Records how gradients of the value `result` flow back to its `inputs`.
pub(crate) fn record<const N: usize>(
    inputs: [&Floats; N],
    function: impl Function<N>,
    result: FlexTensor,
) -> Floats {
    if !inputs.iter().any(|input| input.is_tracked()) {
        return Floats::new(result);
    }
    let nodes = inputs.map(|input| input.node());
    let step = Step::<_>(std::marker::PhantomData);
    let prepared = Backward::<Inner, N>::prepare::<NoCheckpointing>(step, nodes).compute_bound();
    match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(function, result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    }
}

/// Step of the backward pass that calls a [`Function`].
#[derive(Debug)]
struct Step<F>(std::marker::PhantomData<F>);

impl<const N: usize, F: Function<N>> Backward<Inner, N> for Step<F> {
    type State = F;

    fn backward(self, ops: Ops<F, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Inner>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let result = ops.state.gradients(gradient, wanted);
        for (parent, result) in ops.parents.iter().zip(result) {
            if let (Some(parent), Some(result)) = (parent, result) {
                gradients.register::<Inner>(parent.id, result);
            }
        }
    }
}
