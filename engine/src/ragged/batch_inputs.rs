//! Makes the inputs that tell a graph the sizes of a batch's members.

use crate::config::BatchInputKind;
use crate::payload::Payload;
use crate::tensor::{DataType, Shape, elements};
use smallvec::smallvec;

#[cfg(test)]
mod tests;

/// Makes the input of this kind for members of these shapes, whose first dimension is rows.
///
/// # Errors
/// A number is larger than the datatype can hold.
pub(super) fn make(
    kind: BatchInputKind,
    datatype: DataType,
    members: &[Shape],
) -> Result<(Shape, Payload), String> {
    let counts = members.iter().map(|shape| elements(shape).unwrap_or(usize::MAX));
    let ends = counts.clone().scan(0_usize, |end, count| {
        *end = end.saturating_add(count);
        Some(*end)
    });
    let numbers: Vec<usize> = match kind {
        BatchInputKind::Count => counts.collect(),
        BatchInputKind::AccumulatedCount => ends.collect(),
        BatchInputKind::AccumulatedCountWithZero => std::iter::once(0).chain(ends).collect(),
        BatchInputKind::MaxCountAsShape => return sized(datatype, counts.max().unwrap_or(0)),
        BatchInputKind::ItemShape | BatchInputKind::ItemShapeFlat => {
            members.iter().flat_map(row_shapes).collect()
        }
    };
    let shape: Shape = match kind {
        BatchInputKind::ItemShape => {
            let rows = members.iter().filter_map(|shape| shape.first()).sum();
            smallvec![rows, members.first().map_or(0, |shape| shape.len().saturating_sub(1))]
        }
        _ => smallvec![numbers.len()],
    };
    let mut data = Vec::with_capacity(numbers.len() * 4);
    for number in numbers {
        data.extend_from_slice(&encode(number, datatype)?);
    }
    Ok((shape, data.into()))
}

/// The dimensions of a row, once for each row.
fn row_shapes(member: &Shape) -> impl Iterator<Item = usize> {
    let rows = member.first().copied().unwrap_or(0);
    (0..rows).flat_map(|_| member.iter().skip(1).copied())
}

/// A tensor of so many elements, whose size is all that counts.
fn sized(datatype: DataType, count: usize) -> Result<(Shape, Payload), String> {
    let bytes = datatype.element_bytes().and_then(|bytes| count.checked_mul(bytes));
    let bytes = bytes.ok_or("a request has too many elements")?;
    Ok((smallvec![count], vec![0; bytes].into()))
}

/// A number as an element. Floats are the nearest, as 32 bits have it.
fn encode(number: usize, datatype: DataType) -> Result<[u8; 4], String> {
    match datatype {
        DataType::Fp32 => Ok((number as f32).to_le_bytes()),
        _ => i32::try_from(number).map(i32::to_le_bytes).map_err(|_| {
            format!("the batch has {number} elements, which is more than INT32 can hold")
        }),
    }
}
