//! Encodes weights in the format of [`Lanes`].

use super::schedule::{Slot, plan};
use super::{
    BAND, Band, FIELD_BITS, LANES, LaneValues, Lanes, REGISTERS, Straggler, WINDOW, WORD_STEPS,
};
use crate::aligned::{LINE, Line};
use crate::weights::{SparseWeights, Values};

/// Word of an idle lane: each step selects the last element of the window.
const IDLE: u32 = {
    let offset = WINDOW as u32;
    offset | offset << (2 * FIELD_BITS) | offset << (4 * FIELD_BITS)
};

impl Lanes {
    /// Encodes weights.
    pub(crate) fn new(weights: &SparseWeights) -> Self {
        let mut order: Vec<u32> = (0..weights.outputs() as u32).collect();
        // Lanes of a band move along the inputs together, so they should have equally many weights.
        order.sort_by_key(|output| std::cmp::Reverse(weights.range(*output as usize).len()));
        let mut lanes = Self {
            inputs: weights.inputs(),
            bands: Vec::new(),
            windows: Vec::new(),
            words: Vec::new(),
            values: match weights.values() {
                Values::Coded { codebook, .. } => LaneValues::Coded(*codebook),
                Values::Plain(_) => LaneValues::Plain(Vec::new()),
            },
            stragglers: Vec::new(),
            order: Vec::new(),
        };
        order.chunks(BAND).for_each(|outputs| lanes.band(weights, outputs));
        lanes.order = order;
        lanes.shrink();
        lanes
    }

    fn shrink(&mut self) {
        self.windows.shrink_to_fit();
        self.words.shrink_to_fit();
        self.stragglers.shrink_to_fit();
        if let LaneValues::Plain(values) = &mut self.values {
            values.shrink_to_fit();
        }
    }

    fn band(&mut self, weights: &SparseWeights, outputs: &[u32]) {
        let ranges: Vec<_> = outputs.iter().map(|o| weights.range(*o as usize)).collect();
        let inputs: Vec<_> = ranges.iter().map(|r| &weights.columns()[r.clone()]).collect();
        let mut stragglers: [Vec<(usize, usize)>; REGISTERS] = Default::default();
        let first = self.words.len() / REGISTERS;
        let windows = plan(&inputs, |step, slot| match slot {
            Slot::Step { lane, index, offset } => {
                let at = ranges[lane].start + index;
                self.put((first * WORD_STEPS + step, lane), offset, weights.values(), at);
            }
            Slot::Straggler { lane, index } => {
                stragglers[lane / LANES].push((lane % LANES, ranges[lane].start + index));
            }
        });
        let steps = windows.len().next_multiple_of(WORD_STEPS);
        self.windows.extend(&windows);
        self.windows.resize(first * WORD_STEPS + steps, 0);
        let words = first + steps / WORD_STEPS;
        let mut band = Band { words: words as u32, ..Band::default() };
        for (end, stragglers) in band.stragglers.iter_mut().zip(&stragglers) {
            self.add_stragglers(weights, stragglers);
            *end = self.stragglers.len() as u32;
        }
        self.bands.push(band);
    }

    /// Writes a weight into its step and lane of a band.
    fn put(&mut self, (step, lane): (usize, usize), offset: u32, values: &Values, at: usize) {
        let (word, part) = (step / WORD_STEPS, (step % WORD_STEPS) as u32);
        if self.words.len() <= word * REGISTERS {
            self.words.resize((word + 1) * REGISTERS, Line([IDLE; LINE]));
        }
        let shift = part * 2 * FIELD_BITS;
        let word = &mut self.words[word * REGISTERS + lane / LANES].0[lane % LANES];
        let code = match (values, &mut self.values) {
            (Values::Coded { codes, .. }, _) => u32::from(codes[at]),
            (plain, LaneValues::Plain(lines)) => {
                if lines.len() <= step * REGISTERS {
                    lines.resize(
                        (step / WORD_STEPS + 1) * WORD_STEPS * REGISTERS,
                        Line([0.0; LINE]),
                    );
                }
                lines[step * REGISTERS + lane / LANES].0[lane % LANES] = plain.get(at);
                0
            }
            (Values::Plain(_), LaneValues::Coded(_)) => 0,
        };
        *word &= !((WINDOW as u32) << shift);
        *word |= (offset | code << FIELD_BITS) << shift;
    }

    /// Adds the stragglers of a register's lanes.
    fn add_stragglers(&mut self, weights: &SparseWeights, stragglers: &[(usize, usize)]) {
        // The input behind the last is zero.
        let idle =
            Straggler { inputs: Line([self.inputs as u32; LINE]), values: Line([0.0; LINE]) };
        let mut used = [0; LANES];
        let first = self.stragglers.len();
        for &(lane, at) in stragglers {
            let index = first + used[lane];
            used[lane] += 1;
            if index == self.stragglers.len() {
                self.stragglers.push(idle.clone());
            }
            self.stragglers[index].inputs.0[lane] = weights.columns()[at];
            self.stragglers[index].values.0[lane] = weights.values().get(at);
        }
    }
}
