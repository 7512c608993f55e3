//! Numbers in JSON, rounded right to every datatype.
//!
//! Most are exact by one operation. The others are left to the standard library.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Most digits that 64 bits hold, whichever they are.
const DIGITS_MAX: usize = 19;

/// Integers up to here are doubles.
const EXACT_MAX: u64 = 1 << 53;

/// A number, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number<'a> {
    /// Digits only.
    Integer(i128),
    /// Digits with a point or an exponent, or more digits than an integer has.
    Decimal(Decimal<'a>),
    /// NaN or an infinity.
    NotFinite(f64),
}

/// Digits times a power of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decimal<'a> {
    token: &'a str,
    is_negative: bool,
    /// The digits, if there are at most [`DIGITS_MAX`].
    digits: Option<u64>,
    exponent: i32,
}

impl<'a> Number<'a> {
    /// Reads the number at the start of a text. Also returns its length.
    pub(super) fn first_in(text: &'a str) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let is_negative = bytes.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let (mut digits, mut at) = add_digits(bytes, start, 0);
        let whole = at - start;
        if whole == 0 {
            return not_finite(&text[start..], is_negative);
        }
        if whole > 1 && bytes[start] == b'0' {
            return None;
        }
        let (mut count, mut exponent, mut is_integer) = (whole, 0_i32, true);
        if bytes.get(at) == Some(&b'.') {
            let point = at + 1;
            (digits, at) = add_digits(bytes, point, digits);
            if at == point {
                return None;
            }
            is_integer = false;
            count += at - point;
            exponent = i32::try_from(at - point).map_or(i32::MIN, |places| -places);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let (power, end) = power(bytes, at + 1)?;
            is_integer = false;
            exponent = exponent.saturating_add(power);
            at = end;
        }
        let token = &text[..at];
        let fits = count <= DIGITS_MAX;
        // -0 is a decimal, as no integer has its sign.
        if is_integer && (digits > 0 || !is_negative || !fits) {
            let value = if fits { Some(i128::from(digits)) } else { None };
            let value = value.map(|value| if is_negative { -value } else { value });
            if let Some(value) = value.or_else(|| token.parse().ok()) {
                return Some((Self::Integer(value), at));
            }
        }
        let digits = fits.then_some(digits);
        Some((Self::Decimal(Decimal { token, is_negative, digits, exponent }), at))
    }

    /// The nearest double; infinite if the number is too large.
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Decimal(decimal) => decimal.to_f64(),
            Self::NotFinite(value) => value,
        }
    }

    /// The nearest float; infinite if the number is too large.
    pub(super) fn to_f32(self) -> f32 {
        match self {
            Self::Integer(value) => value as f32,
            Self::Decimal(decimal) => decimal.to_f32(),
            Self::NotFinite(value) => value as f32,
        }
    }

    /// A float from which rounding to fewer bits gives what rounding the nearest double gives.
    ///
    /// It is the float towards zero, whose last bit is set if that is not exact.
    pub(super) fn to_f32_for_rounding(self) -> f32 {
        let exact = self.to_f64();
        let near = exact as f32;
        if f64::from(near) == exact || !near.is_finite() {
            return near;
        }
        let bits = near.to_bits() - u32::from(f64::from(near).abs() > exact.abs());
        f32::from_bits(bits | 1)
    }
}

impl Decimal<'_> {
    fn to_f64(self) -> f64 {
        let by_one_operation = self.digits.filter(|digits| *digits <= EXACT_MAX);
        match by_one_operation.and_then(|digits| self.scaled(digits)) {
            Some(value) => value,
            // The token is a number, which the library reads too.
            None => self.token.parse().unwrap_or(f64::NAN),
        }
    }

    fn to_f32(self) -> f32 {
        /// Bits that a double has more than a float.
        const MORE_BITS: u64 = (1 << 29) - 1;
        // Two roundings to a double are off by less than two of its last bits. So only a double
        // near the middle of two floats may round to the wrong one.
        let near = self.digits.and_then(|digits| self.scaled(digits)).filter(|value| {
            let is_normal = (1e-37..1e38).contains(&value.abs());
            is_normal && (value.to_bits() & MORE_BITS).abs_diff(1 << 28) > 2
        });
        match near {
            Some(value) => value as f32,
            None => self.token.parse().unwrap_or(f32::NAN),
        }
    }

    /// Digits times the power of ten, by one operation.
    fn scaled(self, digits: u64) -> Option<f64> {
        let power = POWERS.get(self.exponent.unsigned_abs() as usize)?;
        let digits = digits as f64;
        let value = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.is_negative { -value } else { value })
    }
}

/// Adds the digits at a place to a number, which wraps if there are too many.
#[inline]
fn add_digits(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (number, at)
}

/// Reads the power after `e`, at most a million either way, and returns its end.
fn power(bytes: &[u8], mut at: usize) -> Option<(i32, usize)> {
    const POWER_MAX: i32 = 1_000_000;
    let is_negative = bytes.get(at) == Some(&b'-');
    at += usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let start = at;
    let mut power = 0_i32;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        power = (power * 10 + i32::from(digit - b'0')).min(POWER_MAX);
        at += 1;
    }
    (at > start).then_some((if is_negative { -power } else { power }, at))
}

fn not_finite(text: &str, is_negative: bool) -> Option<(Number<'_>, usize)> {
    if text.starts_with("Infinity") {
        let sign = if is_negative { -1.0 } else { 1.0 };
        let length = "Infinity".len() + usize::from(is_negative);
        return Some((Number::NotFinite(sign * f64::INFINITY), length));
    }
    let is_nan = !is_negative && text.starts_with("NaN");
    is_nan.then_some((Number::NotFinite(f64::NAN), "NaN".len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        let (number, length) = Number::first_in(text).unwrap();
        assert_eq!(length, text.len(), "{text}");
        number
    }

    #[test]
    fn integers_are_exact_and_large_ones_become_decimals() {
        for text in ["0", "-1", "18446744073709551615", "-9223372036854775808"] {
            assert_eq!(number(text), Number::Integer(text.parse().unwrap()));
        }
        let long = "9".repeat(60);
        assert_eq!(number(&long).to_f64(), 1e60);
        assert!(number(&"9".repeat(400)).to_f64().is_infinite());
        assert!(number("-0").to_f64().is_sign_negative());
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", "+1", ".5", "-.5", "01", "1.", "1e", "1e+", "nan", "-NaN", "Inf"] {
            assert!(Number::first_in(text).is_none_or(|(_, length)| length < text.len()), "{text}");
        }
        assert!(Number::first_in("1.x").is_none());
        assert!(number("NaN").to_f64().is_nan());
        assert_eq!(number("-Infinity").to_f32(), f32::NEG_INFINITY);
    }

    #[test]
    fn ties_round_to_even_and_what_is_above_them_rounds_up() {
        // 1 + 2^-8 is the middle of two BF16, and the second is above it by less than a float has.
        for (text, expected) in [("1.00390625", 1.0), ("1.00390625000001", 1.0078125)] {
            assert_eq!(bf16::from_f32(number(text).to_f32_for_rounding()).to_f32(), expected);
        }
        // The same with 1 + 2^-11 for FP16.
        for (text, expected) in [("1.00048828125", 1.0), ("1.00048828125001", 1.000_976_6)] {
            assert_eq!(f16::from_f32(number(text).to_f32_for_rounding()).to_f32(), expected);
        }
        // The middle of two floats, and a little more than a double tells.
        assert_eq!(number("1.000000059604644775390625").to_f32(), 1.0);
        assert_eq!(number("1.00000005960464477539062500001").to_f32(), 1.000_000_1);
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_standard_library(
            digits in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?"
        ) {
            let number = number(&digits);
            prop_assert_eq!(number.to_f64().to_bits(), digits.parse::<f64>().unwrap().to_bits());
            prop_assert_eq!(number.to_f32().to_bits(), digits.parse::<f32>().unwrap().to_bits());
        }

        #[test]
        fn written_floats_are_read_back(bits in any::<u32>(), wide in any::<u64>()) {
            let (single, double) = (f32::from_bits(bits), f64::from_bits(wide));
            prop_assume!(single.is_finite() && double.is_finite());
            for text in [format!("{single:?}"), format!("{:?}", f64::from(single))] {
                prop_assert_eq!(number(&text).to_f32().to_bits(), bits);
            }
            prop_assert_eq!(number(&format!("{double:?}")).to_f64().to_bits(), wide);
        }

        #[test]
        fn half_precision_is_the_nearest(value in prop_oneof![-65000.0..-1e-5, 1e-5..65000.0_f64]) {
            let text = format!("{value:?}");
            let near = number(&text).to_f32_for_rounding();
            let (half, brain) = (f16::from_f32(near), bf16::from_f32(near));
            let error = |rounded: f64| f64::abs(rounded - value);
            for neighbour in [half.to_bits() - 1, half.to_bits() + 1].map(f16::from_bits) {
                prop_assert!(error(half.into()) <= error(neighbour.into()));
            }
            for neighbour in [brain.to_bits() - 1, brain.to_bits() + 1].map(bf16::from_bits) {
                prop_assert!(error(brain.into()) <= error(neighbour.into()));
            }
        }
    }
}
