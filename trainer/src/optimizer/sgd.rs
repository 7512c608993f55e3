//! Stochastic gradient descent with momentum.

use crate::layout::{EntryKind, Layout};
use crate::optimizer::{Span, spans};
use std::ops::Range;

/// Settings of stochastic gradient descent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SgdSettings {
    /// Share of the last step's velocity that is kept; 0 for none.
    pub momentum: f32,
    /// True for Nesterov momentum: the gradient counts as if the velocity had been applied.
    pub nesterov: bool,
    /// Share of each weight that is added to its gradient.
    pub weight_decay: f32,
}

/// Stochastic gradient descent: `u = momentum·u + g`, `w = w - rate·u`.
///
/// This is equation 9 of Goyal et al. 2017: the velocity does not include the rate. So a change of
/// the rate needs no correction, unlike in equation 10.
#[derive(Debug, Clone)]
pub struct Sgd {
    settings: SgdSettings,
    spans: Vec<Span>,
    velocity: Vec<f32>,
}

impl Sgd {
    /// Starts with a velocity of 0.
    pub fn new(layout: &Layout, settings: SgdSettings) -> Self {
        let len = if settings.momentum == 0.0 { 0 } else { layout.len() };
        Self { settings, spans: spans(layout), velocity: vec![0.0; len] }
    }

    /// Velocity of each parameter; empty without momentum.
    pub fn velocity(&self) -> &[f32] {
        &self.velocity
    }

    /// The velocity, mutable for restoring.
    pub fn velocity_mut(&mut self) -> &mut [f32] {
        &mut self.velocity
    }

    /// Updates all parameters.
    pub fn step(&mut self, parameters: &mut [f32], gradients: &[f32], rate: f32) {
        let all = 0..parameters.len().min(gradients.len());
        self.step_range(all.clone(), &mut parameters[all.clone()], &gradients[all], 1.0, rate);
    }

    /// Updates the parameters of `range` by `scale` times the gradients; both slices cover the
    /// range only.
    pub fn step_range(
        &mut self,
        range: Range<usize>,
        parameters: &mut [f32],
        gradients: &[f32],
        scale: f32,
        rate: f32,
    ) {
        for span in &self.spans {
            let Some(part) = span.within(&range) else { continue };
            let here = part.start - range.start..part.end - range.start;
            let (parameters, gradients) = (&mut parameters[here.clone()], &gradients[here]);
            let mut rule = self.settings;
            if span.kind != EntryKind::Weight {
                rule.weight_decay = 0.0;
            }
            if span.kind == EntryKind::Statistic {
                step_plain(parameters, gradients, rule, scale, 1.0);
            } else if self.velocity.is_empty() {
                step_plain(parameters, gradients, rule, scale, rate);
            } else {
                step_momentum(parameters, gradients, &mut self.velocity[part], rule, (scale, rate));
            }
        }
    }
}

fn step_plain(parameters: &mut [f32], gradients: &[f32], rule: SgdSettings, scale: f32, rate: f32) {
    for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
        *parameter -= rate * (scale * gradient + rule.weight_decay * *parameter);
    }
}

fn step_momentum(
    parameters: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
    rule: SgdSettings,
    (scale, rate): (f32, f32),
) {
    let SgdSettings { momentum, nesterov, weight_decay } = rule;
    let ahead = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
    for ((parameter, gradient), velocity) in parameters.iter_mut().zip(gradients).zip(velocity) {
        let gradient = scale * gradient + weight_decay * *parameter;
        *velocity = momentum * *velocity + gradient;
        *parameter -= rate * (ahead.0 * gradient + ahead.1 * *velocity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        layout.push("w", &[2], EntryKind::Weight);
        layout.push("b", &[1], EntryKind::Bias);
        layout.push("mean", &[1], EntryKind::Statistic);
        layout
    }

    #[test]
    fn decay_applies_to_weights_only_and_statistics_move_by_their_gradient() {
        let settings = SgdSettings { momentum: 0.9, nesterov: false, weight_decay: 0.5 };
        let mut sgd = Sgd::new(&layout(), settings);
        let mut parameters = [1.0, 2.0, 3.0, 4.0];
        for _ in 0..2 {
            sgd.step(&mut parameters, &[0.0, 0.0, 0.0, 0.25], 0.1);
        }
        assert_eq!(parameters[2..], [3.0, 3.5]);
        // 1 - 0.1·0.5, then a velocity of 0.9·0.5 + 0.5·0.95.
        assert!((parameters[0] - (0.95 - 0.1 * (0.45 + 0.475))).abs() < 1e-6);
    }

    /// Equation 10 of Goyal et al. with its correction equals equation 9.
    #[test]
    fn a_changed_rate_is_corrected_for() {
        let momentum = 0.9;
        let mut layout = Layout::default();
        layout.push("w", &[1], EntryKind::Weight);
        let mut sgd = Sgd::new(&layout, SgdSettings { momentum, ..SgdSettings::default() });
        let (mut ours, mut theirs, mut velocity, mut last) = ([1.0_f32], 1.0_f32, 0.0, 0.1);
        for (step, rate) in [0.1, 0.1, 0.4, 0.4, 0.01].into_iter().enumerate() {
            let gradient = 0.3 * step as f32 - 0.5;
            sgd.step(&mut ours, &[gradient], rate);
            velocity = momentum * (rate / last) * velocity + rate * gradient;
            theirs -= velocity;
            last = rate;
        }
        assert!((ours[0] - theirs).abs() < 1e-6, "{} and {theirs}", ours[0]);
    }

    #[test]
    fn nesterov_looks_ahead() {
        let settings = SgdSettings { momentum: 0.5, nesterov: true, weight_decay: 0.0 };
        let mut layout = Layout::default();
        layout.push("w", &[1], EntryKind::Weight);
        let mut sgd = Sgd::new(&layout, settings);
        let mut parameters = [0.0];
        sgd.step(&mut parameters, &[1.0], 1.0);
        assert_eq!(parameters, [-1.5]);
        sgd.step(&mut parameters, &[1.0], 1.0);
        assert_eq!(parameters, [-1.5 - (1.0 + 0.5 * 1.5)]);
    }

    #[test]
    fn stepping_by_ranges_equals_stepping_at_once() {
        let settings = SgdSettings { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
        let (mut whole, mut parts) = (Sgd::new(&layout(), settings), Sgd::new(&layout(), settings));
        let (mut a, mut b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]);
        let gradients = [0.1, 0.2, 0.3, 0.4];
        for _ in 0..3 {
            whole.step(&mut a, &gradients, 0.1);
            parts.step_range(1..4, &mut b[1..4], &gradients[1..4], 1.0, 0.1);
            parts.step_range(0..1, &mut b[..1], &gradients[..1], 1.0, 0.1);
        }
        assert_eq!(a, b);
    }
}
