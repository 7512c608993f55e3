//! What a trained model teaches another: which class it sees, and which ones it nearly saw (Hinton,
//! Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2).

use super::Network;
use super::floats::Dense;
use super::plan::Until;
use super::value::Value;
use crate::batch::Input;
use crate::error::TrainError;

/// How much a model learns from another, and how that one is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// What logits are divided by before they are compared: the higher, the more the lesser classes
    /// count.
    pub temperature: f32,
    /// What part of the loss the teacher has; the labels have the rest.
    pub share: f32,
}

/// A model that another one learns from.
#[derive(Debug, Clone)]
pub(super) struct Teacher {
    network: Network,
    how: Distillation,
}

/// What a teacher makes of a batch.
#[derive(Debug)]
pub(super) struct Lesson {
    logits: Vec<f32>,
    how: Distillation,
}

impl Teacher {
    /// A model with the parameters of its file.
    pub(super) fn new(mut network: Network, how: Distillation) -> Result<Self, TrainError> {
        let parameters = network.parameters();
        network.hold(&parameters)?;
        Ok(Self { network, how })
    }

    /// What it makes of some examples.
    pub(super) fn lesson(&self, input: &Input) -> Result<Lesson, TrainError> {
        self.network.check(input)?;
        match self.network.run(input, Until::Logits, &mut |_, _| {})? {
            Value::Floats(made) => {
                let logits = Dense::of(made.primitive()).values().to_vec();
                Ok(Lesson { logits, how: self.how })
            }
            Value::Ints(_) => Err(TrainError::Data("the teacher makes integers".to_owned())),
        }
    }
}

impl Lesson {
    /// The loss and the gradient of the labels, mixed with those of the lesson: the divergence from
    /// the teacher's distribution, times the square of the temperature, so that the two weigh alike
    /// at any.
    pub(super) fn mixed(
        &self,
        logits: &[f32],
        rows: usize,
        (loss, mut gradient): (f32, Vec<f32>),
    ) -> Result<(f32, Vec<f32>), TrainError> {
        let (made, taught) = (logits.len(), self.logits.len());
        if made != taught || made < rows {
            let problem = format!("the model makes {made} numbers, and its teacher {taught}");
            return Err(TrainError::Data(problem));
        }
        let Distillation { temperature, share } = self.how;
        let (width, count) = (made / rows, rows as f32);
        let mut divergence = 0.0;
        let pairs = logits.chunks_exact(width).zip(self.logits.chunks_exact(width));
        for ((made, taught), gradient) in pairs.zip(gradient.chunks_exact_mut(width)) {
            let (made, taught) = (softened(made, temperature), softened(taught, temperature));
            for ((made, taught), gradient) in made.zip(taught).zip(gradient) {
                let (student, teacher) = (made.exp(), taught.exp());
                divergence += f64::from(teacher * (taught - made));
                *gradient *= 1.0 - share;
                *gradient += share * temperature * (student - teacher) / count;
            }
        }
        let divergence = (divergence / rows as f64) as f32;
        Ok(((1.0 - share) * loss + share * temperature.powi(2) * divergence, gradient))
    }
}

/// The logarithms of the softmax of logits that are divided by the temperature.
fn softened(logits: &[f32], temperature: f32) -> impl Iterator<Item = f32> + use<'_> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| ((logit - most) / temperature).exp()).sum();
    logits.iter().map(move |logit| (logit - most) / temperature - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(made: &[f32], taught: &[f32], how: Distillation) -> (f32, Vec<f32>) {
        let lesson = Lesson { logits: taught.to_vec(), how };
        let nothing = (1.0, vec![0.5; made.len()]);
        lesson.mixed(made, 2, nothing).unwrap()
    }

    const HOW: Distillation = Distillation { temperature: 3.0, share: 0.75 };

    #[test]
    fn who_knows_all_that_the_teacher_knows_learns_from_the_labels_alone() {
        let same = [1.0, 2.0, -3.0, 0.0, 5.0, 5.0];
        let (loss, gradient) = mixed(&same, &same, HOW);
        assert!((loss - 0.25).abs() < 1e-6, "{loss}");
        assert!(gradient.iter().all(|value| (value - 0.125).abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (made, taught) = ([0.5, -1.0, 2.0, 0.0, 1.0, -0.5], [2.0, 0.0, 1.0, -1.0, 4.0, 0.0]);
        let alone = Distillation { share: 1.0, ..HOW };
        let (_, gradient) = mixed(&made, &taught, alone);
        for place in 0..made.len() {
            let loss = |by: f32| {
                let mut moved = made;
                moved[place] += by;
                mixed(&moved, &taught, alone).0
            };
            let slope = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!((slope - gradient[place]).abs() < 1e-3, "{slope} {}", gradient[place]);
        }
    }

    #[test]
    fn great_logits_are_no_infinities() {
        let (loss, gradient) = mixed(&[1e4, -1e4, 0.0, 0.0], &[-1e4, 1e4, 0.0, 0.0], HOW);
        assert!(loss.is_finite() && gradient.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_teacher_of_other_classes_is_refused() {
        let lesson = Lesson { logits: vec![0.0; 4], how: HOW };
        let said = lesson.mixed(&[0.0; 6], 2, (0.0, vec![0.0; 6])).unwrap_err().to_string();
        assert!(said.contains("its teacher 4"), "{said}");
    }
}
