//! Checked values of recipes: an error names the bounds and points at the value.

use serde::de::{Deserialize, Deserializer, Error};

/// Accepts 1 or more.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let value = usize::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{value} is too few: write 1 or more"));
    Some(value).filter(|value| *value >= 1).ok_or_else(wrong)
}

/// Accepts finite numbers above 0.
pub(super) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = finite(from)?;
    let wrong = || D::Error::custom(format!("{value} is too small: write a number above 0"));
    Some(value).filter(|value| *value > 0.0).ok_or_else(wrong)
}

/// Accepts finite numbers of 0 or more.
pub(super) fn not_negative<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = finite(from)?;
    let wrong = || D::Error::custom(format!("{value} is too small: write 0 or more"));
    Some(value).filter(|value| *value >= 0.0).ok_or_else(wrong)
}

/// Accepts finite numbers above 0, if present.
pub(super) fn positive_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f32>, D::Error> {
    positive(from).map(Some)
}

/// Accepts finite numbers of 0 or more, if present.
pub(super) fn not_negative_if_any<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<f32>, D::Error> {
    not_negative(from).map(Some)
}

/// Accepts finite numbers.
pub(super) fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{value} is not a finite number"));
    Some(value).filter(|value| value.is_finite()).ok_or_else(wrong)
}

/// Accepts shares from 0 to below 1.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    below_one::<D>(value)
}

/// Accepts lists of shares from 0 to below 1.
pub(super) fn shares<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Vec::<f64>::deserialize(from)?.into_iter().map(below_one::<D>).collect()
}

fn below_one<'de, D: Deserializer<'de>>(value: f64) -> Result<f64, D::Error> {
    let wrong = || D::Error::custom(format!("{value} is no share: write 0 or more, and below 1"));
    Some(value).filter(|value| (0.0..1.0).contains(value)).ok_or_else(wrong)
}
