//! Arithmetic of dimensions of which not all are known.

use crate::Dim;
use crate::size::{divided, is_free_of_rows, term, times};

/// The dimension that an axis means, counted from the end where it is negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(usize::try_from(axis).ok()?)
}

/// This many dimensions of which nothing is known.
pub(crate) fn unknown(rank: usize) -> Vec<Dim> {
    vec![Dim::Unknown; rank]
}

/// The size, where it is known.
pub(crate) fn fixed(dim: &Dim) -> Option<u64> {
    match dim {
        Dim::Fixed(size) => Some(*size),
        _ => None,
    }
}

/// The number of elements of these dimensions.
pub(crate) fn product(dims: &[Dim]) -> Dim {
    if dims.contains(&Dim::Fixed(0)) {
        return Dim::Fixed(0);
    }
    dims.iter().fold(Dim::Fixed(1), |product, dim| match (product, dim) {
        (Dim::Fixed(1), dim) => dim.clone(),
        (dim, Dim::Fixed(1)) => dim,
        (a, b) => times(&a, b),
    })
}

/// What is left of `whole` for one dimension beside `parts`, so that the products are the same.
pub(crate) fn quotient(whole: &[Dim], parts: &[Dim]) -> Dim {
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
        (whole @ Dim::Computed(_), part) => divided(&whole, &part),
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
pub(crate) fn unified(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(_), _) | (_, Dim::Unknown) => a.clone(),
        (_, Dim::Fixed(_)) | (Dim::Unknown, _) => b.clone(),
        // Both are the same size, and only one follows from the number of rows.
        (Dim::Computed(_), Dim::Computed(_)) if is_free_of_rows(a) => b.clone(),
        _ => a.clone(),
    }
}

/// The dimensions that tensors of both give together, aligned at their ends: ones stretch.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Vec<Dim> {
    let rank = a.len().max(b.len());
    let one = Dim::Fixed(1);
    let at = |dims: &[Dim], place: usize| {
        (place + dims.len()).checked_sub(rank).map_or(one.clone(), |place| dims[place].clone())
    };
    (0..rank).map(|place| broadcast_dim(at(a, place), at(b, place))).collect()
}

fn broadcast_dim(a: Dim, b: Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => dim,
        // Any other number is what a valid partner has, or stretches to.
        (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Dim::Fixed(size),
        (a, b) if a == b => a,
        (a, b) if is_truncation(&a, &b) => b,
        (a, b) if is_truncation(&b, &a) => a,
        (a, b) => term("stretched", &[&a, &b]),
    }
}

/// The first `end` elements of a dimension: fewer where there are not so many.
pub(crate) fn truncated(whole: &Dim, end: &Dim) -> Dim {
    term("cut", &[whole, end])
}

/// Whether `cut` is `end` elements of a fixed dimension of more than one. It is then `end` itself
/// wherever it stretches to `end`: a smaller one does not, unless both are one.
fn is_truncation(cut: &Dim, end: &Dim) -> bool {
    let Dim::Computed(size) = cut else { return false };
    let term = size.to_string();
    let whole = term.strip_prefix("cut(").and_then(|rest| rest.split_once(','));
    whole.is_some_and(|(whole, rest)| {
        whole.parse().is_ok_and(|whole: u64| whole > 1)
            && rest.strip_suffix(')') == Some(&end.to_string())
    })
}

/// What is known of a dimension that is one of two.
pub(crate) fn common(a: &Dim, b: &Dim) -> Dim {
    if a == b { a.clone() } else { Dim::Unknown }
}

/// The sum of two dimensions.
pub(crate) fn sum(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(0), other) | (other, Dim::Fixed(0)) => other.clone(),
        _ => term("sum", &[a, b]),
    }
}
