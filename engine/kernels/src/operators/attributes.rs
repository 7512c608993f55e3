//! Attributes of the operators.

use crate::{Activation, KernelError};
use ort::operator::KernelContext;

/// Name of a node's weights.
pub(super) fn weight(context: &KernelContext<'_>) -> Result<String, KernelError> {
    context.get("weight").ok_or_else(|| KernelError::Missing(String::new()))
}

/// Activation of a node.
pub(super) fn activation(context: &KernelContext<'_>) -> Result<Activation, KernelError> {
    let number = |name: &str, default: f32| context.get(name).unwrap_or(default);
    match context.get::<String>("activation").as_deref() {
        None | Some("") => Ok(Activation::None),
        Some("Relu") => Ok(Activation::Relu),
        Some("LeakyRelu") => Ok(Activation::LeakyRelu { slope: number("slope", 0.01) }),
        Some("Clip") => {
            let (low, high) = (number("low", f32::MIN), number("high", f32::MAX));
            Ok(Activation::Clip { low, high })
        }
        Some(other) => Err(KernelError::Activation(other.to_owned())),
    }
}
