//! Confidence bounds of a share, for requests that are correlated in time. A stall makes all
//! requests of a second late together, so that they say less than as many independent ones.
//!
//! The share's variance is taken from its differences between blocks, which gives an equivalent
//! number of independent requests. The bounds are those of Clopper and Pearson (Biometrika 1934)
//! for that number (Korn and Graubard, Survey Methodology 24, 1998).

use statrs::function::beta::inv_beta_reg;

/// Requests of a second, or of another time that is long compared with a stall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Number of requests.
    pub requests: u64,
    /// Requests that were answered in time.
    pub in_time: u64,
}

/// Share with its one-sided bounds; each is wrong with a probability of 1 - confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Observed share.
    pub share: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Bounds of the share of requests in time; `None` below two blocks.
pub fn bounds(blocks: &[Block], confidence: f64) -> Option<Bounds> {
    let blocks: Vec<Block> = blocks.iter().copied().filter(|block| block.requests > 0).collect();
    if blocks.len() < 2 {
        return None;
    }
    let sum = |of: fn(&Block) -> u64| blocks.iter().map(of).sum::<u64>() as f64;
    let (requests, in_time) = (sum(|block| block.requests), sum(|block| block.in_time));
    let share = in_time / requests;
    let count = independent(&blocks, requests, share, confidence);
    let error = 1.0 - confidence;
    let (yes, no) = (share * count, (1.0 - share) * count);
    let low = if yes > 0.0 { inv_beta_reg(yes, no + 1.0, error) } else { 0.0 };
    let high = if no > 0.0 { inv_beta_reg(yes + 1.0, no, 1.0 - error) } else { 1.0 };
    Some(Bounds { share, low, high })
}

/// Equivalent number of independent requests.
fn independent(blocks: &[Block], requests: f64, share: f64, confidence: f64) -> f64 {
    let alone = share * (1.0 - share) / requests;
    if alone <= 0.0 {
        return requests;
    }
    let count = blocks.len() as f64;
    let off = |block: &Block| (block.in_time as f64 - share * block.requests as f64).powi(2);
    let off: f64 = blocks.iter().map(off).sum();
    let variance = off * count / (count - 1.0) / (requests * requests);
    // The variance itself is known from a few blocks only.
    let known = student_quantile(requests - 1.0, confidence);
    let from_few = student_quantile(count - 1.0, confidence);
    let less = (variance / alone).max(1.0) * (from_few / known).powi(2);
    requests / less
}

/// Quantile of Student's t distribution.
pub(crate) fn student_quantile(freedom: f64, probability: f64) -> f64 {
    if probability < 0.5 {
        return -student_quantile(freedom, 1.0 - probability);
    }
    // t^2 / (freedom + t^2) has the beta distribution (1/2, freedom/2).
    let x = inv_beta_reg(0.5, freedom / 2.0, 2.0 * probability - 1.0);
    (freedom * x / (1.0 - x).max(f64::MIN_POSITIVE)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-4, "{found} {wanted}");
    }

    /// The expected values are those of printed tables.
    #[test]
    fn quantiles_are_those_of_the_tables() {
        close(student_quantile(1.0, 0.975), 12.706_2);
        close(student_quantile(9.0, 0.95), 1.833_1);
        // The library is less exact far from small degrees of freedom.
        assert!((student_quantile(1e6, 0.975) - 1.959_97).abs() < 2e-4);
        close(student_quantile(4.0, 0.05), -2.131_8);
    }

    /// Equal blocks are as good as independent requests. Clopper and Pearson: 5 misses of 100 are
    /// at least 1.64 % and at most 11.28 % (two-sided 95 %).
    #[test]
    fn seconds_that_are_alike_give_the_bounds_of_clopper_and_pearson() {
        let blocks = vec![Block { requests: 100, in_time: 95 }; 1_000];
        let found = bounds(&blocks, 0.975).unwrap();
        assert!(found.low > 0.948 && found.high < 0.952, "{found:?}");
        let few: Vec<Block> =
            (0..20).map(|n| Block { requests: 5, in_time: 5 - u64::from(n % 4 == 0) }).collect();
        let found = bounds(&few, 0.975).unwrap();
        close(found.share, 0.95);
        assert!((0.872..0.888).contains(&found.low), "{found:?}");
        assert!((0.983..0.986).contains(&found.high), "{found:?}");
    }

    /// The same misses in one block say less.
    #[test]
    fn misses_that_come_together_widen_the_bounds() {
        let spread = vec![Block { requests: 1_000, in_time: 995 }; 20];
        let mut together = vec![Block { requests: 1_000, in_time: 1_000 }; 20];
        together[7].in_time = 900;
        let (spread, together) = (bounds(&spread, 0.95).unwrap(), bounds(&together, 0.95).unwrap());
        close(spread.share, together.share);
        assert!(spread.low > 0.993, "{spread:?}");
        assert!(together.low < 0.985 && together.high > 0.998, "{together:?}");
    }

    #[test]
    fn three_hundred_requests_without_a_miss_prove_ninety_nine_percent() {
        let blocks = |requests| vec![Block { requests, in_time: requests }; 10];
        assert!(bounds(&blocks(29), 0.95).unwrap().low < 0.99);
        assert!(bounds(&blocks(30), 0.95).unwrap().low >= 0.99);
        assert_eq!(bounds(&blocks(30), 0.95).unwrap().high, 1.0);
    }

    #[test]
    fn a_single_block_has_no_bounds() {
        let one = Block { requests: 1_000, in_time: 1_000 };
        assert_eq!(bounds(&[one, Block::default()], 0.95), None);
        let none = [Block { requests: 10, in_time: 0 }; 3];
        let found = bounds(&none, 0.95).unwrap();
        assert!(found.low == 0.0 && (0.09..0.1).contains(&found.high), "{found:?}");
    }
}
