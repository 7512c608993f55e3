//! Adagrad: a learning rate for each parameter.

use crate::layout::{EntryKind, Layout};
use crate::optimizer::{Span, spans};
use std::ops::Range;

/// Adagrad over a range of the parameters: each has the learning rate `rate / sqrt(sum of squares
/// of its gradients)` (Duchi et al. 2011; Dean et al. 2012, section 4.1).
#[derive(Debug, Clone)]
pub struct Adagrad {
    range: Range<usize>,
    spans: Vec<Span>,
    squares: Vec<f32>,
    epsilon: f32,
}

impl Adagrad {
    /// Starts with sums of 0. `epsilon` is added to the root, so that a first gradient of zero does
    /// not divide by zero.
    pub fn new(layout: &Layout, range: Range<usize>, epsilon: f32) -> Self {
        let squares = vec![0.0; range.len()];
        Self { range, spans: spans(layout), squares, epsilon }
    }

    /// Sum of squared gradients of each parameter of the range.
    pub fn squares(&self) -> &[f32] {
        &self.squares
    }

    /// The sums, mutable for restoring.
    pub fn squares_mut(&mut self) -> &mut [f32] {
        &mut self.squares
    }

    /// Updates the parameters of the range; both slices cover the range only.
    pub fn step(&mut self, parameters: &mut [f32], gradients: &[f32], rate: f32) {
        for span in &self.spans {
            let Some(part) = span.within(&self.range) else { continue };
            let here = part.start - self.range.start..part.end - self.range.start;
            let moves = parameters[here.clone()].iter_mut().zip(&gradients[here.clone()]);
            if span.kind == EntryKind::Statistic {
                moves.for_each(|(parameter, fall)| *parameter -= fall);
                continue;
            }
            for ((parameter, gradient), square) in moves.zip(&mut self.squares[here]) {
                *square += gradient * gradient;
                *parameter -= rate * gradient / (square.sqrt() + self.epsilon);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_with_the_root_of_the_sum_of_squares() {
        let mut layout = Layout::default();
        layout.push("w", &[2], EntryKind::Weight);
        layout.push("mean", &[1], EntryKind::Statistic);
        let mut adagrad = Adagrad::new(&layout, 1..3, 0.0);
        let mut parameters = [1.0, 1.0];
        adagrad.step(&mut parameters, &[3.0, 0.5], 0.1);
        assert_eq!(parameters, [0.9, 0.5]);
        adagrad.step(&mut parameters, &[4.0, 0.5], 0.1);
        assert!((parameters[0] - (0.9 - 0.1 * 4.0 / 5.0)).abs() < 1e-6);
        assert_eq!(adagrad.squares(), [25.0, 0.0]);
    }
}
