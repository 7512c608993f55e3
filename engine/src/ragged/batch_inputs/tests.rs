//! Tests of each kind of input: by the examples of Triton's schema, and by what must hold for any.

use super::*;
use proptest::prelude::*;

fn integers(kind: BatchInputKind, members: &[Shape]) -> (Vec<usize>, Vec<i32>) {
    let (shape, data) = make(kind, DataType::Int32, members).unwrap();
    let data = data.contiguous();
    (shape.to_vec(), data.as_chunks().0.iter().map(|&it| i32::from_le_bytes(it)).collect())
}

fn lengths(lengths: &[usize]) -> Vec<Shape> {
    lengths.iter().map(|&length| smallvec![1, length]).collect()
}

#[test]
fn the_examples_of_the_schema() {
    let two = lengths(&[2, 2]);
    assert_eq!(integers(BatchInputKind::Count, &two), (vec![2], vec![2, 2]));
    assert_eq!(integers(BatchInputKind::AccumulatedCount, &two), (vec![2], vec![2, 4]));
    let with_zero = integers(BatchInputKind::AccumulatedCountWithZero, &two);
    assert_eq!(with_zero, (vec![3], vec![0, 2, 4]));
    let three = lengths(&[3, 4, 5]);
    assert_eq!(integers(BatchInputKind::AccumulatedCount, &three), (vec![3], vec![3, 7, 12]));
    let (shape, data) = integers(BatchInputKind::MaxCountAsShape, &three);
    assert_eq!((shape, data.len()), (vec![5], 5));
    // Two rows of [3, 1], and one of [2, 2].
    let rows: [Shape; 2] = [smallvec![2, 3, 1], smallvec![1, 2, 2]];
    let shapes = vec![3, 1, 3, 1, 2, 2];
    assert_eq!(integers(BatchInputKind::ItemShape, &rows), (vec![3, 2], shapes.clone()));
    assert_eq!(integers(BatchInputKind::ItemShapeFlat, &rows), (vec![6], shapes));
    // A request is one item.
    assert_eq!(integers(BatchInputKind::Count, &rows), (vec![2], vec![6, 4]));
}

#[test]
fn floats_are_rounded_and_integers_are_not() {
    let huge: [Shape; 1] = [smallvec![1, 1 << 31]];
    let error = make(BatchInputKind::Count, DataType::Int32, &huge).unwrap_err();
    assert!(error.contains("2147483648 elements"), "{error}");
    let (_, data) = make(BatchInputKind::Count, DataType::Fp32, &huge).unwrap();
    assert_eq!(data.contiguous(), (2.0_f32.powi(31)).to_le_bytes().as_slice());
    let too_large: [Shape; 1] = [smallvec![usize::MAX, 2]];
    assert!(make(BatchInputKind::MaxCountAsShape, DataType::Fp32, &too_large).is_err());
}

proptest! {
    #[test]
    fn the_kinds_agree(members in prop::collection::vec((0_usize..4, 0_usize..5, 0_usize..5), 0..8)) {
        let members: Vec<Shape> =
            members.into_iter().map(|(rows, a, b)| smallvec![rows, a, b]).collect();
        let of = |kind| integers(kind, &members);
        let (_, counts) = of(BatchInputKind::Count);
        let (_, ends) = of(BatchInputKind::AccumulatedCount);
        let (shape, with_zero) = of(BatchInputKind::AccumulatedCountWithZero);
        prop_assert_eq!(counts.len(), members.len());
        prop_assert_eq!(shape, [members.len() + 1]);
        prop_assert_eq!((with_zero[0], &with_zero[1..]), (0, &ends[..]));
        let steps: Vec<i32> = with_zero.windows(2).map(|pair| pair[1] - pair[0]).collect();
        prop_assert_eq!(&steps, &counts);
        let (shape, data) = of(BatchInputKind::MaxCountAsShape);
        let largest = counts.iter().copied().max().unwrap_or(0) as usize;
        prop_assert_eq!((shape, data.len()), (vec![largest], largest));
        let (rows, flat) = (of(BatchInputKind::ItemShape), of(BatchInputKind::ItemShapeFlat));
        prop_assert_eq!(&rows.1, &flat.1);
        prop_assert_eq!(rows.0.iter().product::<usize>(), rows.1.len());
        // The rows' sizes are the elements of all.
        let sizes: i32 = rows.1.chunks(2).map(|row| row[0] * row[1]).sum();
        prop_assert_eq!(sizes, counts.iter().sum::<i32>());
    }
}
