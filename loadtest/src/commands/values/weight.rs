//! Flag values with a weight: `digits=3`.

/// Value with its weight relative to the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    pub(crate) value: String,
    pub(crate) weight: f64,
}

/// Parses `VALUE` or `VALUE=WEIGHT`. A text after the last `=` that is not a number belongs to the
/// value.
pub(crate) fn weighted(text: &str) -> Result<Weighted, String> {
    let with_weight = text
        .rsplit_once('=')
        .and_then(|(value, weight)| Some((value.to_owned(), weight.parse::<f64>().ok()?)));
    let (value, weight) = with_weight.unwrap_or_else(|| (text.to_owned(), 1.0));
    if value.is_empty() {
        return Err("there is nothing before its weight".to_owned());
    }
    if !(1e-6..=1e6).contains(&weight) {
        return Err("a weight is a number above 0, at most 1000000".to_owned());
    }
    Ok(Weighted { value, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_after_the_value() {
        let of = |text: &str| weighted(text).map(|found| (found.value, found.weight));
        assert_eq!(of("digits"), Ok(("digits".to_owned(), 1.0)));
        assert_eq!(of("digits=2.5"), Ok(("digits".to_owned(), 2.5)));
        assert_eq!(of("a=b"), Ok(("a=b".to_owned(), 1.0)));
        assert_eq!(of("a=b=2"), Ok(("a=b".to_owned(), 2.0)));
        for wrong in ["", "=2", "a=0", "a=-1", "a=nan", "a=inf"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
