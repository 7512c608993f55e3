//! Floating-point tensors that gradients can flow through, and functions of them.
//!
//! A tensor lies in one of `burn`'s, on the processor; `burn`'s autodiff keeps the order of the
//! backward pass. Most operators bring their own [`Function`]: what is slow in general is fast
//! where one knows what it computes.

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::tensor::FloatTensor;
use burn_backend::{TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use std::fmt::Debug;

/// Tensors without gradients.
pub(crate) type Inner = Flex;
/// Tensors with gradients.
pub(crate) type Diff = Autodiff<Flex>;
/// A tensor of `f32`, tracked where a gradient is wanted of it.
pub(crate) type Floats = FloatTensor<Diff>;

/// Calls an operation of `burn` on tracked tensors with its own gradient, on others without any.
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

/// A tensor of these values in row-major order, as many as its dimensions say.
pub(crate) fn tensor(shape: &[usize], values: Vec<f32>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// A tensor's dimensions.
pub(crate) fn dims(tensor: &impl TensorMetadata) -> Vec<usize> {
    tensor.shape().to_vec()
}

/// A tensor whose values lie one after another.
#[derive(Debug, Clone)]
pub(crate) struct Dense(FlexTensor);

impl Dense {
    /// The values of `tensor`, copied where they do not lie in order.
    pub(crate) fn of(tensor: &FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() })
    }

    /// Its values in row-major order.
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

/// Sums that go on side by side: a lone one waits for each addition, and is less exact.
const LANES: usize = 16;

/// The sum of what `each` makes of pairs of numbers.
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

/// The sum of what `each` makes of numbers.
pub(crate) fn sum_of(values: &[f32], each: impl Fn(f32) -> f32) -> f32 {
    sum_of_pairs(values, values, |value, _| each(value))
}

/// What the backward pass does for a value that was computed from `N` others.
pub(crate) trait Function<const N: usize>: Clone + Send + Debug + 'static {
    /// The gradient by each input that one is `wanted` of, from the `gradient` by the result.
    fn gradients(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// The value `made` of `inputs`, with how gradients go back to these.
pub(crate) fn record<const N: usize>(
    inputs: [&Floats; N],
    function: impl Function<N>,
    made: FlexTensor,
) -> Floats {
    if !inputs.iter().any(|input| input.is_tracked()) {
        return Floats::new(made);
    }
    let nodes = inputs.map(|input| input.node());
    let step = Step::<_>(std::marker::PhantomData);
    let prepared = Backward::<Inner, N>::prepare::<NoCheckpointing>(step, nodes).compute_bound();
    match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(function, made),
        OpsKind::UnTracked(prepared) => prepared.finish(made),
    }
}

/// A step of the backward pass that asks a function.
#[derive(Debug)]
struct Step<F>(std::marker::PhantomData<F>);

impl<const N: usize, F: Function<N>> Backward<Inner, N> for Step<F> {
    type State = F;

    fn backward(self, ops: Ops<F, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Inner>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let made = ops.state.gradients(gradient, wanted);
        for (parent, made) in ops.parents.iter().zip(made) {
            if let (Some(parent), Some(made)) = (parent, made) {
                gradients.register::<Inner>(parent.id, made);
            }
        }
    }
}
