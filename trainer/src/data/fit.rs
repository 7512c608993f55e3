//! Fit of data and model.

use super::dataset::{Dataset, Inputs};
use super::error::DataError;
use crate::batch::Targets;
use crate::network::trained_output;
use skysail_graph::{Dim, ElementType, Model};

/// Largest label in a float; a float represents all integers up to it.
const LABEL_MAX: f32 = 16_777_216.0;

/// Conversion of data for a model.
pub(super) struct Fit {
    /// Dimensions of one row.
    pub(super) shape: Vec<usize>,
    /// True if inputs are indices.
    pub(super) indices: bool,
    /// Labels converted from numbers, if the model has classes.
    pub(super) labels: Option<Vec<u32>>,
}

/// Fits the data to the model's first input and trained output.
pub(super) fn fit(data: &Dataset, model: &Model) -> Result<Fit, DataError> {
    let misfit = |problem: String| DataError::Misfit { data: data.name().to_owned(), problem };
    let graph = model.graph();
    let inputs = graph.inputs();
    let taken = inputs.iter().find(|input| graph.initializer(&input.name).is_none());
    let Some(input) = taken else { return Err(misfit("it has no input".to_owned())) };
    let indices = match input.kind.element() {
        Some(ElementType::Float32) => false,
        Some(ElementType::Int64) => true,
        _ => return Err(misfit(format!("its input {input} is neither float32 nor int64"))),
    };
    if let (true, Inputs::Float32(values)) = (indices, data.inputs()) {
        let odd = values.iter().position(|value| value.fract() != 0.0);
        if let Some(index) = odd {
            let problem =
                format!("its input {input} requires indices, but {} is not one", values[index]);
            return Err(misfit(problem));
        }
    }
    let dims = input.kind.dims();
    let shape = match dims.and_then(<[Dim]>::split_first) {
        Some((_, wanted)) => row_shape(data.shape(), wanted).ok_or_else(|| {
            misfit(format!("rows have the shape {:?}, but its input is {input}", data.shape()))
        })?,
        None => data.shape().to_vec(),
    };
    let labels = check_targets(data, model, misfit)?;
    Ok(Fit { shape, indices, labels })
}

/// The shape of a row in the model's dimensions; the number of values must be equal.
fn row_shape(found: &[usize], wanted: &[Dim]) -> Option<Vec<usize>> {
    let known = |dim: &Dim| match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let fixed: Option<Vec<usize>> = wanted.iter().map(known).collect();
    if let Some(shape) = fixed {
        let count = shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))?;
        return (count == found.iter().product::<usize>()).then_some(shape);
    }
    let same = |(dim, size): (&Dim, &usize)| known(dim).is_none_or(|dim| dim == *size);
    let fits = wanted.len() == found.len() && wanted.iter().zip(found).all(same);
    fits.then(|| found.to_vec())
}

/// Rejects labels out of range, and rows with too many numbers. Returns labels that are stored as
/// numbers.
fn check_targets(
    data: &Dataset,
    model: &Model,
    misfit: impl Fn(String) -> DataError,
) -> Result<Option<Vec<u32>>, DataError> {
    let Some(output) = trained_output(model) else {
        return Err(misfit("it has no output".to_owned()));
    };
    let shapes = model.graph().shapes();
    let dims = output.kind.dims().or_else(|| shapes.dims(&output.name));
    // Without a static shape, the loss checks the targets.
    let Some((_, [Dim::Fixed(width)])) = dims.and_then(<[Dim]>::split_first) else {
        return Ok(None);
    };
    let width = usize::try_from(*width).unwrap_or(usize::MAX);
    match data.targets() {
        Targets::Classes(labels) => check_labels(data, labels, width).map(|()| None),
        Targets::Numbers(numbers) if numbers.len() == data.rows().saturating_mul(width) => Ok(None),
        Targets::Numbers(numbers) if numbers.len() == data.rows() => {
            let labels: Result<Vec<u32>, _> = numbers.iter().copied().map(label).collect();
            let labels = labels.map_err(|number| {
                misfit(format!("{number} is not a label, but its output is {output}"))
            })?;
            check_labels(data, &labels, width)?;
            Ok(Some(labels))
        }
        Targets::Numbers(numbers) => {
            let found = numbers.len().checked_div(data.rows()).unwrap_or(0);
            Err(misfit(format!("rows have {found} targets, but its output is {output}")))
        }
    }
}

/// Converts a label that is stored as a float; returns the number if it is not a label.
fn label(number: f32) -> Result<u32, f32> {
    let whole = number.fract() == 0.0 && (0.0..=LABEL_MAX).contains(&number);
    if whole { Ok(number as u32) } else { Err(number) }
}

fn check_labels(data: &Dataset, labels: &[u32], width: usize) -> Result<(), DataError> {
    let beyond = labels.iter().position(|label| *label as usize >= width);
    beyond.map_or(Ok(()), |row| {
        let (name, label) = (data.name().to_owned(), labels[row]);
        Err(DataError::Label { data: name, row, label, classes: width })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Values;
    use skysail_graph::{GraphBuilder, mlp};

    fn data(shape: &[usize], inputs: Inputs, labels: &[u32]) -> Dataset {
        Dataset::new("d", shape, inputs, Targets::Classes(labels.to_vec())).unwrap()
    }

    fn bytes(shape: &[usize], labels: &[u32]) -> Dataset {
        let size: usize = shape.iter().product();
        data(shape, Inputs::Bytes(vec![1; size * labels.len()]), labels)
    }

    /// A model with this input and two classes.
    fn model(element: ElementType, dims: &[Dim]) -> Model {
        let mut builder = GraphBuilder::new("g");
        builder.input("in", element, dims);
        builder.node("Identity", &["in"], &["out"], &[]);
        builder.output("out", element, &[Dim::from("batch"), Dim::Fixed(2)]);
        builder.finish().unwrap()
    }

    #[test]
    fn rows_take_the_shape_of_the_input() {
        let fitted = bytes(&[2, 3], &[0, 1]).fit(&mlp(&[6, 2], 1).unwrap()).unwrap();
        assert_eq!(fitted.shape(), [6]);
        let free = model(ElementType::Float32, &["n".into(), "h".into(), Dim::Fixed(3)]);
        assert_eq!(bytes(&[2, 3], &[0]).fit(&free).unwrap().shape(), [2, 3]);
        let message = bytes(&[3, 2], &[0]).fit(&free).unwrap_err().to_string();
        assert!(
            message.contains("rows have the shape [3, 2]") && message.contains("in: float32"),
            "{message}"
        );
        assert!(bytes(&[7], &[0]).fit(&mlp(&[6, 2], 1).unwrap()).is_err());
    }

    #[test]
    fn labels_out_of_range_are_named() {
        let message =
            bytes(&[6], &[0, 1, 2]).fit(&mlp(&[6, 2], 1).unwrap()).unwrap_err().to_string();
        assert!(
            message.contains("row 2 has the label 2") && message.contains("from 0 to 1"),
            "{message}"
        );
        let inputs = Inputs::Bytes(vec![0; 6]);
        let odd = Dataset::new("d", &[6], inputs, Targets::Numbers(vec![0.0; 3])).unwrap();
        let message = odd.fit(&mlp(&[6, 2], 1).unwrap()).unwrap_err().to_string();
        assert!(message.contains("rows have 3 targets"), "{message}");
    }

    #[test]
    fn labels_may_be_stored_as_floats() {
        let mlp = mlp(&[2, 3], 1).unwrap();
        let of = |labels: &[f32]| {
            let inputs = Inputs::Bytes(vec![0; 2 * labels.len()]);
            let data = Dataset::new("d", &[2], inputs, Targets::Numbers(labels.to_vec())).unwrap();
            data.fit(&mlp).map(|data| data.targets().clone()).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[2.0, 0.0]), Ok(Targets::Classes(vec![2, 0])));
        assert!(of(&[0.0, 0.5]).unwrap_err().contains("0.5 is not a label"));
        assert!(of(&[-1.0]).unwrap_err().contains("-1 is not a label"));
        assert!(of(&[0.0, 3.0]).unwrap_err().contains("row 1 has the label 3"));
    }

    #[test]
    fn whole_numbers_become_indices() {
        let tokens = model(ElementType::Int64, &["batch".into(), Dim::Fixed(2)]);
        let whole = data(&[2], Inputs::Float32(vec![3.0, 1.0]), &[0]).fit(&tokens).unwrap();
        assert_eq!(whole.batch(&[0]).input.values, Values::Int64(vec![3, 1]));
        let odd = data(&[2], Inputs::Float32(vec![3.0, 1.5]), &[0]).fit(&tokens);
        assert!(odd.unwrap_err().to_string().contains("1.5 is not one"));
        let back = data(&[6], Inputs::Int64(vec![2; 6]), &[0]).fit(&mlp(&[6, 2], 1).unwrap());
        assert_eq!(back.unwrap().batch(&[0]).input.values, Values::Float32(vec![2.0; 6]));
        assert!(bytes(&[2], &[0]).fit(&model(ElementType::Bool, &[])).is_err());
    }
}
