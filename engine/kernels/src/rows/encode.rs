//! Encodes weights in the format of [`Rows`].

use super::{BAND, CODE_BITS, GROUP, Group, Positions, RowValues, Rows, STEPS, Start, TILE_MAX};
use crate::Level;
use crate::aligned::LINE;
use crate::panel::Panel;
use crate::weights::{SparseWeights, Values};

/// Inputs in a tile: a strip of it is 16 kB, so that two fit the first-level cache.
pub(super) const TILE: usize = 256;

/// Fewest weights of an output in a tile, for which tiles grow: the start of a group costs about as
/// much as eight steps.
const WEIGHTS_A_TILE: f64 = 16.0;

impl Rows {
    /// Encodes weights for a level.
    pub(crate) fn new(weights: &SparseWeights, positions: Positions, level: Level) -> Self {
        let kernel_rows = match positions {
            Positions::Batch => 1,
            Positions::Pixels { kernel_rows } => kernel_rows,
        };
        let inputs = weights.inputs() / kernel_rows;
        let panel = Panel { inputs, tile: tile(inputs, weights.density(), positions) };
        let mut encoder = Encoder {
            weights,
            panel,
            next: (0..weights.outputs()).map(|output| weights.range(output).start).collect(),
            rows: Self {
                level: level.or_best(),
                outputs: weights.outputs(),
                panel,
                kernel_rows,
                starts: vec![Start { group: 0, step: 0 }],
                groups: Vec::new(),
                slots: Vec::new(),
                values: match weights.values() {
                    Values::Coded { codebook, .. } => RowValues::Coded(*codebook),
                    Values::Plain(_) => RowValues::Plain(Vec::new()),
                },
            },
        };
        for band in 0..encoder.rows.bands() {
            for tile in 0..encoder.rows.tiles() {
                encoder.tile(band, tile);
            }
        }
        encoder.rows.slots.extend([0; LINE]);
        encoder.rows.shrink();
        encoder.rows
    }

    fn shrink(&mut self) {
        self.groups.shrink_to_fit();
        self.slots.shrink_to_fit();
        if let RowValues::Plain(values) = &mut self.values {
            values.shrink_to_fit();
        }
    }
}

/// Chooses the inputs in a tile, so that it has enough weights.
fn tile(inputs: usize, density: f64, positions: Positions) -> usize {
    let mut tile = match positions {
        Positions::Batch => TILE,
        Positions::Pixels { .. } => TILE / 2,
    };
    while tile * 2 <= TILE_MAX && density * (tile as f64) < WEIGHTS_A_TILE {
        tile *= 2;
    }
    // Tiles of equal size, of whole lines of a batch.
    let tiles = inputs.div_ceil(tile);
    inputs.div_ceil(tiles).next_multiple_of(16).min(TILE_MAX)
}

struct Encoder<'a> {
    weights: &'a SparseWeights,
    panel: Panel,
    /// First weight of each output that is not yet in a tile.
    next: Vec<usize>,
    rows: Rows,
}

/// Weights of an output in a tile.
#[derive(Clone, Copy)]
struct TileWeights {
    output: u8,
    start: usize,
    len: usize,
}

impl TileWeights {
    fn idle(output: u8) -> Self {
        Self { output, start: 0, len: 0 }
    }
}

impl Encoder<'_> {
    fn tile(&mut self, band: usize, tile: usize) {
        let (row, place) = (tile / self.panel.tiles(), tile % self.panel.tiles());
        let inputs = self.panel.inputs_of(place);
        let first = (row * self.panel.inputs + inputs.start) as u32;
        let end = first + inputs.len() as u32;
        let mut runs: Vec<TileWeights> = Vec::with_capacity(BAND);
        for (place, output) in (0_u8..=u8::MAX).zip(self.rows.outputs_of(band)) {
            let start = self.next[output];
            let rest = &self.weights.columns()[start..self.weights.range(output).end];
            let len = rest.partition_point(|column| *column < end);
            self.next[output] += len;
            runs.push(TileWeights { output: place, start, len });
        }
        // The last group is padded with unused outputs; the band then has some.
        let outputs = runs.len();
        runs.extend(
            (outputs..outputs.next_multiple_of(GROUP)).map(|place| TileWeights::idle(place as u8)),
        );
        runs.sort_by_key(|run| std::cmp::Reverse(run.len));
        let mut step = self.rows.starts.last().map_or(0, |start| start.step);
        let (groups, _) = runs.as_chunks::<GROUP>();
        for group in groups.iter().take_while(|group| group[0].len > 0) {
            step += self.group(group, first) as u32;
        }
        self.rows.starts.push(Start { group: self.rows.groups.len() as u32, step });
    }

    /// Adds a group, the longest output first; returns the number of its steps.
    fn group(&mut self, runs: &[TileWeights; GROUP], first: u32) -> usize {
        let steps = runs[0].len.next_multiple_of(STEPS);
        self.rows.groups.push(Group { steps: steps as u16, outputs: runs.map(|run| run.output) });
        let zeros = self.panel.tile as u16;
        for step in 0..steps {
            for run in runs {
                let index = (step < run.len).then_some(run.start + step);
                let input = index.map_or(zeros, |at| (self.weights.columns()[at] - first) as u16);
                self.slot(index, input);
            }
        }
        steps
    }

    fn slot(&mut self, index: Option<usize>, input: u16) {
        let mut slot = input << CODE_BITS;
        match (&mut self.rows.values, self.weights.values()) {
            (RowValues::Plain(values), weights) => {
                values.push(index.map_or(0.0, |at| weights.get(at)));
            }
            (_, Values::Coded { codes, .. }) => slot |= index.map_or(0, |at| u16::from(codes[at])),
            _ => {}
        }
        self.rows.slots.push(slot);
    }
}
