//! `Dropout`: random zeros during training only (Srivastava et al., JMLR 2014).

use crate::network::floats::{Dense, Function, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::Value;
use burn_flex::FlexTensor;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Default ratio (ONNX, `Dropout`).
const RATIO: f32 = 0.5;

#[derive(Debug)]
struct Dropout {
    /// Attribute of old versions, replaced by an input.
    ratio: Option<f32>,
    index: usize,
}

pub(crate) fn compile(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    if context.node.outputs().get(1).is_some_and(|name| !name.is_empty()) {
        return Err("with a mask as output is not supported".to_owned().into());
    }
    Ok(Box::new(Dropout { ratio: context.node.float("ratio")?, index: context.index }))
}

impl Operator for Dropout {
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let given = inputs.floats_if_any(1)?.map(|ratio| Dense::of(ratio.primitive()));
        let given = given.and_then(|ratio| ratio.values().first().copied());
        let ratio = given.or(self.ratio).unwrap_or(RATIO);
        if !(0.0..1.0).contains(&ratio) {
            return Err(format!("has ratio {ratio}, which is not from 0 to below 1"));
        }
        let Some(seed) = pass.seed.filter(|_| ratio > 0.0) else {
            return Ok(vec![Value::Floats(x.clone())]);
        };
        let mut random = SmallRng::seed_from_u64(seed.wrapping_add(self.index as u64));
        let factor = 1.0 / (1.0 - ratio);
        let values = Dense::of(x.primitive());
        let mut draw = |_: &f32| if random.random::<f32>() < ratio { 0.0 } else { factor };
        let mask = values.values().iter().map(&mut draw).collect();
        let mask = Mask(Dense::of(&tensor(&dims(x), mask)));
        let result = mask.times(values.values());
        Ok(vec![Value::Floats(record([x], mask, result))])
    }
}

#[derive(Debug, Clone)]
struct Mask(Dense);

impl Mask {
    fn times(&self, x: &[f32]) -> FlexTensor {
        let result = x.iter().zip(self.0.values()).map(|(x, factor)| x * factor).collect();
        tensor(&dims(self.0.tensor()), result)
    }
}

impl Function<1> for Mask {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.times(Dense::of(&gradient).values()))]
    }
}
