//! Which open dimensions are tried at zero: those that are zero together in a sound request.

use crate::empty::Places;
use crate::signature::TensorSpec;
use std::collections::BTreeSet;

/// Trials of one model; what is left out counts as not tried.
const PLACES_MAX: usize = 32;

/// Dimensions of one name, at one place of several inputs, and each alone that has no name.
pub(super) fn places(inputs: &[TensorSpec]) -> BTreeSet<Places> {
    let open: Vec<(usize, usize)> = inputs.iter().enumerate().flat_map(open_dims).collect();
    let name = |&(input, dim): &(usize, usize)| {
        inputs[input].dim_names.get(dim).map_or("", String::as_str)
    };
    let like = |same: &dyn Fn(&(usize, usize)) -> bool| -> Places {
        open.iter().copied().filter(|place| same(place)).collect()
    };
    let mut all = BTreeSet::new();
    for place in &open {
        // Rows, and whatever else inputs have in common, often without a name.
        for places in [
            match name(place) {
                "" => vec![*place],
                named => like(&|other| name(other) == named),
            },
            like(&|other| other.1 == place.1),
        ] {
            if all.len() < PLACES_MAX {
                all.insert(places);
            }
        }
    }
    all
}

fn open_dims((index, spec): (usize, &TensorSpec)) -> impl Iterator<Item = (usize, usize)> {
    let dims = spec.dims.iter().enumerate().filter(|(_, dim)| dim.is_none());
    dims.map(move |(dim, _)| (index, dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;

    fn input(dims: &[Option<usize>], names: &[&str]) -> TensorSpec {
        let dim_names = names.iter().map(|&name| name.into()).collect();
        let dims = dims.iter().copied().collect();
        let (name, datatype) = ("x".into(), DataType::Fp32);
        TensorSpec { name, datatype, dims, dim_names, any_rank: false }
    }

    fn of(inputs: &[TensorSpec]) -> Vec<Places> {
        places(inputs).into_iter().collect()
    }

    #[test]
    fn a_fixed_dimension_is_not_tried() {
        assert!(of(&[input(&[Some(2), Some(0)], &["", ""])]).is_empty());
        assert_eq!(of(&[input(&[None, Some(2)], &["n", ""])]), [vec![(0, 0)]]);
    }

    #[test]
    fn dimensions_of_one_name_are_zero_together() {
        let inputs = [input(&[None, None], &["n", "t"]), input(&[None], &["t"])];
        let found = of(&inputs);
        // The last is the first dimension of all.
        assert_eq!(found, [vec![(0, 0)], vec![(0, 0), (1, 0)], vec![(0, 1)], vec![(0, 1), (1, 0)]]);
    }

    #[test]
    fn dimensions_without_a_name_are_tried_alone_and_across_inputs() {
        let inputs = [input(&[None], &[""]), input(&[None], &[""])];
        assert_eq!(of(&inputs), [vec![(0, 0)], vec![(0, 0), (1, 0)], vec![(1, 0)]]);
    }

    #[test]
    fn trials_have_a_limit() {
        let inputs = vec![input(&[None; 8], &[""; 8]); 8];
        assert_eq!(of(&inputs).len(), PLACES_MAX);
    }
}
