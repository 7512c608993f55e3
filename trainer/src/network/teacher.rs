//! Knowledge distillation from a teacher model (Hinton, Vinyals and Dean, "Distilling the Knowledge
//! in a Neural Network", 2015, section 2).

use super::Network;
use super::floats::Dense;
use super::plan::RunTarget;
use super::value::Value;
use crate::batch::Input;
use crate::error::TrainError;

/// Settings of distillation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// Divisor of the logits: the higher, the more the less likely classes count.
    pub temperature: f32,
    /// Share of the teacher in the loss; the labels have the rest.
    pub share: f32,
}

/// A teacher model.
#[derive(Debug, Clone)]
pub(super) struct Teacher {
    network: Network,
    settings: Distillation,
}

/// Outputs of a teacher for a batch.
#[derive(Debug)]
pub(super) struct TeacherOutput {
    logits: Vec<f32>,
    settings: Distillation,
}

impl Teacher {
    /// A model with the parameters of its file.
    pub(super) fn new(mut network: Network, settings: Distillation) -> Result<Self, TrainError> {
        let parameters = network.parameters();
        network.load_parameters(&parameters)?;
        Ok(Self { network, settings })
    }

    /// Outputs for some rows.
    pub(super) fn predict(&self, input: &Input) -> Result<TeacherOutput, TrainError> {
        self.network.check(input)?;
        match self.network.run(input, RunTarget::Logits, &mut |_, _| {})? {
            Value::Floats(output) => {
                let logits = Dense::of(output.primitive()).values().to_vec();
                Ok(TeacherOutput { logits, settings: self.settings })
            }
            Value::Ints(_) => Err(TrainError::Data("the teacher outputs integers".to_owned())),
        }
    }
}

impl TeacherOutput {
    /// Mixes loss and gradient of the labels with those of the teacher's distribution. The
    /// divergence from that is multiplied by the square of the temperature, which balances the two
    /// at any temperature.
    pub(super) fn mix(
        &self,
        logits: &[f32],
        rows: usize,
        (loss, mut gradient): (f32, Vec<f32>),
    ) -> Result<(f32, Vec<f32>), TrainError> {
        let (output, target) = (logits.len(), self.logits.len());
        if output != target || output < rows {
            let problem = format!("the model outputs {output} numbers, but its teacher {target}");
            return Err(TrainError::Data(problem));
        }
        let Distillation { temperature, share } = self.settings;
        let (width, count) = (output / rows, rows as f32);
        let mut divergence = 0.0;
        let pairs = logits.chunks_exact(width).zip(self.logits.chunks_exact(width));
        for ((output, target), gradient) in pairs.zip(gradient.chunks_exact_mut(width)) {
            let (output, target) =
                (log_softmax(output, temperature), log_softmax(target, temperature));
            for ((output, target), gradient) in output.zip(target).zip(gradient) {
                let (student, teacher) = (output.exp(), target.exp());
                divergence += f64::from(teacher * (target - output));
                *gradient *= 1.0 - share;
                *gradient += share * temperature * (student - teacher) / count;
            }
        }
        let divergence = (divergence / rows as f64) as f32;
        Ok(((1.0 - share) * loss + share * temperature.powi(2) * divergence, gradient))
    }
}

/// Log-softmax of the logits divided by the temperature.
fn log_softmax(logits: &[f32], temperature: f32) -> impl Iterator<Item = f32> + use<'_> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| ((logit - most) / temperature).exp()).sum();
    logits.iter().map(move |logit| (logit - most) / temperature - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(output: &[f32], target: &[f32], settings: Distillation) -> (f32, Vec<f32>) {
        let teacher_output = TeacherOutput { logits: target.to_vec(), settings };
        let nothing = (1.0, vec![0.5; output.len()]);
        teacher_output.mix(output, 2, nothing).unwrap()
    }

    const SETTINGS: Distillation = Distillation { temperature: 3.0, share: 0.75 };

    #[test]
    fn a_student_equal_to_its_teacher_learns_from_the_labels_only() {
        let same = [1.0, 2.0, -3.0, 0.0, 5.0, 5.0];
        let (loss, gradient) = mix(&same, &same, SETTINGS);
        assert!((loss - 0.25).abs() < 1e-6, "{loss}");
        assert!(gradient.iter().all(|value| (value - 0.125).abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (output, target) = ([0.5, -1.0, 2.0, 0.0, 1.0, -0.5], [2.0, 0.0, 1.0, -1.0, 4.0, 0.0]);
        let alone = Distillation { share: 1.0, ..SETTINGS };
        let (_, gradient) = mix(&output, &target, alone);
        for index in 0..output.len() {
            let loss = |by: f32| {
                let mut moved = output;
                moved[index] += by;
                mix(&moved, &target, alone).0
            };
            let slope = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!((slope - gradient[index]).abs() < 1e-3, "{slope} {}", gradient[index]);
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (loss, gradient) = mix(&[1e4, -1e4, 0.0, 0.0], &[-1e4, 1e4, 0.0, 0.0], SETTINGS);
        assert!(loss.is_finite() && gradient.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_teacher_with_other_classes_is_rejected() {
        let teacher_output = TeacherOutput { logits: vec![0.0; 4], settings: SETTINGS };
        let message =
            teacher_output.mix(&[0.0; 6], 2, (0.0, vec![0.0; 6])).unwrap_err().to_string();
        assert!(message.contains("its teacher 4"), "{message}");
    }
}
