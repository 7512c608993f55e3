//! Alternating measurements: each round measures every side once, so that changes of the machine's
//! speed affect all alike.

use anyhow::Result;
use skysail_loadtest::quantiles::median;
use std::mem;

/// Side that is measured by a call.
pub(crate) type Side<'a, T> = Box<dyn FnMut() -> Result<T> + 'a>;

/// Measures each side once a round, and returns the measurements of each side. The order rotates
/// from round to round.
pub(crate) fn alternate<S, T, const N: usize>(
    rounds: usize,
    mut sides: [S; N],
    measure: impl FnMut(&mut S) -> Result<T>,
) -> Result<[Vec<T>; N]> {
    let mut measured = alternate_all(rounds, &mut sides, measure)?;
    Ok(std::array::from_fn(|side| mem::take(&mut measured[side])))
}

/// Measures as [`alternate`] does, any number of sides.
pub(crate) fn alternate_all<S, T>(
    rounds: usize,
    sides: &mut [S],
    mut measure: impl FnMut(&mut S) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let count = sides.len();
    let mut measured: Vec<Vec<T>> = (0..count).map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for turn in 0..count {
            let side = (round + turn) % count;
            measured[side].push(measure(&mut sides[side])?);
        }
    }
    Ok(measured)
}

/// Median of the ratios of two sides, round by round.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(&of.iter().zip(to).map(|(of, to)| of / to).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_changes_no_ratio() {
        assert_eq!(ratio(&[98.0, 49.0, 9.8], &[100.0, 50.0, 10.0]), 0.98);
    }

    #[test]
    fn the_order_rotates_and_each_side_keeps_its_measurements() {
        let mut order = Vec::new();
        let measured = alternate(3, [0, 1, 2], |side| {
            order.push(*side);
            Ok((*side, order.len()))
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(measured[0], [(0, 1), (0, 6), (0, 8)]);
        assert!(measured.iter().all(|side| side.len() == 3));
    }

    #[test]
    fn a_failure_ends_the_measurement() {
        let failed = alternate(2, [0], |_| -> Result<()> { anyhow::bail!("no answer") });
        assert_eq!(failed.unwrap_err().to_string(), "no answer");
    }
}
