//! Operators whose first dimension is that of a batch: windows, pictures, sound.

use super::Dependence;
use super::dependence::dependent;
use super::rule::Outcome;
use crate::Dim;
use crate::shapes::call::Call;
use crate::size::is_free_of_rows;

/// The first axis of the first input; all else are weights and settings.
pub(super) fn batch_first(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rows = super::axes::rows_outside(call, "works along", |rows| rows != 0)?;
    Ok(vec![Dependence::Rows(rows); call.output_count()])
}

/// The same; in training, the statistics are those of the batch.
pub(super) fn batch_normalization(call: &Call<'_, '_>) -> Outcome {
    let trains = call.int("training_mode").unwrap_or(0) != 0 || call.output_count() > 1;
    if trains || (call.opset() < 7 && call.int("is_test").unwrap_or(0) == 0) {
        return dependent("it normalises by the statistics of all rows");
    }
    call.shared_besides(&[0])?;
    // Scales are for the places along the second axis, of a vector for those of the first.
    let rank = call.rank(0)?;
    let rows = super::axes::rows_outside(call, "scales", |rows| rows == 1 || rank == 1)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Several inputs whose first axis is that of the batch, and settings.
pub(super) fn batched_inputs(call: &Call<'_, '_>, inputs: &[usize]) -> Outcome {
    batched_or_broadcast(call, inputs, &[])
}

/// The same; those that `stretch` may have a first axis of one, and are then the same for all.
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
        None => dependent("it takes what follows from the number of rows"),
    }
}

/// A picture and where to look at it; both are a row's own.
pub(super) fn grid_sample(call: &Call<'_, '_>) -> Outcome {
    call.need_rows(0)?;
    call.need_rows(1)?;
    batched_inputs(call, &[0, 1])
}

/// What lies where the largest were; of the whole tensor, so places count rows.
pub(super) fn global_indices(_: &Call<'_, '_>) -> Outcome {
    dependent("its places count all rows")
}

/// A window with the largest; where these lie is counted over all rows.
pub(super) fn max_pool(call: &Call<'_, '_>) -> Outcome {
    let mut outcome = batch_first(call)?;
    if let Some(places) = outcome.get_mut(1) {
        let problem = super::Problem::Dependent("the places that it gives count all rows".into());
        *places = Dependence::mixed(problem, Some(call.node()));
    }
    Ok(outcome)
}

/// Pictures, and where the window looks: both are a row's own.
pub(super) fn deform(call: &Call<'_, '_>) -> Outcome {
    let own = [0, 2, 4].into_iter().filter(|input| call.has_input(*input));
    batched_inputs(call, &own.collect::<Vec<_>>())
}

/// Points for as many pictures as there are rows.
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
        _ => dependent("it gives a fixed number of grids"),
    }
}

/// The loss of each example alone.
pub(super) fn loss(call: &Call<'_, '_>) -> Outcome {
    if call.text("reduction") != "none" {
        return dependent("it adds up the losses of all rows");
    }
    call.need_rows(0)?;
    call.need_rows(1)?;
    batched_inputs(call, &[0, 1])
}
