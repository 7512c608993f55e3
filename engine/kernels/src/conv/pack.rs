//! Writes the lines of a strip: for each channel and each column of the kernel one.

use super::plan::Run;
use crate::Level;
use crate::aligned::LINE;
use crate::panel::Panel;

/// What the lines of a strip are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The channels of an image, one after the other.
    pub(super) image: &'a [f32],
    /// The numbers of a channel.
    pub(super) channel_len: usize,
    /// From one lane to the next.
    pub(super) stride: usize,
    /// For each column of the kernel those of a line, in their order of lanes.
    pub(super) runs: &'a [Run],
    /// How many runs a line has.
    pub(super) runs_of_line: usize,
}

impl Source<'_> {
    /// Writes the strip. Lanes that no run has become zero.
    ///
    /// # Panics
    /// When a run does not lie in every channel, or in a line.
    pub(super) fn pack(&self, level: Level, panel: Panel, strip: &mut [f32]) {
        let fits = |run: &Run| {
            let end = run.start + run.len.saturating_sub(1) * self.stride;
            run.first + run.len <= LINE && (run.len == 0 || end < self.channel_len)
        };
        assert!(self.runs.iter().all(fits), "a run is outside of its channel");
        assert_eq!(self.image.len() % self.channel_len, 0, "a channel is not whole");
        let taps = self.runs.len() / self.runs_of_line;
        assert_eq!(panel.inputs, self.image.len() / self.channel_len * taps, "another panel");
        match level {
            // SAFETY: the processor has AVX-512 F, and all runs lie in every channel.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Vnni => unsafe {
                match (self.runs_of_line, self.stride) {
                    (1, 1) => self.pack_avx512::<1, true>(panel, strip),
                    (2, 1) => self.pack_avx512::<2, true>(panel, strip),
                    (_, 1) => self.pack_avx512::<LINE, true>(panel, strip),
                    (1, _) => self.pack_avx512::<1, false>(panel, strip),
                    _ => self.pack_avx512::<LINE, false>(panel, strip),
                }
            },
            _ => self.pack_plain(panel, strip),
        }
    }

    fn pack_plain(&self, panel: Panel, strip: &mut [f32]) {
        let channels = self.image.chunks_exact(self.channel_len);
        let sources = channels.flat_map(|channel| {
            self.runs.chunks_exact(self.runs_of_line).map(move |runs| (channel, runs))
        });
        for ((channel, runs), line) in sources.zip(lines(panel, strip)) {
            line.fill(0.0);
            for run in runs.iter().filter(|run| run.len > 0) {
                let target = &mut line[run.first..run.first + run.len];
                let source = channel[run.start..].iter().step_by(self.stride);
                target.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 F; all runs lie in every channel. `SIDE_BY_SIDE` only where the
    /// stride is one.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn pack_avx512<const RUNS: usize, const SIDE_BY_SIDE: bool>(
        &self,
        panel: Panel,
        strip: &mut [f32],
    ) {
        use std::arch::x86_64::*;
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(self.stride as i32));
        let (mut channel, mut runs) = (self.image.as_ptr(), self.runs);
        for (index, tile) in strip.chunks_exact_mut(panel.tile_len()).enumerate() {
            panel.zero(tile);
            let (lines, _) = tile.as_chunks_mut::<LINE>();
            for line in &mut lines[..panel.inputs_of(index).len()] {
                let mut values = _mm512_setzero_ps();
                let (of_line, rest) = runs.split_at(self.runs_of_line);
                for run in of_line.iter().take(RUNS) {
                    let mask = (((1_u32 << run.len) - 1) << run.first) as __mmask16;
                    // May lie before the channel: lanes before the run's first are not read.
                    let start = channel.wrapping_add(run.start);
                    let start = start.wrapping_sub(run.first * self.stride);
                    // SAFETY: the lanes of the mask lie in the channel, as the caller says.
                    values = unsafe {
                        if SIDE_BY_SIDE {
                            _mm512_mask_loadu_ps(values, mask, start)
                        } else {
                            _mm512_mask_i32gather_ps::<4>(values, mask, places, start)
                        }
                    };
                }
                // SAFETY: a line is a register wide.
                unsafe { _mm512_storeu_ps(line.as_mut_ptr(), values) };
                runs = rest;
                if runs.is_empty() {
                    runs = self.runs;
                    channel = channel.wrapping_add(self.channel_len);
                }
            }
        }
    }
}

/// The lines of a strip but for those of zeros, which are written on the way.
fn lines(panel: Panel, strip: &mut [f32]) -> impl Iterator<Item = &mut [f32; LINE]> {
    strip.chunks_exact_mut(panel.tile_len()).flat_map(move |tile| {
        panel.zero(tile);
        tile[..panel.tile * LINE].as_chunks_mut::<LINE>().0
    })
}
