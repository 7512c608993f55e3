//! Chooses the open dimensions to be tried at zero: those that are zero together in valid requests.

use crate::signature::TensorSpec;
use crate::zero_elements::ZeroDims;
use std::collections::BTreeSet;

/// Candidates of one model; dimensions beyond this count as not tried.
const CANDIDATES_MAX: usize = 32;

/// Dimensions that share a name, dimensions at one position of several inputs, and each unnamed
/// dimension alone.
pub(super) fn candidates(inputs: &[TensorSpec]) -> BTreeSet<ZeroDims> {
    let open: Vec<(usize, usize)> = inputs.iter().enumerate().flat_map(open_dims).collect();
    let name = |&(input, dim): &(usize, usize)| {
        inputs[input].dim_names.get(dim).map_or("", String::as_str)
    };
    let all_with = |matches: &dyn Fn(&(usize, usize)) -> bool| -> ZeroDims {
        open.iter().copied().filter(|dim| matches(dim)).collect()
    };
    let mut all = BTreeSet::new();
    for dim in &open {
        // Inputs often have the same dimension at the same position, such as rows, without a name.
        for dims in [
            match name(dim) {
                "" => vec![*dim],
                own_name => all_with(&|other| name(other) == own_name),
            },
            all_with(&|other| other.1 == dim.1),
        ] {
            if all.len() < CANDIDATES_MAX {
                all.insert(dims);
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
        TensorSpec { name, datatype, dims, dim_names, any_rank: false, reshape: None }
    }

    fn of(inputs: &[TensorSpec]) -> Vec<ZeroDims> {
        candidates(inputs).into_iter().collect()
    }

    #[test]
    fn a_fixed_dimension_is_not_tried() {
        assert!(of(&[input(&[Some(2), Some(0)], &["", ""])]).is_empty());
        assert_eq!(of(&[input(&[None, Some(2)], &["n", ""])]), [vec![(0, 0)]]);
    }

    #[test]
    fn dimensions_of_one_name_are_tried_together() {
        let inputs = [input(&[None, None], &["n", "t"]), input(&[None], &["t"])];
        let found = of(&inputs);
        // The second is the first dimension of all inputs.
        assert_eq!(found, [vec![(0, 0)], vec![(0, 0), (1, 0)], vec![(0, 1)], vec![(0, 1), (1, 0)]]);
    }

    #[test]
    fn dimensions_without_a_name_are_tried_alone_and_across_inputs() {
        let inputs = [input(&[None], &[""]), input(&[None], &[""])];
        assert_eq!(of(&inputs), [vec![(0, 0)], vec![(0, 0), (1, 0)], vec![(1, 0)]]);
    }

    #[test]
    fn candidates_have_a_limit() {
        let inputs = vec![input(&[None; 8], &[""; 8]); 8];
        assert_eq!(of(&inputs).len(), CANDIDATES_MAX);
    }
}
