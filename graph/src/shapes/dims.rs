//! Arithmetic of dimensions of which not all are known.

use crate::Dim;

/// The dimension that an axis means, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(usize::try_from(axis).ok()?)
}

/// This many dimensions of which nothing is known.
pub(super) fn unknown(rank: usize) -> Vec<Dim> {
    vec![Dim::Unknown; rank]
}

/// The size, where it is known.
pub(super) fn fixed(dim: &Dim) -> Option<u64> {
    match dim {
        Dim::Fixed(size) => Some(*size),
        _ => None,
    }
}

/// The number of elements of these dimensions.
pub(super) fn product(dims: &[Dim]) -> Dim {
    if dims.contains(&Dim::Fixed(0)) {
        return Dim::Fixed(0);
    }
    dims.iter().fold(Dim::Fixed(1), |product, dim| match (product, dim) {
        (Dim::Fixed(1), dim) => dim.clone(),
        (dim, Dim::Fixed(1)) => dim,
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(*b).map_or(Dim::Unknown, Dim::Fixed),
        _ => Dim::Unknown,
    })
}

/// What is left of `whole` for one dimension beside `parts`, so that the products are the same.
pub(super) fn quotient(whole: &[Dim], parts: &[Dim]) -> Dim {
    let mut whole: Vec<&Dim> = whole.iter().collect();
    let mut left = Vec::new();
    for part in parts {
        // A symbol stands for the same size on both sides.
        let same =
            matches!(part, Dim::Symbol(_)).then(|| whole.iter().position(|dim| *dim == part));
        match same.flatten() {
            Some(place) => drop(whole.swap_remove(place)),
            None => left.push(part.clone()),
        }
    }
    let whole: Vec<Dim> = whole.into_iter().cloned().collect();
    match (product(&whole), product(&left)) {
        (whole, Dim::Fixed(1)) => whole,
        (Dim::Fixed(whole), Dim::Fixed(part)) if part > 0 && whole % part == 0 => {
            Dim::Fixed(whole / part)
        }
        _ => symbol_alone(&whole, &left),
    }
}

/// The symbol of `whole` where all else is the same number on both sides.
fn symbol_alone(whole: &[Dim], parts: &[Dim]) -> Dim {
    let (symbols, rest): (Vec<Dim>, Vec<Dim>) =
        whole.iter().cloned().partition(|dim| matches!(dim, Dim::Symbol(_)));
    match (symbols.as_slice(), product(&rest), product(parts)) {
        ([symbol], Dim::Fixed(a), Dim::Fixed(b)) if a == b && a > 0 => symbol.clone(),
        _ => Dim::Unknown,
    }
}

/// The dimension that both are, as far as either is known.
pub(super) fn agreed(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(_), _) | (Dim::Symbol(_), Dim::Symbol(_) | Dim::Unknown) => a.clone(),
        _ => b.clone(),
    }
}

/// The dimensions that tensors of both give together, aligned at their ends: ones stretch.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let rank = a.len().max(b.len());
    let one = Dim::Fixed(1);
    let at = |dims: &[Dim], place: usize| {
        (place + dims.len()).checked_sub(rank).map_or(one.clone(), |place| dims[place].clone())
    };
    (0..rank).map(|place| stretched(at(a, place), at(b, place))).collect()
}

fn stretched(a: Dim, b: Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => dim,
        // Any other number is what a valid partner has, or stretches to.
        (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Dim::Fixed(size),
        (a, b) if a == b => a,
        _ => Dim::Unknown,
    }
}

/// What is known of a dimension that is one of two.
pub(super) fn either(a: &Dim, b: &Dim) -> Dim {
    if a == b { a.clone() } else { Dim::Unknown }
}
