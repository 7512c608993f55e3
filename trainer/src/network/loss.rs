//! What is made as small as possible.

use super::floats::{Dense, Floats, Function, dims, record, tensor};
use super::operators::softmax::softmax;
use super::teacher::Lesson;
use crate::batch::Targets;
use crate::error::TrainError;
use burn_flex::FlexTensor;

/// The mean loss of `rows` examples, as a tensor of one number, and its value; of classes mixed
/// with what a lesson says, if there is one.
pub(super) fn of(
    made: &Floats,
    targets: &Targets,
    rows: usize,
    lesson: Option<&Lesson>,
) -> Result<(Floats, f32), TrainError> {
    let (values, shape) = (Dense::of(made.primitive()), dims(made));
    if rows == 0 {
        return Err(TrainError::Data("a batch has no rows".to_owned()));
    }
    let (loss, gradient) = match targets {
        Targets::Classes(classes) if classes.len() != rows || shape.first() != Some(&rows) => {
            let given = classes.len();
            return Err(TrainError::Data(format!(
                "for {rows} rows there are {given} classes, and the model makes {shape:?}"
            )));
        }
        Targets::Classes(classes) => {
            let labels = cross_entropy(values.values(), classes)?;
            match lesson {
                Some(lesson) => lesson.mixed(values.values(), rows, labels)?,
                None => labels,
            }
        }
        Targets::Numbers(numbers) => square_error(values.values(), numbers)?,
    };
    let function = Known(tensor(&shape, gradient));
    Ok((record([made], function, tensor(&[1], vec![loss])), loss))
}

/// The mean of -log softmax at the class, and its gradient: what the softmax is too large by.
fn cross_entropy(logits: &[f32], classes: &[u32]) -> Result<(f32, Vec<f32>), TrainError> {
    let (rows, count) = (classes.len(), logits.len() / classes.len());
    let mut gradient = logits.to_vec();
    let mut sum = 0.0_f64;
    for (row, class) in gradient.chunks_exact_mut(count.max(1)).zip(classes) {
        let class = *class as usize;
        if class >= count {
            let problem = format!("class {class} is none of the model's {count}");
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

/// The mean of squared differences, and its gradient.
fn square_error(made: &[f32], wanted: &[f32]) -> Result<(f32, Vec<f32>), TrainError> {
    if made.len() != wanted.len() || made.is_empty() {
        let problem = format!("the model makes {} numbers, not {}", made.len(), wanted.len());
        return Err(TrainError::Data(problem));
    }
    let count = made.len() as f32;
    let differences = made.iter().zip(wanted).map(|(made, wanted)| made - wanted);
    let sum: f64 = differences.clone().map(|difference| f64::from(difference * difference)).sum();
    let gradient = differences.map(|difference| 2.0 * difference / count).collect();
    Ok(((sum / f64::from(count)) as f32, gradient))
}

/// A number whose gradient was found with it.
#[derive(Debug, Clone)]
struct Known(FlexTensor);

impl Function<1> for Known {
    fn gradients(self, _: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        // The backward pass starts from the loss, with 1.
        [Some(self.0)]
    }
}
