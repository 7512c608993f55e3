//! Byte weights in the layouts of the levels.

use crate::Level;
use crate::aligned::{LINE, Line};

/// Inputs whose weights are stored together.
pub(super) const GROUP: usize = 4;

/// Weights in panels of one line of outputs.
///
/// A panel has, for each group of inputs, the weights of its first output, of its second, and so
/// on. Missing outputs and inputs have zeros.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) groups: usize,
    pub(super) codes: Codes,
    /// Scales of the codes, a line for each panel.
    scales: Vec<Line<f32>>,
    /// Sums of each output's weights, a line for each panel; a row's center is multiplied by them.
    shifts: Vec<Line<f32>>,
    /// Start of sums of unsigned products, a line for each panel.
    pub(super) starts: Vec<Line<i32>>,
}

/// Stored codes.
#[derive(Debug)]
pub(super) enum Codes {
    /// Bytes: a line of groups of four.
    Bytes(Vec<Line<[i8; GROUP]>>),
    /// 16-bit integers: two lines for each group, one of the first two inputs and one of the
    /// others.
    Words(Vec<Line<[i16; 2]>>),
}

impl Weights {
    /// Lays out weights for a level; `codes` are [inputs, outputs].
    pub(super) fn of(codes: &[i8], outputs: usize, scales: &[f32], level: Level) -> Self {
        let inputs = codes.len() / outputs;
        let (groups, panels) = (inputs.div_ceil(GROUP), outputs.div_ceil(LINE));
        let code = |input: usize, output: usize| match input < inputs && output < outputs {
            true => codes[input * outputs + output],
            false => 0,
        };
        let places = || (0..panels).flat_map(|panel| (0..groups).map(move |group| (panel, group)));
        let line = |(panel, group): (usize, usize)| {
            Line(std::array::from_fn(|lane| {
                std::array::from_fn(|k| code(group * GROUP + k, panel * LINE + lane))
            }))
        };
        let words = |(panel, group): (usize, usize)| {
            [0, 2].map(|half| {
                Line(std::array::from_fn(|lane| {
                    [0, 1].map(|k| i16::from(code(group * GROUP + half + k, panel * LINE + lane)))
                }))
            })
        };
        let stored = match level {
            Level::Vnni => Codes::Bytes(places().map(line).collect()),
            _ => Codes::Words(places().flat_map(words).collect()),
        };
        let mut sums = vec![0_i32; panels * LINE];
        for row in codes.chunks_exact(outputs) {
            sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += i32::from(*code));
        }
        let scale = |output: usize| scales.get(output).copied().unwrap_or(0.0);
        let lines = |of: &dyn Fn(usize) -> f32| {
            let line = |panel| Line(std::array::from_fn(|lane| of(panel * LINE + lane)));
            (0..panels).map(line).collect()
        };
        Self {
            groups,
            codes: stored,
            scales: lines(&scale),
            shifts: lines(&|output| sums[output] as f32 * scale(output)),
            starts: (0..panels)
                .map(|panel| Line(std::array::from_fn(|lane| -128 * sums[panel * LINE + lane])))
                .collect(),
        }
    }

    pub(super) fn panels(&self) -> usize {
        self.scales.len()
    }

    /// Scales and shifts of a panel's outputs.
    #[inline(always)]
    pub(super) fn outputs_of(&self, panel: usize) -> (&[f32; LINE], &[f32; LINE]) {
        (&self.scales[panel].0, &self.shifts[panel].0)
    }

    pub(super) fn bytes(&self) -> usize {
        let codes = match &self.codes {
            Codes::Bytes(lines) => size_of_val(&lines[..]),
            Codes::Words(lines) => size_of_val(&lines[..]),
        };
        codes + self.panels() * 3 * size_of::<Line<f32>>()
    }
}
