//! Sizes that are not known before a run, in terms of those of the inputs.

use crate::Dim;
use std::fmt;
use std::sync::Arc;

/// The most factors of a product that is followed.
const FACTORS_MAX: usize = 16;
/// The longest text of a term that is followed.
const TERM_BYTES_MAX: usize = 256;

/// A product of a number and of open sizes; never a number alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Size {
    number: u64,
    /// Sorted, at least one.
    factors: Vec<Factor>,
}

/// One open size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Factor {
    /// The number of rows of a batch.
    Rows,
    /// A dimension of an input of the graph, both by their places.
    Input { input: usize, axis: usize },
    /// What follows from other sizes, written as a term; never from the number of rows.
    Term(Arc<str>),
    /// Another size that does not follow from the number of rows.
    Fresh(u32),
}

impl Size {
    /// The product of this number and these factors.
    pub(crate) fn dim(number: u64, mut factors: Vec<Factor>) -> Dim {
        if factors.is_empty() || number == 0 {
            return Dim::Fixed(number);
        }
        if factors.len() > FACTORS_MAX {
            return Dim::Unknown;
        }
        factors.sort();
        Dim::Computed(Self { number, factors })
    }

    /// A size of one factor.
    pub(crate) fn of(factor: Factor) -> Dim {
        Dim::Computed(Self { number: 1, factors: vec![factor] })
    }

    /// Whether it is a product of dimensions of inputs, and so not negative.
    pub(crate) fn is_of_inputs(&self) -> bool {
        let is_dim = |factor: &Factor| matches!(factor, Factor::Rows | Factor::Input { .. });
        self.factors.iter().all(is_dim)
    }

    /// Whether it is one dimension of an input, or a few times that.
    pub(crate) fn is_small(&self) -> bool {
        self.is_of_inputs() && self.factors.len() == 1 && self.number <= 1 << 8
    }

    /// Whether each of its factors, but for the number of rows, is one of these dimensions too.
    pub(crate) fn is_part_of(&self, dims: &[Dim]) -> bool {
        let has = |factor: &Factor| {
            dims.iter()
                .any(|dim| matches!(dim, Dim::Computed(size) if size.factors.contains(factor)))
        };
        self.factors.iter().all(|factor| *factor == Factor::Rows || has(factor))
    }

    /// How often the number of rows is a factor.
    fn row_count(&self) -> usize {
        self.factors.iter().filter(|factor| **factor == Factor::Rows).count()
    }

    /// The size where the graph's inputs have these dimensions; `None` where that is not known
    /// or overflows.
    pub(crate) fn value(&self, inputs: &[&[usize]]) -> Option<usize> {
        let number = usize::try_from(self.number).ok()?;
        self.factors.iter().try_fold(number, |product, factor| {
            let size = match factor {
                Factor::Rows => inputs.first()?.first(),
                Factor::Input { input, axis } => inputs.get(*input)?.get(*axis),
                Factor::Term(_) | Factor::Fresh(_) => None,
            };
            product.checked_mul(*size?)
        })
    }

    /// Bytes that it takes, about.
    pub(crate) fn cost(&self) -> usize {
        let of = |factor: &Factor| match factor {
            Factor::Term(term) => size_of::<Factor>() + term.len(),
            _ => size_of::<Factor>(),
        };
        self.factors.iter().map(of).sum()
    }
}

/// The number and the factors of a dimension whose size can be computed.
fn parts(dim: &Dim) -> Option<(u64, &[Factor])> {
    match dim {
        Dim::Fixed(size) => Some((*size, &[])),
        Dim::Computed(size) => Some((size.number, &size.factors)),
        Dim::Symbol(_) | Dim::Unknown => None,
    }
}

/// The product of two dimensions.
pub(crate) fn times(a: &Dim, b: &Dim) -> Dim {
    let Some(((a, of_a), (b, of_b))) = parts(a).zip(parts(b)) else { return Dim::Unknown };
    a.checked_mul(b).map_or(Dim::Unknown, |number| Size::dim(number, [of_a, of_b].concat()))
}

/// What a dimension is divided by another, where that leaves no rest.
pub(crate) fn divided(whole: &Dim, part: &Dim) -> Dim {
    let Some(((whole, factors), (part, by))) = parts(whole).zip(parts(part)) else {
        return Dim::Unknown;
    };
    let mut factors = factors.to_vec();
    for factor in by {
        let Some(place) = factors.iter().position(|other| other == factor) else {
            return Dim::Unknown;
        };
        factors.remove(place);
    }
    match whole.checked_rem(part) {
        Some(0) => Size::dim(whole / part, factors),
        _ => Dim::Unknown,
    }
}

/// Whether the dimension is known not to follow from the number of rows.
pub(crate) fn is_free_of_rows(dim: &Dim) -> bool {
    match dim {
        Dim::Fixed(_) => true,
        Dim::Computed(size) => size.row_count() == 0,
        Dim::Symbol(_) | Dim::Unknown => false,
    }
}

/// The block of a dimension that has as many blocks as there are rows.
pub(crate) fn row_block(dim: &Dim) -> Option<Dim> {
    match dim {
        Dim::Computed(size) if size.row_count() == 1 => Some(divided(dim, &Size::of(Factor::Rows))),
        _ => None,
    }
}

/// What follows from sizes by an operation that is not a product, if none follows from the
/// number of rows: the same term means the same size.
pub(crate) fn term(operation: &str, sizes: &[&Dim]) -> Dim {
    if !sizes.iter().all(|size| is_free_of_rows(size)) {
        return Dim::Unknown;
    }
    let words: Vec<String> = sizes.iter().map(|size| size.to_string()).collect();
    let term = format!("{operation}({})", words.join(","));
    if term.len() > TERM_BYTES_MAX {
        return Dim::Unknown;
    }
    Size::of(Factor::Term(term.into()))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factors: Vec<String> = self.factors.iter().map(Factor::to_string).collect();
        match self.number {
            1 => f.write_str(&factors.join("*")),
            number => write!(f, "{number}*{}", factors.join("*")),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows => f.write_str("rows"),
            Self::Input { input, axis } => write!(f, "input{input}[{axis}]"),
            Self::Term(term) => f.write_str(term),
            Self::Fresh(number) => write!(f, "?{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_divided_by_their_factors() {
        let (rows, side) = (Size::of(Factor::Rows), Size::of(Factor::Input { input: 0, axis: 1 }));
        let all = times(&times(&rows, &side), &Dim::Fixed(384));
        assert_eq!(all.to_string(), "384*rows*input0[1]");
        assert_eq!(divided(&all, &times(&side, &Dim::Fixed(32))).to_string(), "12*rows");
        assert_eq!(divided(&all, &Dim::Fixed(5)), Dim::Unknown);
        assert_eq!(divided(&all, &Dim::Fixed(0)), Dim::Unknown);
        assert_eq!(divided(&side, &rows), Dim::Unknown);
        assert_eq!(row_block(&all).unwrap(), times(&side, &Dim::Fixed(384)));
        assert!(row_block(&times(&all, &rows)).is_none() && row_block(&side).is_none());
        assert_eq!(times(&all, &Dim::Fixed(0)), Dim::Fixed(0));
    }

    #[test]
    fn terms_never_follow_from_the_number_of_rows() {
        let (rows, side) = (Size::of(Factor::Rows), Size::of(Factor::Input { input: 0, axis: 1 }));
        assert_eq!(term("sum", &[&rows, &side]), Dim::Unknown);
        let sum = term("sum", &[&side, &Dim::Fixed(1)]);
        assert_eq!(sum, term("sum", &[&side, &Dim::Fixed(1)]));
        assert!(is_free_of_rows(&sum) && !is_free_of_rows(&Dim::Unknown));
        let Dim::Computed(sum) = sum else { panic!() };
        assert_eq!(sum.value(&[&[2, 3]]), None);
        let Dim::Computed(size) = times(&rows, &side) else { panic!() };
        assert_eq!(size.value(&[&[2, 3]]), Some(6));
        assert_eq!(size.value(&[&[2]]), None);
    }
}
