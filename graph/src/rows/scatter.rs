//! Operators that put elements at places.

use super::Dependence;
use super::dependence::touch;
use super::rule::Outcome;
use crate::shapes::call::Call;

/// An element at each place, along an axis: a row's own in a row.
pub(super) fn elements(call: &Call<'_, '_>) -> Outcome {
    let axis = call.need_axis(0, call.rank(0)?)?;
    let rows = [0, 1, 2].map(|input| call.rows(input));
    match rows {
        [Some(data), Some(places), Some(updates)]
            if data == places && data == updates && data.axis != axis =>
        {
            Ok(vec![Dependence::Rows(data.clone())])
        }
        _ => touch("it puts values at places of rows"),
    }
}

/// Slots of a cache, each of its own row: data, updates, and from where on.
pub(super) fn tensor(call: &Call<'_, '_>) -> Outcome {
    let rows = super::window::pairs_of_batches(call, &[0, 1, 2])?;
    let axis = call.need_axis(-2, call.rank(0)?)?;
    let all_rows = (0..call.input_count()).filter(|input| call.has(*input));
    if axis == 0 || !all_rows.into_iter().all(|input| call.rows(input).is_some()) {
        return touch("it puts values at places of rows");
    }
    Ok(rows)
}
