//! Evaluation of a model on a dataset.

use crate::batch::Targets;
use crate::collective::Collective;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::learner::Learner;
use std::ops::Range;

/// Rows per prediction.
const ROWS: usize = 250;

/// Loss and accuracy of a model on a dataset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f32,
    /// Share of rows classified correctly; `None` for numeric targets.
    pub accuracy: Option<f32>,
    /// Number of rows.
    pub rows: usize,
}

/// Sums over rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    loss: f64,
    right: u64,
    rows: u64,
}

/// Evaluates a model on all rows.
///
/// # Errors
/// Fails when the data does not fit the model.
pub fn evaluate(
    learner: &mut dyn Learner,
    parameters: &[f32],
    data: &Dataset,
    probabilities: bool,
) -> Result<Evaluation, TrainError> {
    let sums = sums(learner, parameters, data, 0..data.rows(), probabilities)?;
    Ok(sums.evaluation(data))
}

/// Evaluates a model with the rows split over the ranks. All ranks return the same result, and all
/// fail if the loss is not finite.
pub(super) fn evaluate_on_ranks(
    learner: &mut dyn Learner,
    parameters: &[f32],
    data: &Dataset,
    probabilities: bool,
    group: &mut dyn Collective,
) -> Result<Evaluation, TrainError> {
    let (rank, world) = (group.rank(), group.world());
    let part = rank * data.rows() / world..(rank + 1) * data.rows() / world;
    let mine = sums(learner, parameters, data, part, probabilities)?;
    let bytes = [mine.loss.to_bits(), mine.right, mine.rows].map(u64::to_le_bytes).concat();
    let mut all = Sums::default();
    for theirs in group.all_gather(&bytes)? {
        let numbers: Vec<u64> =
            theirs.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let [loss, right, rows] = numbers[..] else { continue };
        all.loss += f64::from_bits(loss);
        all.right += right;
        all.rows += rows;
    }
    let found = all.evaluation(data);
    if found.loss.is_finite() {
        return Ok(found);
    }
    let what = "the loss on the test data".to_owned();
    Err(TrainError::NotFinite { what, value: found.loss })
}

impl Sums {
    fn evaluation(self, data: &Dataset) -> Evaluation {
        let rows = self.rows.max(1) as f64;
        let accuracy = data.classes().map(|_| (self.right as f64 / rows) as f32);
        Evaluation { loss: (self.loss / rows) as f32, accuracy, rows: self.rows as usize }
    }
}

fn sums(
    learner: &mut dyn Learner,
    parameters: &[f32],
    data: &Dataset,
    part: Range<usize>,
    probabilities: bool,
) -> Result<Sums, TrainError> {
    let mut sums = Sums::default();
    for start in part.clone().step_by(ROWS) {
        let rows: Vec<u32> = (start..(start + ROWS).min(part.end)).map(|row| row as u32).collect();
        let batch = data.batch(&rows);
        let outputs = learner.predict(parameters, &batch.input)?;
        let width = outputs.len() / rows.len();
        if width == 0 || width * rows.len() != outputs.len() {
            let problem = format!("{} outputs for {} rows", outputs.len(), rows.len());
            return Err(TrainError::Data(problem));
        }
        sums.rows += rows.len() as u64;
        match &batch.targets {
            Targets::Classes(classes) => {
                for (row, class) in outputs.chunks_exact(width).zip(classes) {
                    sums.loss += cross_entropy(row, *class as usize, probabilities)?;
                    sums.right += u64::from(argmax(row) == *class as usize);
                }
            }
            Targets::Numbers(numbers) => {
                let square = |(found, wanted): (&f32, &f32)| f64::from(found - wanted).powi(2);
                let error: f64 = outputs.iter().zip(numbers).map(square).sum();
                sums.loss += error / width as f64;
            }
        }
    }
    Ok(sums)
}

fn argmax(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
    best.map_or(0, |(index, _)| index)
}

fn cross_entropy(row: &[f32], class: usize, probabilities: bool) -> Result<f64, TrainError> {
    let beyond = || TrainError::Data(format!("class {class} of {} classes", row.len()));
    let own = f64::from(*row.get(class).ok_or_else(beyond)?);
    if probabilities {
        // The smallest positive probability keeps the logarithm finite.
        return Ok(-own.max(f64::from(f32::MIN_POSITIVE)).ln());
    }
    let most = row.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = row.iter().map(|value| f64::from(value - most).exp()).sum();
    Ok(sum.ln() + f64::from(most) - own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, Input, Values};
    use crate::collective::threads;
    use crate::data::Inputs;
    use crate::layout::Layout;
    use std::time::Duration;

    /// Returns its input as output.
    struct Echo(Layout);

    impl Learner for Echo {
        fn layout(&self) -> &Layout {
            &self.0
        }
        fn gradients_as_ready(
            &mut self,
            _: &[f32],
            _: &Batch,
            _: &mut dyn FnMut(usize, &[f32]),
        ) -> Result<f32, TrainError> {
            Ok(0.0)
        }
        fn predict(&mut self, _: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
            match &input.values {
                Values::Float32(values) => Ok(values.clone()),
                Values::Int64(_) => Err(TrainError::Data("indices".to_owned())),
            }
        }
    }

    fn measure(values: &[f32], targets: Targets, probabilities: bool) -> Evaluation {
        let inputs = Inputs::Float32(values.to_vec());
        let data = Dataset::new("d", &[2], inputs, targets).unwrap();
        evaluate(&mut Echo(Layout::default()), &[], &data, probabilities).unwrap()
    }

    #[test]
    fn classes_are_measured_by_cross_entropy_and_accuracy() {
        let targets = Targets::Classes(vec![0, 0, 1, 1]);
        let found = measure(&[2.0, 2.0, 9.0, 1.0, 3.0, 1.0, 0.0, 4.0], targets, false);
        assert_eq!((found.accuracy, found.rows), (Some(0.5), 4));
        let softplus = |x: f64| x.exp().ln_1p();
        let wanted = (softplus(0.0) + softplus(-8.0) + softplus(2.0) + softplus(-4.0)) / 4.0;
        assert!((f64::from(found.loss) - wanted).abs() < 1e-6, "{} {wanted}", found.loss);
        let found = measure(&[0.25, 0.75], Targets::Classes(vec![1]), true);
        assert!((found.loss - 0.287_682).abs() < 1e-6, "{}", found.loss);
    }

    #[test]
    fn a_non_finite_loss_ends_the_job_on_all_ranks() {
        let inputs = Inputs::Float32(vec![1.0, 1.0, f32::NAN, 1.0]);
        let data = Dataset::new("d", &[2], inputs, Targets::Classes(vec![0, 1])).unwrap();
        let found = threads(2, Duration::from_secs(10), |_, mut group| {
            let mut learner = Echo(Layout::default());
            Ok(evaluate_on_ranks(&mut learner, &[], &data, false, group.as_mut()).is_err())
        });
        assert_eq!(found.unwrap(), [true, true]);
    }

    #[test]
    fn numbers_are_measured_by_their_mean_square_error() {
        let found =
            measure(&[1.0, 2.0, 3.0, 4.0], Targets::Numbers(vec![1.0, 0.0, 3.0, 2.0]), false);
        assert_eq!((found.loss, found.accuracy), (2.0, None));
    }
}
