//! Taps that pass on each parameter's gradient as soon as the backward pass has it.
//!
//! The backward pass orders steps by depth, the deepest first. A tap lies between a parameter and
//! its first consumer, and is as deep as that consumer's other inputs. It therefore runs right
//! after the consumer, not at the end.

use super::floats::{Floats, Function, record};
use burn_flex::FlexTensor;
use std::sync::mpsc::Sender;

/// Index of a layout entry, and its gradient.
pub(crate) type EntryGradient = (usize, FlexTensor);

/// Wraps a parameter so that its gradient is sent to `sender`; `sibling` is another input of its
/// first consumer.
pub(crate) fn with_tap(
    value: &FlexTensor,
    sibling: Option<&Floats>,
    entry: usize,
    sender: &Sender<EntryGradient>,
) -> Floats {
    let parameter = Floats::new(value.clone()).require_grad();
    let tap = Tap { entry, sender: sender.clone() };
    match sibling {
        Some(sibling) => record([&parameter, sibling], tap, value.clone()),
        None => record([&parameter], tap, value.clone()),
    }
}

#[derive(Debug, Clone)]
struct Tap {
    entry: usize,
    sender: Sender<EntryGradient>,
}

impl Tap {
    /// Sends the gradient; after an error there is no receiver.
    fn send(self, gradient: FlexTensor) {
        self.sender.send((self.entry, gradient)).unwrap_or_default();
    }
}

impl Function<1> for Tap {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        self.send(gradient);
        [None]
    }
}

impl Function<2> for Tap {
    fn gradients(self, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        self.send(gradient);
        [None, None]
    }
}
