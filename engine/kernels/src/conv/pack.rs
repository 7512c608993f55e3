//! Strips of a convolution's inputs: for each weight of the kernel a line of sixteen outputs.

use super::planes::Planes;
use crate::Level;
use crate::aligned::LINE;
use crate::panel::Panel;
use std::ops::Range;

/// Lanes of a strip whose inputs lie side by side.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    lane: usize,
    len: usize,
    /// Where the first lane's inputs start.
    start: usize,
}

/// The runs of a strip, and how many there are.
struct Runs {
    runs: [Run; LINE],
    count: usize,
}

impl Runs {
    /// The runs of up to sixteen outputs from `first` on.
    fn new(planes: &Planes, first: usize, len: usize) -> Self {
        let mut runs = Self { runs: [Run::default(); LINE], count: 0 };
        let mut lane = 0;
        while lane < len {
            let position = first + lane;
            let run = planes.run(position).min(len - lane);
            runs.runs[runs.count] = Run { lane, len: run, start: planes.start(position) };
            runs.count += 1;
            lane += run;
        }
        runs
    }

    fn get(&self) -> &[Run] {
        &self.runs[..self.count]
    }
}

/// What lines are read from.
pub(super) struct Source<'a> {
    pub(super) planes: &'a Planes,
    pub(super) values: &'a [f32],
    /// For each line the distance of its inputs from where an output starts.
    pub(super) distances: &'a [usize],
    /// The greatest of them.
    pub(super) far: usize,
}

impl Source<'_> {
    /// Writes the strip of up to sixteen outputs. Lanes beyond them are zero.
    ///
    /// # Panics
    /// When the strip is too short, or the source has not what the outputs need.
    pub(super) fn pack(
        &self,
        level: Level,
        panel: Panel,
        positions: Range<usize>,
        strip: &mut [f32],
    ) {
        let runs = Runs::new(self.planes, positions.start, positions.len().min(LINE));
        let end = runs.get().iter().map(|run| run.start + run.len).max().unwrap_or(0);
        assert!(self.far + end <= self.values.len(), "outputs lie outside of the planes");
        let mut distances = self.distances.iter();
        for tile in strip.chunks_exact_mut(panel.tile_len()) {
            panel.zero(tile);
            let (lines, _) = tile[..panel.tile * LINE].as_chunks_mut::<LINE>();
            let lines = lines.iter_mut().zip(&mut distances);
            match level {
                // SAFETY: the processor has AVX-512 F, and what the runs read lies in the source.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe {
                    match runs.count {
                        1 => runs.copy_avx512::<1>(self.values, lines),
                        2 => runs.copy_avx512::<2>(self.values, lines),
                        3 => runs.copy_avx512::<3>(self.values, lines),
                        _ => runs.copy_avx512::<LINE>(self.values, lines),
                    }
                },
                _ => runs.copy(self.values, lines),
            }
        }
    }
}

impl Runs {
    fn copy<'a>(
        &self,
        source: &[f32],
        lines: impl Iterator<Item = (&'a mut [f32; LINE], &'a usize)>,
    ) {
        for (line, distance) in lines {
            line.fill(0.0);
            for Run { lane, len, start } in self.get() {
                let from = &source[start + distance..][..*len];
                line[*lane..lane + len].copy_from_slice(from);
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 F; there are no more than `RUNS` runs, and at all of the
    /// distances they lie in the source.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn copy_avx512<'a, const RUNS: usize>(
        &self,
        source: &[f32],
        lines: impl Iterator<Item = (&'a mut [f32; LINE], &'a usize)>,
    ) {
        use std::arch::x86_64::*;
        // A run that is not there has no lanes.
        let masks: [__mmask16; RUNS] = std::array::from_fn(|run| {
            (((1_u32 << self.runs[run].len) - 1) << self.runs[run].lane) as __mmask16
        });
        // May lie before the source: lanes before a run's first are not read.
        let starts: [*const f32; RUNS] = std::array::from_fn(|run| {
            let Run { lane, start, .. } = self.runs[run];
            source.as_ptr().wrapping_add(start).wrapping_sub(lane)
        });
        for (line, distance) in lines {
            let mut values = _mm512_setzero_ps();
            for (start, mask) in starts.iter().zip(masks) {
                // SAFETY: the lanes of the mask lie in the source as the caller says.
                values = unsafe {
                    _mm512_mask_loadu_ps(values, mask, start.wrapping_add(*distance))
                };
            }
            // SAFETY: a line is a register wide.
            unsafe { _mm512_storeu_ps(line.as_mut_ptr(), values) };
        }
    }
}
