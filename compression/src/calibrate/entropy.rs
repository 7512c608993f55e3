//! The range whose codes lose the least information (Migacz, "8-bit Inference with TensorRT",
//! GTC 2017).

use super::Histogram;
use super::histogram::BINS;

/// Returns the magnitude up to which values should have codes of their own. Zero has an exact code,
/// so zeros are left out.
pub(super) fn entropy_limit(histogram: &Histogram, both_signs: bool) -> f32 {
    let (magnitudes, width) = histogram.magnitudes();
    // The 256 codes are for one sign or are shared by both.
    let levels = if both_signs { 128 } else { 256 };
    let used = magnitudes.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let candidates = (levels..used).chain([used.max(1)]);
    let best = candidates
        .map(|bins| {
            (divergence(&magnitudes[..bins.min(BINS)], &magnitudes[bins.min(BINS)..], levels), bins)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0));
    (best.map_or(used, |(_, bins)| bins) as f64 * width) as f32
}

/// Returns the Kullback-Leibler divergence of the quantized distribution from the original, in
/// nats.
///
/// `kept` is quantized in `levels` steps, and `clipped` counts as the largest of them.
fn divergence(kept: &[u64], clipped: &[u64], levels: usize) -> f64 {
    let outliers: u64 = clipped.iter().sum();
    let total = (kept.iter().sum::<u64>() + outliers) as f64;
    let kept_total = kept.iter().sum::<u64>() as f64;
    if kept_total == 0.0 {
        return f64::INFINITY;
    }
    let step = kept.len() as f64 / levels as f64;
    let mut divergence = 0.0;
    for level in 0..levels {
        let begin = (level as f64 * step) as usize;
        let end =
            if level + 1 == levels { kept.len() } else { ((level + 1) as f64 * step) as usize };
        let bins = &kept[begin.min(end)..end];
        let filled = bins.iter().filter(|count| **count > 0).count();
        // A step holds the number of its values, spread evenly over the bins that hold any.
        let even = bins.iter().sum::<u64>() as f64 / filled.max(1) as f64;
        for (offset, count) in bins.iter().enumerate() {
            let is_last = begin + offset + 1 == kept.len();
            let real = count + if is_last { outliers } else { 0 };
            if real == 0 {
                continue;
            }
            let real = real as f64 / total;
            // A bin that is empty in the quantized distribution counts as one value.
            let approximated = if *count > 0 { even / kept_total } else { 1.0 / total };
            divergence += real * (real / approximated).ln();
        }
    }
    divergence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_quantization_has_no_divergence() {
        assert_eq!(divergence(&[3, 1, 4, 1], &[], 4), 0.0);
        assert_eq!(divergence(&[2, 2, 5, 5], &[], 2), 0.0);
        let rough = divergence(&[1, 3, 5, 5], &[], 2);
        // One and three of 14 become two each.
        let expected = (1.0 * 0.5_f64.ln() + 3.0 * 1.5_f64.ln()) / 14.0;
        assert!((rough - expected).abs() < 1e-12, "{rough}");
    }

    #[test]
    fn clipping_adds_divergence() {
        let none = divergence(&[4, 4, 4, 4], &[], 4);
        let some = divergence(&[4, 4, 4, 4], &[1], 4);
        let more = divergence(&[4, 4, 4, 4], &[1, 2], 4);
        assert!(none < some && some < more);
        assert_eq!(divergence(&[0, 0], &[5], 2), f64::INFINITY);
    }
}
