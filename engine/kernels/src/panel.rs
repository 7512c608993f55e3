//! Layout of the inputs of [`Rows`](crate::rows::Rows): positions side by side.
//!
//! A position is a row of a batch, or a pixel of a convolution's output. Sixteen positions form a
//! *strip*: for each input of the matrix a line of sixteen numbers, one for each position.
//!
//! Inputs are cut into tiles that stay in the first-level cache. A line of zeros follows each tile,
//! for the padding weights of a sparse matrix.

use crate::Level;
use crate::aligned::LINE;
use crate::transpose::{Block, transpose};
use std::ops::Range;

/// Layout of a strip's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panel {
    /// Inputs of the matrix.
    pub(crate) inputs: usize,
    /// Inputs in a tile.
    pub(crate) tile: usize,
}

/// Lanes of a line that are adjacent in a row of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Index of the first lane's number in its channel.
    pub(crate) start: usize,
}

impl Panel {
    pub(crate) fn tiles(self) -> usize {
        self.inputs.div_ceil(self.tile)
    }

    /// Numbers in a tile, its zeros included.
    pub(crate) fn tile_len(self) -> usize {
        (self.tile + 1) * LINE
    }

    /// Numbers in a strip.
    pub(crate) fn strip_len(self) -> usize {
        self.tiles() * self.tile_len()
    }

    /// Inputs in a tile.
    pub(crate) fn inputs_of(self, tile: usize) -> Range<usize> {
        tile * self.tile..self.inputs.min((tile + 1) * self.tile)
    }

    /// Writes the zeros behind a tile.
    pub(crate) fn zero(self, tile: &mut [f32]) {
        tile[self.tile * LINE..].fill(0.0);
    }

    /// Writes one tile of a strip of batch rows.
    ///
    /// `x` has up to sixteen rows of all inputs; further positions are zero.
    pub(crate) fn pack_rows(self, level: Level, x: &[f32], index: usize, tile: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let inputs = self.inputs_of(index);
        for (line, start) in inputs.clone().step_by(LINE).enumerate() {
            let columns = LINE.min(inputs.end - start);
            let from = Block { start, stride: self.inputs, rows, columns };
            let to =
                Block { start: line * LINE * LINE, stride: LINE, rows: columns, columns: LINE };
            transpose(level, x, from, tile, to);
        }
        self.zero(tile);
    }
}
