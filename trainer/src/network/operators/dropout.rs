//! `Dropout`: zeros at random while learning, nothing after (Srivastava et al., JMLR 2014).

use crate::network::floats::{Dense, Function, dims, record, tensor};
use crate::network::operator::{Call, Inputs, Operator, Refusal};
use crate::network::pass::Pass;
use crate::network::value::Value;
use burn_flex::FlexTensor;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What is dropped where the node does not say (ONNX, `Dropout`).
const RATIO: f32 = 0.5;

#[derive(Debug)]
struct Dropout {
    /// The attribute of old versions, which an input has taken the place of.
    ratio: Option<f32>,
    index: usize,
}

pub(crate) fn compile(call: &Call<'_>) -> Result<Box<dyn Operator>, Refusal> {
    if call.node.outputs().get(1).is_some_and(|name| !name.is_empty()) {
        return Err("that gives its mask is not supported".to_owned().into());
    }
    Ok(Box::new(Dropout { ratio: call.node.float("ratio")?, index: call.index }))
}

impl Operator for Dropout {
    fn run(&self, inputs: &Inputs, pass: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let given = inputs.floats_if_any(1)?.map(|ratio| Dense::of(ratio.primitive()));
        let given = given.and_then(|ratio| ratio.values().first().copied());
        let ratio = given.or(self.ratio).unwrap_or(RATIO);
        if !(0.0..1.0).contains(&ratio) {
            return Err(format!("drops a share of {ratio}, not one of 0 up to 1"));
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
        let made = mask.times(values.values());
        Ok(vec![Value::Floats(record([x], mask, made))])
    }
}

#[derive(Debug, Clone)]
struct Mask(Dense);

impl Mask {
    fn times(&self, x: &[f32]) -> FlexTensor {
        let made = x.iter().zip(self.0.values()).map(|(x, factor)| x * factor).collect();
        tensor(&dims(self.0.tensor()), made)
    }
}

impl Function<1> for Mask {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.times(Dense::of(&gradient).values()))]
    }
}
