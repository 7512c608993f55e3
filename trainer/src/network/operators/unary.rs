//! Unary functions: activations and others.

use crate::network::floats::{Dense, Floats, Function, Inner, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::{Value, int_values};
use burn_backend::ops::FloatTensorOps;
use burn_flex::FlexTensor;
use std::f32::consts::{FRAC_2_SQRT_PI, SQRT_2};

/// A unary function.
#[derive(Debug, Clone, Copy)]
enum Unary {
    Abs,
    Cos,
    Elu { alpha: f32 },
    Erf,
    Exp,
    Gelu,
    GeluTanh,
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
    LeakyRelu { alpha: f32 },
    Log,
    Neg,
    Reciprocal,
    Sigmoid,
    Sin,
    Softplus,
    Sqrt,
    Tanh,
    Clip { low: f32, high: f32 },
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    use Unary as U;
    let name = context.node.op_type();
    Ok(Box::new(match name {
        "Abs" => U::Abs,
        "Cos" => U::Cos,
        "Elu" => U::Elu { alpha: context.float("alpha", 1.0)? },
        "Erf" => U::Erf,
        "Exp" => U::Exp,
        "Gelu" => match context.node.text("approximate")?.unwrap_or("none") {
            "tanh" => U::GeluTanh,
            _ => U::Gelu,
        },
        "HardSigmoid" => U::HardSigmoid {
            alpha: context.float("alpha", 0.2)?,
            beta: context.float("beta", 0.5)?,
        },
        "HardSwish" => U::HardSwish,
        "LeakyRelu" => U::LeakyRelu { alpha: context.float("alpha", 0.01)? },
        "Log" => U::Log,
        "Neg" => U::Neg,
        "Reciprocal" => U::Reciprocal,
        "Sigmoid" => U::Sigmoid,
        "Sin" => U::Sin,
        "Softplus" => U::Softplus,
        "Sqrt" => U::Sqrt,
        "Tanh" => U::Tanh,
        _ => return Err(format!("is not a unary function: {name}").into()),
    }))
}

impl Operator for Unary {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        if let (Self::Neg, Value::Ints(x)) = (self, inputs.value(0)?) {
            let values = int_values(x).iter().map(|value| value.wrapping_neg()).collect();
            return Ok(vec![Value::ints(&dims(x), values)]);
        }
        let x = inputs.floats(0)?;
        let from = Dense::of(x.primitive());
        let result = match self {
            // `burn` has its own approximation of erf.
            Self::Erf => Inner::float_erf(from.tensor().clone()),
            Self::Gelu => gelu(&from),
            _ => tensor(&dims(x), from.values().iter().map(|x| self.of(*x)).collect()),
        };
        let function = Applied { unary: *self, x: from, result: Dense::of(&result) };
        Ok(vec![Value::Floats(record([x], function, result))])
    }
}

/// x/2 (1 + erf(x/√2)).
fn gelu(x: &Dense) -> FlexTensor {
    let halves = x.values().iter().map(|x| x / SQRT_2).collect();
    let errors = Dense::of(&Inner::float_erf(tensor(&dims(x.tensor()), halves)));
    let result = x.values().iter().zip(errors.values()).map(|(x, erf)| 0.5 * x * (1.0 + erf));
    tensor(&dims(x.tensor()), result.collect())
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// √(2/π) (x + 0.044715 x³), the argument of tanh in GELU's approximation.
fn gelu_inner(x: f32) -> f32 {
    FRAC_2_SQRT_PI / SQRT_2 * (x + 0.044_715 * x.powi(3))
}

impl Unary {
    /// Value at `x`.
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Abs => x.abs(),
            Self::Cos => x.cos(),
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            // These are computed for whole tensors.
            Self::Erf | Self::Gelu => x,
            Self::Exp => x.exp(),
            Self::GeluTanh => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Log => x.ln(),
            Self::Neg => -x,
            Self::Reciprocal => 1.0 / x,
            Self::Sigmoid => sigmoid(x),
            Self::Sin => x.sin(),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Sqrt => x.sqrt(),
            Self::Tanh => x.tanh(),
            Self::Clip { low, high } => x.max(low).min(high),
        }
    }

    /// Slope at `x`, where the value is `result`.
    fn slope(self, x: f32, result: f32) -> f32 {
        match self {
            Self::Abs => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            Self::Cos => -x.sin(),
            Self::Elu { alpha } => {
                if x < 0.0 {
                    result + alpha
                } else {
                    1.0
                }
            }
            Self::Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
            Self::Exp => result,
            Self::Gelu => {
                let share = if x == 0.0 { 0.5 } else { result / x };
                share + x * FRAC_2_SQRT_PI / SQRT_2 * 0.5 * (-0.5 * x * x).exp()
            }
            Self::GeluTanh => {
                let tanh = gelu_inner(x).tanh();
                let inner = FRAC_2_SQRT_PI / SQRT_2 * (1.0 + 3.0 * 0.044_715 * x * x);
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
            }
            Self::HardSigmoid { alpha, beta } => {
                let line = alpha * x + beta;
                if line > 0.0 && line < 1.0 { alpha } else { 0.0 }
            }
            Self::HardSwish => {
                if x <= -3.0 {
                    0.0
                } else if x >= 3.0 {
                    1.0
                } else {
                    x / 3.0 + 0.5
                }
            }
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha
                } else {
                    1.0
                }
            }
            Self::Log => 1.0 / x,
            Self::Neg => -1.0,
            Self::Reciprocal => -result * result,
            Self::Sigmoid => result * (1.0 - result),
            Self::Sin => x.cos(),
            Self::Softplus => sigmoid(x),
            Self::Sqrt => 0.5 / result,
            Self::Tanh => 1.0 - result * result,
            Self::Clip { low, high } => {
                if x < low || x > high {
                    0.0
                } else {
                    1.0
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Applied {
    unary: Unary,
    x: Dense,
    result: Dense,
}

impl Function<1> for Applied {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let points = self.x.values().iter().zip(self.result.values());
        let values = points.zip(gradient.values());
        let by_x = values.map(|((x, result), gradient)| gradient * self.unary.slope(*x, *result));
        [Some(tensor(&dims(self.x.tensor()), by_x.collect()))]
    }
}

/// `Clip`: bounds are attributes before version 11, inputs since.
#[derive(Debug)]
struct Clip {
    low: f32,
    high: f32,
}

pub(crate) fn clip(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let (low, high) = (context.float("min", f32::MIN)?, context.float("max", f32::MAX)?);
    Ok(Box::new(Clip { low, high }))
}

impl Operator for Clip {
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String> {
        let bound = |index: usize, otherwise: f32| -> Result<f32, String> {
            let given = inputs.floats_if_any(index)?.map(|bound| Dense::of(bound.primitive()));
            Ok(given.and_then(|given| given.values().first().copied()).unwrap_or(otherwise))
        };
        let (low, high) = (bound(1, self.low)?, bound(2, self.high)?);
        Unary::Clip { low, high }.run(inputs, pass)
    }
}

/// `Relu`; as the most common activation it has its own function.
#[derive(Debug)]
struct Relu;

pub(crate) fn relu(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Relu))
}

impl Operator for Relu {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        Ok(vec![Value::Floats(relu_of(x))])
    }
}

/// max(x, 0). NaN stays NaN, so that it is noticed.
pub(crate) fn relu_of(x: &Floats) -> Floats {
    let from = Dense::of(x.primitive());
    let result = from.values().iter().map(|x| if *x < 0.0 { 0.0 } else { *x }).collect();
    let result = tensor(&dims(x), result);
    record([x], Rectified(Dense::of(&result)), result)
}

#[derive(Debug, Clone)]
struct Rectified(Dense);

impl Function<1> for Rectified {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let pairs = self.0.values().iter().zip(gradient.values());
        let by_x = pairs.map(|(result, gradient)| if *result > 0.0 { *gradient } else { 0.0 });
        [Some(tensor(&dims(self.0.tensor()), by_x.collect()))]
    }
}
