//! Pads and cuts arrays of bytes in row-major order.

use crate::tensor::elements;

/// Pads an array to the shape `wanted` with elements `fill` after those of each dimension. No size
/// may shrink.
pub(crate) fn pad(data: &[u8], shape: &[usize], wanted: &[usize], fill: &[u8]) -> Vec<u8> {
    let count = elements(wanted).unwrap_or(0);
    let mut padded = match fill.iter().all(|byte| *byte == 0) {
        true => vec![0; count * fill.len()],
        false => fill.repeat(count),
    };
    copy_corner(data, shape, &mut padded, wanted);
    padded
}

/// Cuts an array to the shape `wanted`, keeping the first elements of each dimension. No size may
/// grow.
pub(crate) fn cut(data: &[u8], shape: &[usize], wanted: &[usize], element_bytes: usize) -> Vec<u8> {
    let mut rest = vec![0; elements(wanted).unwrap_or(0) * element_bytes];
    copy_corner(data, shape, &mut rest, wanted);
    rest
}

/// Copies the elements at indices that two arrays of one rank both have.
fn copy_corner(from: &[u8], from_shape: &[usize], to: &mut [u8], to_shape: &[usize]) {
    if from.is_empty() || to.is_empty() {
        return;
    }
    if let ([from_rows, from_row @ ..], [to_rows, to_row @ ..]) = (from_shape, to_shape)
        && from_row != to_row
    {
        // An array that is not empty has rows, and none of them is empty.
        let (from_bytes, to_bytes) = (from.len() / from_rows, to.len() / to_rows);
        for (from, to) in from.chunks(from_bytes).zip(to.chunks_mut(to_bytes)) {
            copy_corner(from, from_row, to, to_row);
        }
        return;
    }
    let common = from.len().min(to.len());
    to[..common].copy_from_slice(&from[..common]);
}
