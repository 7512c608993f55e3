//! The largest magnitude in each channel of a tensor.

use super::Summary;

/// Largest absolute value of each channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelMagnitudes {
    magnitudes: Vec<f32>,
}

impl ChannelMagnitudes {
    /// Returns a magnitude for each channel; none before the first batch.
    pub fn magnitudes(&self) -> &[f32] {
        &self.magnitudes
    }
}

impl Summary for ChannelMagnitudes {
    fn add(&mut self, values: &[f32], shape: &[u64]) {
        let channels = shape.last().and_then(|count| usize::try_from(*count).ok());
        let Some(channels) = channels.filter(|count| *count > 0) else { return };
        if self.magnitudes.len() < channels {
            self.magnitudes.resize(channels, 0.0);
        }
        for row in values.chunks_exact(channels) {
            for (magnitude, value) in self.magnitudes.iter_mut().zip(row) {
                *magnitude = magnitude.max(value.abs());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_channel_is_kept() {
        let mut magnitudes = ChannelMagnitudes::default();
        magnitudes.add(&[1.0, -5.0, 0.0, 2.0], &[2, 2]);
        magnitudes.add(&[-3.0, 1.0], &[1, 1, 2]);
        magnitudes.add(&[], &[0, 2]);
        assert_eq!(magnitudes.magnitudes(), [3.0, 5.0]);
    }
}
