//! Rows: the first dimension of a model's inputs.

use anyhow::{Result, ensure};
use skysail_compression::Batch;
use skysail_graph::{Dim, GraphError, Tensor, ValueInfo};

/// Rows of a batch, if the model leaves their number open.
const ROWS: u64 = 16;

/// Returns the number of rows of a batch; `None` if its tensors disagree.
pub(super) fn count(batch: &Batch) -> Option<u64> {
    let mut counts = batch.iter().map(|(_, tensor)| tensor.shape().first().copied());
    let first = counts.next().flatten()?;
    counts.all(|count| count == Some(first)).then_some(first)
}

/// Splits a batch of many rows into batches that the model accepts. Inputs without common rows stay
/// together.
pub(super) fn split(batch: Batch, inputs: &[ValueInfo]) -> Result<Vec<Batch>> {
    let first = |input: &ValueInfo| match input.kind.dims().and_then(<[Dim]>::first) {
        Some(Dim::Fixed(rows)) => Some(*rows),
        _ => None,
    };
    let fixed = inputs.iter().find_map(first);
    let rows = count(&batch);
    ensure!(rows != Some(0), "there are no rows");
    let (Some(rows), size) = (rows, fixed.unwrap_or(ROWS)) else {
        return Ok(vec![batch]);
    };
    ensure!(
        size > 0 && (fixed.is_none() || rows.is_multiple_of(size)),
        "the model takes {size} rows at a time, and {rows} are no multiple of that"
    );
    let starts = (0..rows).step_by(usize::try_from(size)?);
    let parts = starts.map(|start| part(&batch, start, size.min(rows - start)));
    Ok(parts.collect::<Result<_, GraphError>>()?)
}

/// Returns the first rows of a batch, or all of it if its tensors have no common rows.
pub(crate) fn first_rows(batch: &Batch, rows: u64) -> Result<Batch> {
    match count(batch) {
        Some(count) if count > rows => Ok(part(batch, 0, rows)?),
        _ => Ok(batch.clone()),
    }
}

fn part(batch: &Batch, start: u64, rows: u64) -> Result<Batch, GraphError> {
    let cut = |(name, tensor): &(String, Tensor)| {
        let mut shape = tensor.shape().to_vec();
        let all = shape.first().copied().unwrap_or(1).max(1);
        // The bytes exist, so their number fits in memory.
        let row = tensor.bytes().len() / all as usize;
        let bytes = &tensor.bytes()[row * start as usize..][..row * rows as usize];
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        Ok((name.clone(), Tensor::from_bytes(tensor.element(), &shape, bytes.to_vec())?))
    };
    batch.iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{ElementType, Kind};

    fn input(first: Dim) -> [ValueInfo; 1] {
        let dims = Some(vec![first, Dim::Fixed(2)]);
        [ValueInfo { name: "x".into(), kind: Kind::Tensor { element: ElementType::UInt8, dims } }]
    }

    fn batch(rows: u64) -> Batch {
        let values: Vec<u8> = (0..2 * rows as u8).collect();
        vec![("x".to_owned(), Tensor::new(&[rows, 2], &values).unwrap())]
    }

    #[test]
    fn rows_are_split_to_batches_of_the_model() {
        let open = split(batch(20), &input(Dim::from("batch"))).unwrap();
        assert_eq!(open.iter().map(|batch| count(batch).unwrap()).collect::<Vec<_>>(), [16, 4]);
        assert_eq!(open[1][0].1.bytes(), &(32..40).collect::<Vec<u8>>());
        let fixed = split(batch(6), &input(Dim::Fixed(3))).unwrap();
        assert_eq!((fixed.len(), fixed[1][0].1.shape()), (2, &[3, 2][..]));
        let message = split(batch(7), &input(Dim::Fixed(3))).unwrap_err().to_string();
        assert!(message.contains("7 are no multiple"), "{message}");
        assert!(split(batch(0), &input(Dim::Unknown)).is_err());
        assert_eq!(first_rows(&batch(5), 1).unwrap()[0].1.bytes(), [0, 1]);
    }
}
