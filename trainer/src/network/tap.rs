//! Gives each parameter's gradient away as soon as the backward pass has it.
//!
//! The backward pass goes by depth: a step comes before all of less depth. A tap lies on the way
//! from a parameter to its first user, and is as deep as that user's other inputs; so it comes
//! right after the user, not at the end with all the others.

use super::floats::{Floats, Function, record};
use burn_flex::FlexTensor;
use std::sync::mpsc::Sender;

/// A gradient, and the entry of the layout that it belongs to.
pub(crate) type Found = (usize, FlexTensor);

/// The parameter that is `held` as one whose gradient is sent to `sender`; `beside` it lie the
/// other inputs of its first user.
pub(crate) fn tapped(
    held: &FlexTensor,
    beside: Option<&Floats>,
    entry: usize,
    sender: &Sender<Found>,
) -> Floats {
    let parameter = Floats::new(held.clone()).require_grad();
    let tap = Tap { entry, sender: sender.clone() };
    match beside {
        Some(beside) => record([&parameter, beside], tap, held.clone()),
        None => record([&parameter], tap, held.clone()),
    }
}

#[derive(Debug, Clone)]
struct Tap {
    entry: usize,
    sender: Sender<Found>,
}

impl Tap {
    /// Nobody may listen any more after an error; then there is nothing to say either.
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
