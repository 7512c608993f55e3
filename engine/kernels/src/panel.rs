//! Inputs laid out for [`Rows`](crate::rows::Rows): positions side by side.
//!
//! A position is a row of a batch, or a pixel of a convolution's output. Sixteen positions make a
//! *strip*: for each input of the matrix a line of sixteen numbers, one a position. The inputs are
//! cut into tiles that stay in the first cache; behind each tile lies a line of zeros, which is
//! what the filler of a sparse matrix reads.

use crate::Level;
use crate::aligned::LINE;
use crate::transpose::{Block, transpose};
use std::ops::Range;

/// Where the lines of a strip lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panel {
    /// The inputs of the matrix.
    pub(crate) inputs: usize,
    /// The inputs of a tile.
    pub(crate) tile: usize,
}

impl Panel {
    pub(crate) fn tiles(self) -> usize {
        self.inputs.div_ceil(self.tile)
    }

    /// The numbers of a tile, its zeros included.
    pub(crate) fn tile_len(self) -> usize {
        (self.tile + 1) * LINE
    }

    /// The numbers of a strip.
    pub(crate) fn strip_len(self) -> usize {
        self.tiles() * self.tile_len()
    }

    /// The inputs of a tile.
    pub(crate) fn inputs_of(self, tile: usize) -> Range<usize> {
        tile * self.tile..self.inputs.min((tile + 1) * self.tile)
    }

    /// Writes the zeros behind a tile.
    pub(crate) fn zero(self, tile: &mut [f32]) {
        tile[self.tile * LINE..].fill(0.0);
    }

    /// Writes one tile of a strip of rows of a batch: `x` has up to sixteen rows of all inputs.
    /// Positions beyond them are zero.
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
