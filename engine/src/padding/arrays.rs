//! Arrays of bytes in row-major order, made larger and smaller.

use crate::tensor::elements;

/// The array with as many elements behind each dimension's own as make it `wanted`. Each of them
/// is `fill`. No size may shrink.
pub(crate) fn pad(data: &[u8], shape: &[usize], wanted: &[usize], fill: &[u8]) -> Vec<u8> {
    let count = elements(wanted).unwrap_or(0);
    let mut padded = match fill.iter().all(|byte| *byte == 0) {
        true => vec![0; count * fill.len()],
        false => fill.repeat(count),
    };
    copy_corner(data, shape, &mut padded, wanted);
    padded
}

/// The first elements of each dimension, as many as `wanted`. No size may grow.
pub(crate) fn cut(data: &[u8], shape: &[usize], wanted: &[usize], element_bytes: usize) -> Vec<u8> {
    let mut rest = vec![0; elements(wanted).unwrap_or(0) * element_bytes];
    copy_corner(data, shape, &mut rest, wanted);
    rest
}

/// Copies what two arrays of one rank have in common: the elements at places that both have.
fn copy_corner(from: &[u8], from_shape: &[usize], to: &mut [u8], to_shape: &[usize]) {
    if from.is_empty() || to.is_empty() {
        return;
    }
    if let ([from_rows, from_row @ ..], [to_rows, to_row @ ..]) = (from_shape, to_shape)
        && from_row != to_row
    {
        // An array with bytes has rows, and each of them has bytes.
        let (from_bytes, to_bytes) = (from.len() / from_rows, to.len() / to_rows);
        for (from, to) in from.chunks(from_bytes).zip(to.chunks_mut(to_bytes)) {
            copy_corner(from, from_row, to, to_row);
        }
        return;
    }
    let common = from.len().min(to.len());
    to[..common].copy_from_slice(&from[..common]);
}
