//! Datasets in memory.

use super::error::DataError;
use super::fit;
use crate::batch::{Batch, Input, Targets, Values};
use sha2::{Digest as _, Sha256};
use skysail_graph::Model;

/// A dataset in memory: rows of inputs with equal shape, and their targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    name: String,
    /// Dimensions of one row.
    shape: Vec<usize>,
    inputs: Inputs,
    targets: Targets,
    rows: usize,
    /// Scaling that is applied to each batch.
    scaling: Scaling,
}

/// Input values of all rows, in the smallest type that holds them.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Numbers from 0 to 255.
    Bytes(Vec<u8>),
    /// Numbers.
    Float32(Vec<f32>),
    /// Indices.
    Int64(Vec<i64>),
}

/// Scaling of each input number: `value * scale + offset`. Indices are unchanged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Factor.
    pub scale: f32,
    /// Offset, added after the multiplication.
    pub offset: f32,
}

impl Scaling {
    /// Leaves numbers unchanged.
    pub const IDENTITY: Self = Self { scale: 1.0, offset: 0.0 };

    /// Scales numbers of this mean and standard deviation to 0 and 1.
    pub fn normal(mean: f32, deviation: f32) -> Self {
        Self { scale: 1.0 / deviation, offset: -mean / deviation }
    }

    /// Applies this scaling, then the other.
    fn then(self, next: Self) -> Self {
        let offset = self.offset * next.scale + next.offset;
        Self { scale: self.scale * next.scale, offset }
    }
}

impl Inputs {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Float32(values) => values.len(),
            Self::Int64(values) => values.len(),
        }
    }
}

impl Dataset {
    /// A dataset whose rows have this shape. The name is for messages.
    ///
    /// # Errors
    /// `Misfit` when the numbers of inputs and targets differ.
    pub fn new(
        name: &str,
        shape: &[usize],
        inputs: Inputs,
        targets: Targets,
    ) -> Result<Self, DataError> {
        let misfit = |problem: String| DataError::Misfit { data: name.to_owned(), problem };
        let size = shape.iter().try_fold(1_usize, |size, dim| size.checked_mul(*dim));
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err(misfit(format!("rows cannot have the shape {shape:?}")));
        };
        let rows = inputs.len() / size;
        let per_row = match &targets {
            Targets::Classes(classes) => usize::from(classes.len() == rows),
            Targets::Numbers(numbers) => numbers.len().checked_div(rows).unwrap_or(0),
        };
        let targets_len = match &targets {
            Targets::Classes(classes) => classes.len(),
            Targets::Numbers(numbers) => numbers.len(),
        };
        if rows * size != inputs.len() || rows * per_row != targets_len {
            let problem = format!(
                "{} values and {targets_len} targets do not form rows of the shape {shape:?}",
                inputs.len()
            );
            return Err(misfit(problem));
        }
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Ok(Self { name, shape, inputs, targets, rows, scaling: Scaling::IDENTITY })
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renames the dataset.
    #[must_use]
    pub fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Adds a scaling after the present one.
    #[must_use]
    pub fn scaled(mut self, scaling: Scaling) -> Self {
        self.scaling = self.scaling.then(scaling);
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Dimensions of one row.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The unscaled inputs.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Number of classes, i.e. the largest label plus one; `None` for numeric targets.
    pub fn classes(&self) -> Option<usize> {
        match &self.targets {
            Targets::Classes(classes) => {
                Some(classes.iter().max().map_or(0, |most| *most as usize + 1))
            }
            Targets::Numbers(_) => None,
        }
    }

    /// A batch of these rows, in this order. Row numbers out of range are skipped.
    pub fn batch(&self, rows: &[u32]) -> Batch {
        let rows: Vec<usize> =
            rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows).collect();
        let mut shape = vec![rows.len()];
        shape.extend_from_slice(&self.shape);
        let Scaling { scale, offset } = self.scaling;
        let values = match &self.inputs {
            Inputs::Bytes(values) => Values::Float32(
                self.gather(values, &rows, |value| f32::from(value) * scale + offset),
            ),
            Inputs::Float32(values) if self.scaling == Scaling::IDENTITY => {
                Values::Float32(self.gather(values, &rows, |value| value))
            }
            Inputs::Float32(values) => {
                Values::Float32(self.gather(values, &rows, |value| value * scale + offset))
            }
            Inputs::Int64(values) => Values::Int64(self.gather(values, &rows, |value| value)),
        };
        Batch { input: Input { shape, values }, targets: self.targets_of(&rows) }
    }

    fn gather<T: Copy, U>(&self, values: &[T], rows: &[usize], make: impl Fn(T) -> U) -> Vec<U> {
        let size: usize = self.shape.iter().product();
        let mut gathered = Vec::with_capacity(rows.len() * size);
        for row in rows {
            gathered.extend(values[row * size..(row + 1) * size].iter().map(|value| make(*value)));
        }
        gathered
    }

    fn targets_of(&self, rows: &[usize]) -> Targets {
        match &self.targets {
            Targets::Classes(classes) => {
                Targets::Classes(rows.iter().map(|row| classes[*row]).collect())
            }
            Targets::Numbers(numbers) => {
                let width = numbers.len().checked_div(self.rows).unwrap_or(0);
                let of_row = |row: &usize| numbers[row * width..(row + 1) * width].iter().copied();
                Targets::Numbers(rows.iter().flat_map(of_row).collect())
            }
        }
    }

    /// A dataset of these rows, with another name.
    pub fn select(&self, name: &str, rows: &[u32]) -> Self {
        let rows: Vec<usize> =
            rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows).collect();
        let inputs = match &self.inputs {
            Inputs::Bytes(values) => Inputs::Bytes(self.gather(values, &rows, |value| value)),
            Inputs::Float32(values) => Inputs::Float32(self.gather(values, &rows, |value| value)),
            Inputs::Int64(values) => Inputs::Int64(self.gather(values, &rows, |value| value)),
        };
        Self {
            name: name.to_owned(),
            shape: self.shape.clone(),
            inputs,
            targets: self.targets_of(&rows),
            rows: rows.len(),
            scaling: self.scaling,
        }
    }

    /// Converts the data to shape and type of the model's first input, and to labels if the model
    /// has classes. Checks that every row and label fits.
    ///
    /// # Errors
    /// `Misfit` or `Label`, with the difference.
    pub fn fit(mut self, model: &Model) -> Result<Self, DataError> {
        let fit = fit::fit(&self, model)?;
        self.shape = fit.shape;
        self.targets = fit.labels.map_or(self.targets, Targets::Classes);
        self.inputs = match (fit.indices, self.inputs) {
            (false, Inputs::Int64(values)) => {
                Inputs::Float32(values.into_iter().map(|value| value as f32).collect())
            }
            (true, Inputs::Float32(values)) => {
                Inputs::Int64(values.into_iter().map(|value| value as i64).collect())
            }
            (true, Inputs::Bytes(values)) => {
                Inputs::Int64(values.into_iter().map(i64::from).collect())
            }
            (_, inputs) => inputs,
        };
        Ok(self)
    }

    /// SHA-256 of the data in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        let Scaling { scale, offset } = self.scaling;
        hasher.update(format!("{:?} {} {scale:?} {offset:?} ", self.shape, self.rows));
        match &self.inputs {
            Inputs::Bytes(values) => hasher.update(values),
            Inputs::Float32(values) => hasher.update(bytemuck::cast_slice(values)),
            Inputs::Int64(values) => hasher.update(bytemuck::cast_slice(values)),
        }
        match &self.targets {
            Targets::Classes(classes) => hasher.update(bytemuck::cast_slice(classes)),
            Targets::Numbers(numbers) => hasher.update(bytemuck::cast_slice(numbers)),
        }
        crate::hex(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: usize) -> Dataset {
        let inputs = Inputs::Float32((0..rows * 2).map(|value| value as f32).collect());
        let targets = Targets::Numbers((0..rows * 3).map(|value| -(value as f32)).collect());
        Dataset::new("numbers", &[2], inputs, targets).unwrap()
    }

    #[test]
    fn batches_contain_the_requested_rows() {
        let batch = numbers(4).scaled(Scaling { scale: 2.0, offset: 1.0 }).batch(&[3, 0, 9]);
        assert_eq!(batch.input.shape, [2, 2]);
        assert_eq!(batch.input.values, Values::Float32(vec![13.0, 15.0, 1.0, 3.0]));
        assert_eq!(batch.targets, Targets::Numbers(vec![-9.0, -10.0, -11.0, 0.0, -1.0, -2.0]));
        let part = numbers(4).select("part", &[2]);
        assert_eq!((part.rows(), part.batch(&[0])), (1, numbers(4).batch(&[2])));
    }

    #[test]
    fn values_that_do_not_form_rows_are_rejected() {
        let new = |shape: &[usize], values: usize, classes: usize| {
            let inputs = Inputs::Bytes(vec![0; values]);
            Dataset::new("d", shape, inputs, Targets::Classes(vec![0; classes])).is_ok()
        };
        assert!(new(&[2], 4, 2) && new(&[], 3, 3));
        assert!(!new(&[2], 5, 2) && !new(&[2], 4, 3) && !new(&[0], 0, 0));
        assert!(!new(&[usize::MAX, 2], 4, 2));
    }

    #[test]
    fn normalized_numbers_have_mean_0_and_deviation_1() {
        let Scaling { scale, offset } = Scaling::normal(3.0, 2.0).then(Scaling::IDENTITY);
        assert_eq!((3.0 * scale + offset, 5.0 * scale + offset), (0.0, 1.0));
        let twice = numbers(1).scaled(Scaling { scale: 2.0, offset: 1.0 });
        let twice = twice.scaled(Scaling { scale: 10.0, offset: 0.0 });
        assert_eq!(twice.batch(&[0]).input.values, Values::Float32(vec![10.0, 30.0]));
    }

    #[test]
    fn fingerprints_distinguish_data() {
        let data = numbers(3);
        assert_eq!(data.fingerprint(), numbers(3).renamed("other").fingerprint());
        assert_ne!(data.fingerprint(), numbers(4).fingerprint());
        assert_ne!(data.fingerprint(), numbers(3).scaled(Scaling::normal(1.0, 1.0)).fingerprint());
        assert_eq!(data.fingerprint().len(), 64);
    }
}
