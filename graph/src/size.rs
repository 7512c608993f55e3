//! Sizes that are known only in a run, as expressions of input sizes.

use crate::Dim;
use std::fmt;
use std::sync::Arc;

/// Most factors of a product; longer ones become unknown.
const FACTORS_MAX: usize = 16;
/// Longest text of a term in bytes; longer ones become unknown.
const TERM_BYTES_MAX: usize = 256;

/// A product of a number and of dynamic sizes; never a number alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Size {
    number: u64,
    /// Sorted; at least one.
    factors: Vec<Factor>,
}

/// One dynamic size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Factor {
    /// Number of rows of a batch.
    Rows,
    /// Dimension of a graph input, both by index.
    Input { input: usize, axis: usize },
    /// Size that follows from other sizes, written as a term; never from the number of rows.
    Term(Arc<str>),
    /// Any other size that does not follow from the number of rows.
    Fresh(u32),
}

impl Size {
    /// Makes the product of a number and factors.
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

    /// Makes a size of one factor.
    pub(crate) fn of(factor: Factor) -> Dim {
        Dim::Computed(Self { number: 1, factors: vec![factor] })
    }

    /// True if all factors are dimensions of inputs, so the size is not negative.
    pub(crate) fn is_of_inputs(&self) -> bool {
        let is_dim = |factor: &Factor| matches!(factor, Factor::Rows | Factor::Input { .. });
        self.factors.iter().all(is_dim)
    }

    /// True if the size is a small multiple of one input dimension.
    pub(crate) fn is_small(&self) -> bool {
        self.is_of_inputs() && self.factors.len() == 1 && self.number <= 1 << 8
    }

    /// True if each factor but the number of rows is also a factor of `dims`.
    pub(crate) fn is_part_of(&self, dims: &[Dim]) -> bool {
        let has = |factor: &Factor| {
            dims.iter()
                .any(|dim| matches!(dim, Dim::Computed(size) if size.factors.contains(factor)))
        };
        self.factors.iter().all(|factor| *factor == Factor::Rows || has(factor))
    }

    /// Number of factors that are the number of rows.
    fn row_count(&self) -> usize {
        self.factors.iter().filter(|factor| **factor == Factor::Rows).count()
    }

    /// Computes the size for inputs of these dimensions; `None` if it is unknown or overflows.
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

    /// Memory of the size in bytes, approximately.
    pub(crate) fn cost(&self) -> usize {
        let of = |factor: &Factor| match factor {
            Factor::Term(term) => size_of::<Factor>() + term.len(),
            _ => size_of::<Factor>(),
        };
        self.factors.iter().map(of).sum()
    }
}

/// Number and factors of a dimension that can be computed.
fn parts(dim: &Dim) -> Option<(u64, &[Factor])> {
    match dim {
        Dim::Fixed(size) => Some((*size, &[])),
        Dim::Computed(size) => Some((size.number, &size.factors)),
        Dim::Symbol(_) | Dim::Unknown => None,
    }
}

/// Multiplies two dimensions.
pub(crate) fn times(a: &Dim, b: &Dim) -> Dim {
    let Some(((a, of_a), (b, of_b))) = parts(a).zip(parts(b)) else { return Dim::Unknown };
    a.checked_mul(b).map_or(Dim::Unknown, |number| Size::dim(number, [of_a, of_b].concat()))
}

/// Divides a dimension by another; unknown unless it leaves no remainder.
pub(crate) fn divided(whole: &Dim, part: &Dim) -> Dim {
    let Some(((whole, factors), (part, by))) = parts(whole).zip(parts(part)) else {
        return Dim::Unknown;
    };
    let mut factors = factors.to_vec();
    for factor in by {
        let Some(index) = factors.iter().position(|other| other == factor) else {
            return Dim::Unknown;
        };
        factors.remove(index);
    }
    match whole.checked_rem(part) {
        Some(0) => Size::dim(whole / part, factors),
        _ => Dim::Unknown,
    }
}

/// True if the dimension is known not to depend on the number of rows.
pub(crate) fn is_free_of_rows(dim: &Dim) -> bool {
    match dim {
        Dim::Fixed(_) => true,
        Dim::Computed(size) => size.row_count() == 0,
        Dim::Symbol(_) | Dim::Unknown => false,
    }
}

/// Entries for each row, of a dimension that has one block for each row.
pub(crate) fn row_block(dim: &Dim) -> Option<Dim> {
    match dim {
        Dim::Computed(size) if size.row_count() == 1 => Some(divided(dim, &Size::of(Factor::Rows))),
        _ => None,
    }
}

/// Makes the result of an operation that is not a product; unknown if a size depends on the number
/// of rows. Equal terms mean equal sizes.
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
