//! Sparse weights from outside: checked, and sorted by output and input.

use crate::KernelError;
use crate::error::check_size;
use std::ops::Range;

/// Most outputs or inputs of a matrix: vector instructions index with 32 bits.
pub(crate) const SIDE_MAX: usize = 1 << 30;

/// Most weights of a matrix, zeros included: 16 GB if dense.
pub(crate) const AREA_MAX: usize = 1 << 32;

/// Values in one codebook of the kernels: two registers of AVX-512.
pub(crate) const PALETTE: usize = 32;

/// Non-zero weights of a matrix, output by output.
///
/// Formats are encoded from it ([`SparseMatrix`](crate::SparseMatrix),
/// [`SparseConv`](crate::SparseConv)); afterwards it can be dropped.
#[derive(Debug, Clone)]
pub struct SparseWeights {
    outputs: usize,
    inputs: usize,
    /// Start of each output's weights, and end of the last one's.
    starts: Vec<u32>,
    columns: Vec<u32>,
    values: Values,
}

/// Values of the weights, in order.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// Indices into a small codebook; unused entries are zero.
    Coded { codes: Vec<u8>, codebook: [f32; PALETTE] },
    /// Values themselves.
    Plain(Vec<f32>),
}

impl Values {
    pub(crate) fn get(&self, index: usize) -> f32 {
        match self {
            Self::Coded { codes, codebook } => codebook[usize::from(codes[index]) % PALETTE],
            Self::Plain(values) => values[index],
        }
    }
}

impl SparseWeights {
    /// Makes a matrix of `outputs` x `inputs` from entries (output, input, code), in any order.
    ///
    /// A code is an index into `codebook`. Codes of value zero are left out. The iterator is walked
    /// more than once, so that entries need no copy.
    ///
    ///
    /// # Errors
    /// When an entry is outside of the matrix or the codebook, two have the same position, or a
    /// value is not finite.
    pub fn coded(
        outputs: usize,
        inputs: usize,
        codebook: &[f32],
        entries: impl Iterator<Item = (u32, u32, u16)> + Clone,
    ) -> Result<Self, KernelError> {
        let mut used = vec![false; codebook.len()];
        for (_, _, code) in entries.clone() {
            let entries = codebook.len();
            let used = used.get_mut(usize::from(code));
            *used.ok_or(KernelError::Code { code, entries })? = true;
        }
        let is_weight = |code: u16| codebook[usize::from(code)] != 0.0;
        let entries = entries.filter(|(_, _, code)| is_weight(*code));
        let used = used.into_iter().zip(codebook);
        let used = used.map(|(used, value)| used && *value != 0.0).collect::<Vec<_>>();
        check_finite(used.iter().zip(codebook).filter(|(used, _)| **used).map(|(_, value)| value))?;
        let sorted = SortedEntries::new(outputs, inputs, entries)?;
        Ok(sorted.with(|codes| Values::from_codes(&codes, codebook, &used)))
    }

    /// Makes a matrix of `outputs` x `inputs` from entries (output, input, value), in any order.
    /// Zero values are left out.
    ///
    /// # Errors
    /// When an entry is outside of the matrix, two have the same position, or a value is not
    /// finite.
    pub fn plain(
        outputs: usize,
        inputs: usize,
        entries: impl Iterator<Item = (u32, u32, f32)> + Clone,
    ) -> Result<Self, KernelError> {
        let entries = entries.filter(|(_, _, value)| *value != 0.0);
        let sorted = SortedEntries::new(outputs, inputs, entries)?;
        check_finite(sorted.payloads.iter())?;
        Ok(sorted.with(Values::from_floats))
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of non-zero weights.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// Fraction of weights that are not zero.
    pub fn density(&self) -> f64 {
        self.count() as f64 / (self.outputs as f64 * self.inputs as f64)
    }

    /// Weights of one output: (input, value), by input.
    pub fn of_output(&self, output: usize) -> impl ExactSizeIterator<Item = (u32, f32)> + '_ {
        self.range(output).map(|index| (self.columns[index], self.values.get(index)))
    }

    /// Moves weights to another matrix, where the input of a weight is `place(output, input)`.
    pub(crate) fn remapped(&self, inputs: usize, place: impl Fn(usize, usize) -> usize) -> Self {
        let mut remapped = Self { inputs, ..self.clone() };
        let mut order: Vec<(u32, usize)> = Vec::new();
        for output in 0..self.outputs {
            let range = self.range(output);
            order.clear();
            let column = |at: usize| place(output, self.columns[at] as usize) as u32;
            order.extend(range.clone().map(|at| (column(at), at)));
            order.sort_unstable();
            for (at, &(column, from)) in range.zip(&order) {
                remapped.columns[at] = column;
                match (&mut remapped.values, &self.values) {
                    (Values::Coded { codes, .. }, Values::Coded { codes: old, .. }) => {
                        codes[at] = old[from];
                    }
                    (Values::Plain(values), old) => values[at] = old.get(from),
                    (Values::Coded { .. }, Values::Plain(_)) => {}
                }
            }
        }
        remapped
    }

    pub(crate) fn range(&self, output: usize) -> Range<usize> {
        self.starts[output] as usize..self.starts[output + 1] as usize
    }

    pub(crate) fn columns(&self) -> &[u32] {
        &self.columns
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }
}

fn check_finite<'a>(values: impl IntoIterator<Item = &'a f32>) -> Result<(), KernelError> {
    match values.into_iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(KernelError::NotFinite { value }),
        None => Ok(()),
    }
}

impl Values {
    /// Encodes the values that are used, or keeps values if there are too many.
    fn from_codes(codes: &[u16], codebook: &[f32], used: &[bool]) -> Self {
        let count = used.iter().filter(|used| **used).count();
        if count > PALETTE {
            return Self::Plain(codes.iter().map(|code| codebook[usize::from(*code)]).collect());
        }
        let mut palette = [0.0; PALETTE];
        let mut short = vec![0; codebook.len()];
        let used = (0..codebook.len()).filter(|code| used[*code]);
        for (index, code) in (0_u8..).zip(used) {
            palette[usize::from(index)] = codebook[code];
            short[code] = index;
        }
        let codes = codes.iter().map(|code| short[usize::from(*code)]).collect();
        Self::Coded { codes, codebook: palette }
    }

    /// Encodes the values if they are few, else keeps them.
    fn from_floats(values: Vec<f32>) -> Self {
        let mut palette: Vec<f32> = Vec::with_capacity(PALETTE);
        let mut codes = Vec::new();
        for value in &values {
            let known = palette.iter().position(|known| known.to_bits() == value.to_bits());
            let code = known.unwrap_or(palette.len());
            if code == PALETTE {
                return Self::Plain(values);
            }
            if known.is_none() {
                palette.push(*value);
            }
            codes.push(code as u8);
        }
        palette.resize(PALETTE, 0.0);
        let mut codebook = [0.0; PALETTE];
        codebook.copy_from_slice(&palette);
        Self::Coded { codes, codebook }
    }
}

/// Entries sorted by output and input, each with a payload.
struct SortedEntries<T> {
    outputs: usize,
    inputs: usize,
    starts: Vec<u32>,
    columns: Vec<u32>,
    payloads: Vec<T>,
}

impl<T: Copy + Default> SortedEntries<T> {
    fn new(
        outputs: usize,
        inputs: usize,
        entries: impl Iterator<Item = (u32, u32, T)> + Clone,
    ) -> Result<Self, KernelError> {
        check_side("the number of outputs", outputs)?;
        check_side("the number of inputs", inputs)?;
        check_size("outputs times inputs", outputs.saturating_mul(inputs), AREA_MAX)?;
        let mut starts = vec![0_u32; outputs + 1];
        let mut count = 0_usize;
        for (output, input, _) in entries.clone() {
            if output as usize >= outputs || input as usize >= inputs {
                return Err(KernelError::Outside { output, input, outputs, inputs });
            }
            starts[output as usize + 1] += 1;
            count += 1;
            check_side("the number of weights", count)?;
        }
        for output in 0..outputs {
            starts[output + 1] += starts[output];
        }
        let mut next = starts.clone();
        let (mut columns, mut payloads) = (vec![0; count], vec![T::default(); count]);
        for (output, input, payload) in entries {
            let at = next[output as usize] as usize;
            next[output as usize] += 1;
            columns[at] = input;
            payloads[at] = payload;
        }
        let mut sorted = Self { outputs, inputs, starts, columns, payloads };
        (0..outputs).try_for_each(|output| sorted.sort(output))?;
        Ok(sorted)
    }

    /// Sorts the entries of an output by input, and checks them again: kernels trust them, and an
    /// iterator may return others on each walk.
    fn sort(&mut self, output: usize) -> Result<(), KernelError> {
        let range = self.starts[output] as usize..self.starts[output + 1] as usize;
        let (columns, payloads) = (&mut self.columns[range.clone()], &mut self.payloads[range]);
        if let Some(&input) = columns.iter().find(|input| **input as usize >= self.inputs) {
            let (outputs, inputs, output) = (self.outputs, self.inputs, output as u32);
            return Err(KernelError::Outside { output, input, outputs, inputs });
        }
        if columns.is_sorted_by(|one, next| one < next) {
            return Ok(());
        }
        let mut pairs: Vec<_> = columns.iter().copied().zip(payloads.iter().copied()).collect();
        pairs.sort_by_key(|(column, _)| *column);
        if let Some(twice) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(KernelError::Duplicate { output, input: twice[0].0 });
        }
        for ((column, payload), pair) in columns.iter_mut().zip(payloads).zip(pairs) {
            (*column, *payload) = pair;
        }
        Ok(())
    }

    fn with(self, values: impl FnOnce(Vec<T>) -> Values) -> SparseWeights {
        let Self { outputs, inputs, starts, columns, payloads } = self;
        SparseWeights { outputs, inputs, starts, columns, values: values(payloads) }
    }
}

fn check_side(what: &'static str, value: usize) -> Result<(), KernelError> {
    check_size(what, value, SIDE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    type Entry = (u32, u32, u16);

    fn coded(codebook: &[f32], entries: &[Entry]) -> Result<SparseWeights, KernelError> {
        SparseWeights::coded(2, 3, codebook, entries.iter().copied())
    }

    fn error_of(codebook: &[f32], entries: &[Entry]) -> String {
        coded(codebook, entries).unwrap_err().to_string()
    }

    #[test]
    fn entries_are_sorted_and_zeros_left_out() {
        let weights = coded(&[0.0, 1.5, -2.0], &[(1, 2, 1), (0, 1, 0), (1, 0, 2)]).unwrap();
        assert_eq!((weights.outputs(), weights.inputs(), weights.count()), (2, 3, 2));
        assert_eq!(weights.of_output(0).count(), 0);
        assert_eq!(weights.of_output(1).collect::<Vec<_>>(), [(0, -2.0), (2, 1.5)]);
        let entries = [(1, 2, 1.5), (0, 1, 0.0), (1, 0, -2.0)];
        let plain = SparseWeights::plain(2, 3, entries.into_iter()).unwrap();
        assert_eq!(plain.of_output(1).collect::<Vec<_>>(), [(0, -2.0), (2, 1.5)]);
        assert!(matches!(plain.values(), Values::Coded { .. }));
    }

    #[test]
    fn many_values_are_kept_without_a_codebook() {
        for (values, few) in [(32, true), (33, false)] {
            let entries = (0..values).map(|i| (0, i, i as f32 + 1.0));
            let plain = SparseWeights::plain(1, 40, entries.clone()).unwrap();
            assert_eq!(matches!(plain.values(), Values::Coded { .. }), few);
            // Code 0 is unused, so it takes no entry.
            let codebook: Vec<f32> = (0..=values).map(|i| i as f32).collect();
            let codes = (0..values).map(|i| (0, i, i as u16 + 1));
            let coded = SparseWeights::coded(1, 40, &codebook, codes).unwrap();
            assert_eq!(matches!(coded.values(), Values::Coded { .. }), few);
            let expected: Vec<_> = entries.map(|(_, input, value)| (input, value)).collect();
            assert_eq!(plain.of_output(0).collect::<Vec<_>>(), expected);
            assert_eq!(coded.of_output(0).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn inconsistent_weights_are_rejected() {
        assert!(error_of(&[1.0], &[(2, 0, 0)]).contains("output 2, input 0 of a matrix of 2 x 3"));
        assert!(error_of(&[1.0], &[(0, 3, 0)]).contains("output 0, input 3"));
        assert!(error_of(&[1.0], &[(0, 0, 1)]).contains("code 1, and the codebook has 1"));
        assert!(error_of(&[1.0], &[(0, 1, 0), (0, 1, 0)]).contains("two weights at output 0"));
        assert!(error_of(&[f32::NAN], &[(0, 1, 0)]).contains("must be finite"));
        assert!(coded(&[1.0, f32::NAN], &[(0, 1, 0)]).is_ok(), "it is not used");
        let none = std::iter::empty();
        let error = SparseWeights::plain(0, 3, none.clone()).unwrap_err().to_string();
        assert!(error.contains("the number of outputs is 0"), "{error}");
        assert!(SparseWeights::plain(1, SIDE_MAX + 1, none.clone()).is_err());
        let error = SparseWeights::plain(1 << 20, 1 << 20, none).unwrap_err().to_string();
        assert!(error.contains("outputs times inputs"), "{error}");
    }

    /// Iterator that returns other entries on each walk.
    #[derive(Clone)]
    struct Inconsistent<'a> {
        walks: &'a Cell<u32>,
        changes_from: u32,
        is_over: bool,
    }

    impl Iterator for Inconsistent<'_> {
        type Item = (u32, u32, f32);

        fn next(&mut self) -> Option<Self::Item> {
            if std::mem::replace(&mut self.is_over, true) {
                return None;
            }
            self.walks.set(self.walks.get() + 1);
            Some((0, if self.walks.get() > self.changes_from { 1_000_000 } else { 2 }, 1.0))
        }
    }

    #[test]
    fn entries_that_change_between_walks_are_checked_too() {
        for changes_from in 0..2 {
            let walks = Cell::new(0);
            let entries = Inconsistent { walks: &walks, changes_from, is_over: false };
            let error = SparseWeights::plain(2, 3, entries).unwrap_err().to_string();
            assert!(error.contains("output 0, input 1000000"), "{error}");
        }
    }
}
