//! Figures beside their targets, with a verdict.

use std::fmt;
use std::io::{self, Write};

/// Target of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Lower bound.
    AtLeast(f64),
    /// Upper bound.
    AtMost(f64),
}

impl Target {
    /// True if `measured` reaches the target; false for NaN.
    pub(crate) fn is_reached(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(target) => measured >= target,
            Self::AtMost(target) => measured <= target,
        }
    }

    /// `reached` or `MISSED`.
    pub(crate) fn verdict(self, measured: f64) -> &'static str {
        if self.is_reached(measured) { "reached" } else { "MISSED" }
    }

    fn value(self) -> f64 {
        match self {
            Self::AtLeast(target) | Self::AtMost(target) => target,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if matches!(self, Self::AtLeast(_)) { ">=" } else { "<=" };
        write!(f, "{sign} {}", self.value())
    }
}

/// Name of a figure, its value, and its target.
pub(crate) type Figure = (String, f64, Target);
/// Several figures.
pub(crate) type Figures = Vec<Figure>;

/// Prints a table of figures with their targets.
pub(crate) fn print(
    out: &mut impl Write,
    figures: &[(impl fmt::Display, f64, Target)],
) -> io::Result<()> {
    writeln!(out, "| what | measured | target | ratio | |\n|---|---:|---:|---:|---|")?;
    for (what, measured, target) in figures {
        let (ratio, verdict) = (measured / target.value(), target.verdict(*measured));
        let digits = if measured.abs() < 10.0 { 3 } else { 2 };
        writeln!(out, "| {what} | {measured:.digits$} | {target} | {ratio:.2} | {verdict} |")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmeasured_figure_reaches_no_target() {
        assert!(Target::AtLeast(1.0).is_reached(1.0) && Target::AtMost(1.0).is_reached(1.0));
        assert!(
            !Target::AtLeast(1.0).is_reached(f64::NAN) && !Target::AtMost(1.0).is_reached(f64::NAN)
        );
    }

    #[test]
    fn a_row_has_the_ratio_to_its_target() {
        let mut out = Vec::new();
        print(&mut out, &[("p99 ms", 30.0, Target::AtMost(20.0))]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("| p99 ms | 30.00 | <= 20 | 1.50 | MISSED |\n"), "{text}");
    }
}
