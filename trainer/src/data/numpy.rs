//! Conversion of NumPy arrays to inputs and targets.

use super::dataset::Inputs;
use crate::batch::Targets;
use bytemuck::pod_collect_to_vec;
use skysail_compression::npy;
use skysail_graph::ElementType;

/// An array in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Inputs,
}

/// Reads the array in the bytes of a `.npy` file: booleans or finite numbers, rows first.
pub(super) fn array(bytes: &[u8]) -> Result<Array, String> {
    let array = npy::read(bytes).map_err(|error| error.to_string())?;
    let sizes = array.shape.iter().map(|size| usize::try_from(*size));
    let shape: Vec<usize> = sizes.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let values = values(array.element, &array.bytes)
        .ok_or_else(|| format!("its elements are {}: convert it with .astype()", array.element))?;
    check_finite(&shape, &values)?;
    Ok(Array { shape, values })
}

/// Converts elements to the smallest kind of inputs that holds them.
fn values(element: ElementType, bytes: &[u8]) -> Option<Inputs> {
    fn integers<T: bytemuck::Pod + Into<i64>>(bytes: &[u8]) -> Inputs {
        Inputs::Int64(pod_collect_to_vec::<u8, T>(bytes).into_iter().map(T::into).collect())
    }
    Some(match element {
        ElementType::UInt8 | ElementType::Bool => Inputs::Bytes(bytes.to_vec()),
        ElementType::Int8 => integers::<i8>(bytes),
        ElementType::Int16 => integers::<i16>(bytes),
        ElementType::Int32 => integers::<i32>(bytes),
        ElementType::Int64 => Inputs::Int64(pod_collect_to_vec(bytes)),
        ElementType::UInt16 => integers::<u16>(bytes),
        ElementType::UInt32 => integers::<u32>(bytes),
        ElementType::Float32 => Inputs::Float32(pod_collect_to_vec(bytes)),
        ElementType::Float64 => {
            let wide = pod_collect_to_vec::<u8, f64>(bytes);
            Inputs::Float32(wide.into_iter().map(|value| value as f32).collect())
        }
        _ => return None,
    })
}

/// Rejects NaN and infinities, and names the row.
fn check_finite(shape: &[usize], values: &Inputs) -> Result<(), String> {
    let Inputs::Float32(values) = values else { return Ok(()) };
    let Some(index) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let size = shape.iter().skip(1).product::<usize>().max(1);
    Err(format!("row {}: {} is not a finite number", index / size, values[index]))
}

/// Converts an array to targets: integers to labels, floats to numbers.
pub(super) fn targets(array: Array) -> Result<Targets, String> {
    let label = |(row, label): (usize, i64)| {
        u32::try_from(label)
            .map_err(|_| format!("row {row}: {label} is not a label: labels are 0, 1, 2 and so on"))
    };
    Ok(match array.values {
        Inputs::Float32(numbers) => Targets::Numbers(numbers),
        Inputs::Bytes(labels) => Targets::Classes(labels.into_iter().map(u32::from).collect()),
        Inputs::Int64(labels) => {
            Targets::Classes(labels.into_iter().enumerate().map(label).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{Element, Tensor};

    fn read<T: Element>(values: &[T]) -> Result<Array, String> {
        array(&npy::write(&Tensor::new(&[values.len() as u64], values).unwrap()).unwrap())
    }

    #[test]
    fn numbers_of_every_kind_are_read() {
        fn values<T: Element>(values: &[T]) -> Inputs {
            read(values).unwrap().values
        }
        assert_eq!(values(&[1.5_f32]), Inputs::Float32(vec![1.5]));
        assert_eq!(values(&[2.5_f64]), Inputs::Float32(vec![2.5]));
        assert_eq!(values(&[1_u8, 2]), Inputs::Bytes(vec![1, 2]));
        assert_eq!(values(&[-1_i8]), Inputs::Int64(vec![-1]));
        assert_eq!(values(&[-7_i64]), Inputs::Int64(vec![-7]));
        assert_eq!(values(&[256_u16]), Inputs::Int64(vec![256]));
        assert!(read(&[7_u64]).unwrap_err().contains("its elements are uint64"));
        assert!(array(b"PK").unwrap_err().contains("no .npy file"));
    }

    #[test]
    fn an_error_names_the_row_that_is_not_finite() {
        let rows = Tensor::new(&[2, 2], &[0.0, 1.0, 2.0, f32::NAN]).unwrap();
        let error = array(&npy::write(&rows).unwrap()).unwrap_err();
        assert_eq!(error, "row 1: NaN is not a finite number");
        assert!(read(&[1.0, 1e300]).unwrap_err().starts_with("row 1: inf is not a finite number"));
    }

    #[test]
    fn labels_are_integers_of_any_size() {
        let of = |array: Result<Array, String>| targets(array.unwrap());
        assert_eq!(of(read(&[9_i64])), Ok(Targets::Classes(vec![9])));
        assert!(of(read(&[-9_i64])).unwrap_err().contains("row 0: -9"));
        assert_eq!(of(read(&[0.5_f32])), Ok(Targets::Numbers(vec![0.5])));
    }
}
