//! Values of recipes that have bounds: an error tells them, and stands where the value does.

use serde::de::{Deserialize, Deserializer, Error};

/// 1 or more.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let value = usize::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{value} is too few: write 1 or more"));
    Some(value).filter(|value| *value >= 1).ok_or_else(wrong)
}

/// Above 0, and no infinity.
pub(super) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = finite(from)?;
    let wrong = || D::Error::custom(format!("{value} is too small: write a number above 0"));
    Some(value).filter(|value| *value > 0.0).ok_or_else(wrong)
}

/// 0 or more, and no infinity.
pub(super) fn not_negative<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = finite(from)?;
    let wrong = || D::Error::custom(format!("{value} is too small: write 0 or more"));
    Some(value).filter(|value| *value >= 0.0).ok_or_else(wrong)
}

/// Above 0, and no infinity, where it is given.
pub(super) fn positive_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f32>, D::Error> {
    positive(from).map(Some)
}

/// 0 or more, and no infinity, where it is given.
pub(super) fn not_negative_if_any<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<f32>, D::Error> {
    not_negative(from).map(Some)
}

/// No infinity, and a number.
pub(super) fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(from)?;
    let wrong = || D::Error::custom(format!("{value} is no number to count with"));
    Some(value).filter(|value| value.is_finite()).ok_or_else(wrong)
}

/// From 0 to below 1.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    below_one::<D>(value)
}

/// Each from 0 to below 1.
pub(super) fn shares<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Vec::<f64>::deserialize(from)?.into_iter().map(below_one::<D>).collect()
}

fn below_one<'de, D: Deserializer<'de>>(value: f64) -> Result<f64, D::Error> {
    let wrong = || D::Error::custom(format!("{value} is no share: write 0 or more, and below 1"));
    Some(value).filter(|value| (0.0..1.0).contains(value)).ok_or_else(wrong)
}
