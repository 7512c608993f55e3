//! Loss functions.

use super::floats::{Dense, Floats, Function, dims, record, tensor};
use super::operators::softmax::softmax;
use super::teacher::TeacherOutput;
use crate::batch::Targets;
use crate::error::TrainError;
use burn_flex::FlexTensor;

/// Mean loss of `rows` rows, as a tensor of one number, and its value. The loss of classes is mixed
/// with that of a teacher's outputs, if any.
pub(super) fn of(
    output: &Floats,
    targets: &Targets,
    rows: usize,
    teacher_output: Option<&TeacherOutput>,
) -> Result<(Floats, f32), TrainError> {
    let (values, shape) = (Dense::of(output.primitive()), dims(output));
    if rows == 0 {
        return Err(TrainError::Data("a batch has no rows".to_owned()));
    }
    let (loss, gradient) = match targets {
        Targets::Classes(classes) if classes.len() != rows || shape.first() != Some(&rows) => {
            let given = classes.len();
            return Err(TrainError::Data(format!(
                "{given} classes for {rows} rows of an output of shape {shape:?}"
            )));
        }
        Targets::Classes(classes) => {
            let labels = cross_entropy(values.values(), classes)?;
            match teacher_output {
                Some(teacher_output) => teacher_output.mix(values.values(), rows, labels)?,
                None => labels,
            }
        }
        Targets::Numbers(numbers) => square_error(values.values(), numbers)?,
    };
    let function = Precomputed(tensor(&shape, gradient));
    Ok((record([output], function, tensor(&[1], vec![loss])), loss))
}

/// Mean of -log softmax at the class, and its gradient.
fn cross_entropy(logits: &[f32], classes: &[u32]) -> Result<(f32, Vec<f32>), TrainError> {
    let (rows, count) = (classes.len(), logits.len() / classes.len());
    let mut gradient = logits.to_vec();
    let mut sum = 0.0_f64;
    for (row, class) in gradient.chunks_exact_mut(count.max(1)).zip(classes) {
        let class = *class as usize;
        if class >= count {
            let problem = format!("class {class} of {count} classes");
            return Err(TrainError::Data(problem));
        }
        let logit = row[class];
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = row.iter().map(|value| (value - largest).exp()).sum();
        sum += f64::from(total.ln() + largest - logit);
        softmax(row);
        row[class] -= 1.0;
    }
    gradient.iter_mut().for_each(|value| *value /= rows as f32);
    Ok(((sum / rows as f64) as f32, gradient))
}

/// Mean of squared differences, and its gradient.
fn square_error(output: &[f32], wanted: &[f32]) -> Result<(f32, Vec<f32>), TrainError> {
    if output.len() != wanted.len() || output.is_empty() {
        let problem = format!("the model outputs {} numbers, not {}", output.len(), wanted.len());
        return Err(TrainError::Data(problem));
    }
    let count = output.len() as f32;
    let differences = output.iter().zip(wanted).map(|(output, wanted)| output - wanted);
    let sum: f64 = differences.clone().map(|difference| f64::from(difference * difference)).sum();
    let gradient = differences.map(|difference| 2.0 * difference / count).collect();
    Ok(((sum / f64::from(count)) as f32, gradient))
}

/// A number with a precomputed gradient.
#[derive(Debug, Clone)]
struct Precomputed(FlexTensor);

impl Function<1> for Precomputed {
    fn gradients(self, _: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        // The backward pass starts here, with a gradient of 1.
        [Some(self.0)]
    }
}
