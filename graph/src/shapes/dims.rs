//! Arithmetic of dimensions, some unknown.

use crate::Dim;
use crate::size::{divided, is_free_of_rows, term, times};

/// Index of an axis, counted from the end if negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(usize::try_from(axis).ok()?)
}

/// Unknown dimensions of this rank.
pub(crate) fn unknown(rank: usize) -> Vec<Dim> {
    vec![Dim::Unknown; rank]
}

/// Size of a fixed dimension.
pub(crate) fn fixed(dim: &Dim) -> Option<u64> {
    match dim {
        Dim::Fixed(size) => Some(*size),
        _ => None,
    }
}

/// Number of elements.
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

/// Infers the one dimension that makes `parts` as many elements as `whole`.
pub(crate) fn quotient(whole: &[Dim], parts: &[Dim]) -> Dim {
    let mut whole: Vec<&Dim> = whole.iter().collect();
    let mut left = Vec::new();
    for part in parts {
        // A symbol means the same size on both sides.
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

/// Symbol of `whole`, if all else is the same number on both sides.
fn symbol_alone(whole: &[Dim], parts: &[Dim]) -> Dim {
    let (symbols, rest): (Vec<Dim>, Vec<Dim>) =
        whole.iter().cloned().partition(|dim| matches!(dim, Dim::Symbol(_)));
    match (symbols.as_slice(), product(&rest), product(parts)) {
        ([symbol], Dim::Fixed(a), Dim::Fixed(b)) if a == b && a > 0 => symbol.clone(),
        _ => Dim::Unknown,
    }
}

/// Unifies two dimensions that are equal in a run.
pub(crate) fn unified(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(_), _) | (_, Dim::Unknown) => a.clone(),
        (_, Dim::Fixed(_)) | (Dim::Unknown, _) => b.clone(),
        // Both are equal, and at most one depends on the number of rows.
        (Dim::Computed(_), Dim::Computed(_)) if is_free_of_rows(a) => b.clone(),
        _ => a.clone(),
    }
}

/// Broadcasts two shapes, aligned at their ends.
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
        // A valid partner of any other number is equal to it or one.
        (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Dim::Fixed(size),
        (a, b) if a == b => a,
        (a, b) if is_truncation(&a, &b) => b,
        (a, b) if is_truncation(&b, &a) => a,
        (a, b) => term("stretched", &[&a, &b]),
    }
}

/// Truncates a dimension to `end` elements; shorter ones stay.
pub(crate) fn truncated(whole: &Dim, end: &Dim) -> Dim {
    term("cut", &[whole, end])
}

/// True if `cut` is a fixed dimension above one, truncated to `end`.
///
/// It then broadcasts with `end` only if it is `end`: a smaller one does not, unless both are one.
fn is_truncation(cut: &Dim, end: &Dim) -> bool {
    let Dim::Computed(size) = cut else { return false };
    let term = size.to_string();
    let whole = term.strip_prefix("cut(").and_then(|rest| rest.split_once(','));
    whole.is_some_and(|(whole, rest)| {
        whole.parse().is_ok_and(|whole: u64| whole > 1)
            && rest.strip_suffix(')') == Some(&end.to_string())
    })
}

/// Dimension that is either `a` or `b`: known if they are equal.
pub(crate) fn common(a: &Dim, b: &Dim) -> Dim {
    if a == b { a.clone() } else { Dim::Unknown }
}

/// Adds two dimensions.
pub(crate) fn sum(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(0), other) | (other, Dim::Fixed(0)) => other.clone(),
        _ => term("sum", &[a, b]),
    }
}
