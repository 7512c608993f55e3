//! Values of the analysis.

use crate::rows::Dependence;
use crate::{Dim, ElementType, Kind, TensorView};

/// Most dimensions of an analysed tensor; real ones have fewer than ten.
pub(crate) const RANK_MAX: usize = 16;
/// Most elements of a tensor that is propagated by value: shapes, axes, sizes of parts.
pub(crate) const NUMBERS_MAX: usize = 256;
/// Longest name of a symbolic size, in bytes.
const SYMBOL_BYTES_MAX: usize = 256;

/// Unknown element type.
pub(crate) const ANY: ElementType = ElementType::Other(0);

/// Knowledge of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    /// Elements in row-major order, if a small tensor of integers or booleans.
    pub(crate) numbers: Option<Vec<Number>>,
    /// Dependence on rows; only where rows are analysed.
    pub(crate) dependence: Dependence,
}

/// Knowledge of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Number {
    Int(i64),
    /// The size of this dynamic dimension.
    Open(Dim),
    Unknown,
}

impl Value {
    pub(crate) const UNKNOWN: Self =
        Self { kind: Kind::Unknown, numbers: None, dependence: Dependence::Shared };

    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind: limited(kind), ..Self::UNKNOWN }
    }

    /// A tensor; dimensions are unknown if there are too many.
    pub(crate) fn tensor(element: ElementType, dims: Option<Vec<Dim>>) -> Self {
        let dims = dims.filter(|dims| dims.len() <= RANK_MAX);
        Self { kind: Kind::Tensor { element, dims }, ..Self::UNKNOWN }
    }

    /// Sets the elements, if they are few and fit the dimensions.
    pub(crate) fn with_numbers(mut self, numbers: Option<Vec<Number>>) -> Self {
        let count = self.dims().and_then(count);
        self.numbers = numbers.filter(|numbers| count == Some(numbers.len()));
        self
    }

    /// A list of integers.
    pub(crate) fn list(numbers: Vec<Number>) -> Self {
        let dims = vec![Dim::Fixed(numbers.len() as u64)];
        Self::tensor(ElementType::Int64, Some(dims)).with_numbers(Some(numbers))
    }

    /// A tensor of the model.
    pub(crate) fn constant(tensor: TensorView<'_>) -> Self {
        let dims = tensor.shape().ok();
        let dims = dims.map(|dims| dims.into_iter().map(Dim::Fixed).collect());
        Self::tensor(tensor.element(), dims).with_numbers(numbers(tensor))
    }

    /// Element type; [`ANY`] if unknown.
    pub(crate) fn element(&self) -> ElementType {
        self.kind.element().unwrap_or(ANY)
    }

    pub(crate) fn dims(&self) -> Option<&[Dim]> {
        self.kind.dims()
    }

    pub(crate) fn numbers(&self) -> Option<&[Number]> {
        self.numbers.as_deref()
    }

    /// Dimensions and elements in row-major order, if propagated by value.
    pub(crate) fn block(&self) -> Option<(Vec<usize>, &[Number])> {
        // A large dimension may be beside one of zero.
        let few = |size: &usize| *size <= NUMBERS_MAX;
        let size = |dim| usize::try_from(super::dims::fixed(dim)?).ok().filter(few);
        Some((self.dims()?.iter().map(size).collect::<Option<_>>()?, self.numbers()?))
    }

    /// Elements, if all are known.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        self.numbers()?.iter().map(Number::int).collect()
    }

    /// Memory in bytes, approximately.
    pub(crate) fn cost(&self) -> usize {
        let numbers = self.numbers().unwrap_or_default().iter().map(|number| match number {
            Number::Open(dim) => size_of::<Number>() + dim_cost(dim),
            _ => size_of::<Number>(),
        });
        cost(&self.kind) + numbers.sum::<usize>()
    }
}

impl Number {
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Dimension of this size.
    pub(crate) fn dim(&self) -> Dim {
        match self {
            Self::Int(value) => u64::try_from(*value).map_or(Dim::Unknown, Dim::Fixed),
            Self::Open(dim) => dim.clone(),
            Self::Unknown => Dim::Unknown,
        }
    }
}

impl From<&Dim> for Number {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Fixed(size) => i64::try_from(*size).map_or(Self::Unknown, Self::Int),
            Dim::Symbol(_) | Dim::Computed(_) => Self::Open(dim.clone()),
            Dim::Unknown => Self::Unknown,
        }
    }
}

/// Number of elements, if known and small.
fn count(dims: &[Dim]) -> Option<usize> {
    let count = match super::dims::product(dims) {
        Dim::Fixed(count) => usize::try_from(count).ok()?,
        _ => return None,
    };
    (count <= NUMBERS_MAX).then_some(count)
}

/// Elements of a small tensor of integers. External ones are not read, since shapes lie in the
/// model.
fn numbers(tensor: TensorView<'_>) -> Option<Vec<Number>> {
    if tensor.is_external() || tensor.count().ok()? > NUMBERS_MAX as u64 {
        return None;
    }
    Some(match tensor.element() {
        ElementType::Int64 => tensor.as_i64().ok()?.iter().copied().map(Number::Int).collect(),
        ElementType::Int32 => {
            let values = tensor.values::<i32>().ok()?;
            values.iter().map(|value| Number::Int(i64::from(*value))).collect()
        }
        ElementType::Bool => {
            let bytes = tensor.bytes().ok()?;
            bytes.iter().map(|byte| Number::Int(i64::from(*byte != 0))).collect()
        }
        _ => return None,
    })
}

/// Limits a kind to the details that are analysed.
fn limited(kind: Kind) -> Kind {
    let dims = |dims: Option<Vec<Dim>>| {
        let dims = dims.filter(|dims| dims.len() <= RANK_MAX)?;
        Some(dims.into_iter().map(limited_dim).collect())
    };
    match kind {
        Kind::Tensor { element, dims: all } => Kind::Tensor { element, dims: dims(all) },
        Kind::SparseTensor { element, dims: all } => {
            Kind::SparseTensor { element, dims: dims(all) }
        }
        Kind::Sequence(inner) => Kind::Sequence(Box::new(limited(*inner))),
        Kind::Map { key, value } => Kind::Map { key, value: Box::new(limited(*value)) },
        Kind::Optional(inner) => Kind::Optional(Box::new(limited(*inner))),
        Kind::Unknown => Kind::Unknown,
    }
}

fn limited_dim(dim: Dim) -> Dim {
    match dim {
        Dim::Symbol(name) if name.len() > SYMBOL_BYTES_MAX => Dim::Unknown,
        dim => dim,
    }
}

fn cost(kind: &Kind) -> usize {
    match kind {
        Kind::Tensor { dims, .. } | Kind::SparseTensor { dims, .. } => {
            dims.iter().flatten().map(dim_cost).sum()
        }
        Kind::Sequence(inner) | Kind::Optional(inner) | Kind::Map { value: inner, .. } => {
            size_of::<Kind>() + cost(inner)
        }
        Kind::Unknown => 0,
    }
}

fn dim_cost(dim: &Dim) -> usize {
    size_of::<Dim>()
        + match dim {
            Dim::Symbol(name) => name.len(),
            Dim::Computed(size) => size.cost(),
            Dim::Fixed(_) | Dim::Unknown => 0,
        }
}
