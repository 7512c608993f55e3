//! The largest magnitude in each channel of a tensor.

use super::Summary;

/// Largest absolute value of each channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelSizes {
    sizes: Vec<f32>,
}

impl ChannelSizes {
    /// Returns a magnitude for each channel; none before the first batch.
    pub fn sizes(&self) -> &[f32] {
        &self.sizes
    }
}

impl Summary for ChannelSizes {
    fn add(&mut self, values: &[f32], shape: &[u64]) {
        let channels = shape.last().and_then(|count| usize::try_from(*count).ok());
        let Some(channels) = channels.filter(|count| *count > 0) else { return };
        if self.sizes.len() < channels {
            self.sizes.resize(channels, 0.0);
        }
        for row in values.chunks_exact(channels) {
            for (size, value) in self.sizes.iter_mut().zip(row) {
                *size = size.max(value.abs());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_each_channel_is_kept() {
        let mut sizes = ChannelSizes::default();
        sizes.add(&[1.0, -5.0, 0.0, 2.0], &[2, 2]);
        sizes.add(&[-3.0, 1.0], &[1, 1, 2]);
        sizes.add(&[], &[0, 2]);
        assert_eq!(sizes.sizes(), [3.0, 5.0]);
    }
}
