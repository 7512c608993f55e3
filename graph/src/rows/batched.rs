//! Operators with the batch as first dimension: windows, images, sound.

use super::Dependence;
use super::dependence::dependent;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;
use crate::size::is_free_of_rows;

/// Rows along the first axis of the first input; all else are weights and parameters.
pub(super) fn batch_first(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rows = super::axes::rows_outside(call, "works along", |rows| rows != 0)?;
    Ok(vec![Dependence::Rows(rows); call.output_count()])
}

/// Batch normalization; in training, the statistics are those of the batch.
pub(super) fn batch_normalization(call: &Call<'_, '_>) -> Outcome {
    let trains = call.int("training_mode").unwrap_or(0) != 0 || call.output_count() > 1;
    if trains || (call.opset() < 7 && call.int("is_test").unwrap_or(0) == 0) {
        return dependent("it normalises by the statistics of all rows");
    }
    call.shared_besides(&[0])?;
    // Scales apply along the second axis, or along the first of a vector.
    let rank = call.rank(0)?;
    let rows = super::axes::rows_outside(call, "scales", |rows| rows == 1 || rank == 1)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Several inputs with the batch as first axis, and parameters.
pub(super) fn batched_inputs(call: &Call<'_, '_>, inputs: &[usize]) -> Outcome {
    batched_or_broadcast(call, inputs, &[])
}

/// Several inputs with the batch as first axis. Those in `stretch` may have a first axis of one,
/// and are then shared.
pub(super) fn batched_or_broadcast(
    call: &Call<'_, '_>,
    inputs: &[usize],
    stretch: &[usize],
) -> Outcome {
    call.shared_besides(inputs)?;
    let mut found = None;
    for input in inputs.iter().copied().filter(|input| call.has_input(*input)) {
        match call.dependence(input) {
            Dependence::Rows(rows) if rows.axis == 0 && found.is_none_or(|found| found == rows) => {
                found = Some(rows);
            }
            Dependence::Shared
                if stretch.contains(&input)
                    && matches!(call.dims(input), Some([Dim::Fixed(1), ..])) => {}
            _ => return dependent("it pairs rows with other rows"),
        }
    }
    match found {
        Some(rows) => Ok(vec![Dependence::Rows(rows.clone()); call.output_count()]),
        None => dependent("one of its inputs depends on the number of rows"),
    }
}

/// Images and sampling points; both are a row's own.
pub(super) fn grid_sample(call: &Call<'_, '_>) -> Outcome {
    call.need_rows(0)?;
    call.need_rows(1)?;
    batched_inputs(call, &[0, 1])
}

/// Values at the indices of maxima, which count over the whole tensor, rows included.
pub(super) fn global_indices(_: &Call<'_, '_>) -> Outcome {
    dependent("its indices count all rows")
}

/// Maximum of each window; the indices of maxima count over all rows.
pub(super) fn max_pool(call: &Call<'_, '_>) -> Outcome {
    let mut outcome = batch_first(call)?;
    if let Some(places) = outcome.get_mut(1) {
        let problem = super::Problem::Dependent("its indices count all rows".into());
        *places = Dependence::mixed(problem, Some(call.node()));
    }
    Ok(outcome)
}

/// Images and window offsets; both are a row's own.
pub(super) fn deform(call: &Call<'_, '_>) -> Outcome {
    let own = [0, 2, 4].into_iter().filter(|input| call.has_input(*input));
    batched_inputs(call, &own.collect::<Vec<_>>())
}

/// A grid for each row.
pub(super) fn affine_grid(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1])?;
    let rows = super::axes::rows_outside(call, "works along", |rows| rows != 0)?;
    match call.numbers(1) {
        Some([count, others @ ..])
            if count.dim() == rows.size()
                && others.iter().all(|size| is_free_of_rows(&size.dim())) =>
        {
            Ok(vec![Dependence::Rows(rows)])
        }
        _ => dependent("it makes a fixed number of grids"),
    }
}

/// The loss of each example.
pub(super) fn loss(call: &Call<'_, '_>) -> Outcome {
    if call.text("reduction") != "none" {
        return dependent("it sums the losses of all rows");
    }
    call.need_rows(0)?;
    call.need_rows(1)?;
    batched_inputs(call, &[0, 1])
}
