//! Slices.

use super::call::{Call, Inferred};
use super::dims;
use super::value::{Number, Value};
use crate::Dim;

/// Ends past this mean "to the end": exporters write the largest of 32 or 64 bits.
const TO_END: i64 = i32::MAX as i64;

/// A slice of one axis. Negative indices count from the end.
struct AxisSlice<'n> {
    axis: usize,
    start: &'n Number,
    end: &'n Number,
    step: i64,
}

pub(super) fn slice(call: &Call<'_, '_>) -> Inferred {
    let Some(dims) = call.dims(0) else {
        return Some(vec![Value::tensor(call.element(0), None)]);
    };
    let arguments = Arguments::of(call);
    let Some(slices) = arguments.as_ref().and_then(|arguments| arguments.slices(dims.len())) else {
        let dims = arguments.map_or(dims::unknown(dims.len()), |_| dims::unknown(dims.len()));
        return Some(vec![Value::tensor(call.element(0), Some(dims))]);
    };
    let mut left = dims.to_vec();
    for slice in &slices {
        left[slice.axis] = slice.size(&dims[slice.axis]);
    }
    let numbers = call.input(0).block().and_then(|(mut sizes, numbers)| {
        slices.iter().try_fold(numbers.to_vec(), |left, slice| slice.of(&left, &mut sizes))
    });
    Some(vec![Value::tensor(call.element(0), Some(left)).with_numbers(numbers)])
}

/// Arguments of a slice: attributes before version 10, inputs since.
struct Arguments {
    starts: Vec<Number>,
    ends: Vec<Number>,
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
}

impl Arguments {
    fn of(call: &Call<'_, '_>) -> Option<Self> {
        let list = |attribute: &str, input: usize| {
            let explicit = call.ints(attribute).map(|ints| ints.iter().copied().map(Number::Int));
            explicit.map(Iterator::collect).or_else(|| Some(call.numbers(input)?.to_vec()))
        };
        // Axes and steps must be known if they are given.
        let ints = |attribute: &str, input: usize| match list(attribute, input) {
            Some(numbers) => {
                numbers.iter().map(Number::int).collect::<Option<Vec<i64>>>().map(Some)
            }
            None if call.has_input(input) => None,
            None => Some(None),
        };
        let (axes, steps) = (ints("axes", 3)?, ints("steps", 4)?);
        Some(Self { starts: list("starts", 1)?, ends: list("ends", 2)?, axes, steps })
    }

    fn slices(&self, rank: usize) -> Option<Vec<AxisSlice<'_>>> {
        let pairs = self.starts.iter().zip(&self.ends).enumerate();
        let slice = |(index, (start, end))| {
            let axis = match &self.axes {
                Some(axes) => dims::axis(*axes.get(index)?, rank)?,
                None if index < rank => index,
                None => return None,
            };
            let step = self.steps.as_ref().map_or(Some(1), |steps| steps.get(index).copied())?;
            Some(AxisSlice { axis, start, end, step })
        };
        pairs.map(slice).collect()
    }
}

impl AxisSlice<'_> {
    /// Size of the slice.
    fn size(&self, dim: &Dim) -> Dim {
        if self.is_whole() {
            return dim.clone();
        }
        match (dims::fixed(dim), self.start, self.end.dim(), self.step) {
            // A prefix: a valid model is at least that long.
            (_, Number::Int(0), Dim::Symbol(symbol), 1) => Dim::Symbol(symbol),
            (_, Number::Int(0), end @ Dim::Computed(_), 1) if *dim == end => end,
            (_, Number::Int(0), end @ Dim::Computed(_), 1) => dims::truncated(dim, &end),
            (Some(size), ..) => match self.range(size) {
                Some((start, end)) => Dim::Fixed(self.count(start, end)),
                None => Dim::Unknown,
            },
            _ => Dim::Unknown,
        }
    }

    /// True if the slice keeps every element, of any size.
    fn is_whole(&self) -> bool {
        match (self.start, self.end, self.step) {
            (Number::Int(0), Number::Int(end), 1) => *end >= TO_END,
            (Number::Int(-1), Number::Int(end), -1) => *end <= -TO_END,
            _ => false,
        }
    }

    /// First index and end, for this size; the end may be -1.
    fn range(&self, size: u64) -> Option<(i128, i128)> {
        let size = i128::from(size);
        let (low, high) = if self.step > 0 { (0, size) } else { (-1, size - 1) };
        let index = |number: &Number| {
            let index = i128::from(number.int()?);
            Some((if index < 0 { index + size } else { index }).clamp(low, high))
        };
        (self.step != 0).then(|| index(self.start).zip(index(self.end))).flatten()
    }

    fn count(&self, start: i128, end: i128) -> u64 {
        let step = i128::from(self.step);
        let distance = if step > 0 { end - start } else { start - end };
        let step = step.abs();
        u64::try_from((distance + step - 1) / step).unwrap_or(0)
    }

    /// Slices the numbers of a tensor, and updates its sizes.
    fn of(&self, numbers: &[Number], sizes: &mut [usize]) -> Option<Vec<Number>> {
        let size = sizes.get(self.axis).copied()?;
        let (start, end) = self.range(size as u64)?;
        let places = (0..self.count(start, end))
            .map(|index| usize::try_from(start + i128::from(index) * i128::from(self.step)).ok());
        let places: Vec<usize> = places.collect::<Option<_>>()?;
        let inner = sizes[self.axis + 1..].iter().try_fold(1, |a, b| usize::checked_mul(a, *b))?;
        sizes[self.axis] = places.len();
        // A chunk holds all that lies along the axis.
        let chunks = numbers.chunks(size.checked_mul(inner)?.max(1));
        let picked = chunks.flat_map(|chunk| {
            places.iter().filter_map(|index| chunk.get(index * inner..)?.get(..inner))
        });
        Some(picked.flatten().cloned().collect())
    }
}
