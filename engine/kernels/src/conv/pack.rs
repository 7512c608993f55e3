//! Writes the lines of a strip: one for each channel and kernel column.

use crate::Level;
use crate::aligned::LINE;
use crate::panel::{Panel, Segment};

/// Source of a strip's lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// Channels of an image, one after the other.
    pub(super) image: &'a [f32],
    /// Numbers in a channel.
    pub(super) channel_len: usize,
    /// Distance from one lane to the next.
    pub(super) stride: usize,
    /// Segments of each line, by kernel column, in the order of lanes.
    pub(super) segments: &'a [Segment],
    /// Segments in a line.
    pub(super) segments_of_line: usize,
}

impl Source<'_> {
    /// Writes the strip. Lanes outside of all segments become zero.
    ///
    /// # Panics
    /// When a segment does not lie in every channel, or in a line.
    pub(super) fn pack(&self, level: Level, panel: Panel, strip: &mut [f32]) {
        let fits = |segment: &Segment| {
            let end = segment.start + segment.len.saturating_sub(1) * self.stride;
            segment.first + segment.len <= LINE && (segment.len == 0 || end < self.channel_len)
        };
        assert!(self.segments.iter().all(fits), "a segment is outside of its channel");
        assert_eq!(self.image.len() % self.channel_len, 0, "a channel is not whole");
        let taps = self.segments.len() / self.segments_of_line;
        assert_eq!(
            panel.inputs,
            self.image.len() / self.channel_len * taps,
            "the panel is another one"
        );
        match level {
            // SAFETY: the processor has AVX-512 F, and all segments lie in every channel.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Vnni => unsafe {
                match (self.segments_of_line, self.stride) {
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
            self.segments
                .chunks_exact(self.segments_of_line)
                .map(move |segments| (channel, segments))
        });
        for ((channel, segments), line) in sources.zip(lines(panel, strip)) {
            line.fill(0.0);
            for segment in segments.iter().filter(|segment| segment.len > 0) {
                let target = &mut line[segment.first..segment.first + segment.len];
                let source = channel[segment.start..].iter().step_by(self.stride);
                target.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 F; all segments lie in every channel. `SIDE_BY_SIDE` is set only
    /// if the stride is one.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn pack_avx512<const SEGMENTS: usize, const SIDE_BY_SIDE: bool>(
        &self,
        panel: Panel,
        strip: &mut [f32],
    ) {
        use std::arch::x86_64::*;
        let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(self.stride as i32));
        let (mut channel, mut segments) = (self.image.as_ptr(), self.segments);
        for (index, tile) in strip.chunks_exact_mut(panel.tile_len()).enumerate() {
            panel.zero(tile);
            let (lines, _) = tile.as_chunks_mut::<LINE>();
            for line in &mut lines[..panel.inputs_of(index).len()] {
                let mut values = _mm512_setzero_ps();
                let (of_line, rest) = segments.split_at(self.segments_of_line);
                for segment in of_line.iter().take(SEGMENTS) {
                    let mask = (((1_u32 << segment.len) - 1) << segment.first) as __mmask16;
                    // The pointer may lie before the channel: lanes before the segment's first are
                    // not read.
                    let start = channel.wrapping_add(segment.start);
                    let start = start.wrapping_sub(segment.first * self.stride);
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
                segments = rest;
                if segments.is_empty() {
                    segments = self.segments;
                    channel = channel.wrapping_add(self.channel_len);
                }
            }
        }
    }
}

/// Lines of a strip but for those of zeros, which are written on the way.
fn lines(panel: Panel, strip: &mut [f32]) -> impl Iterator<Item = &mut [f32; LINE]> {
    strip.chunks_exact_mut(panel.tile_len()).flat_map(move |tile| {
        panel.zero(tile);
        tile[..panel.tile * LINE].as_chunks_mut::<LINE>().0
    })
}
