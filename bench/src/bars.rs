//! Figures beside what they are held against, in the last column whether that is reached.

use std::fmt;
use std::io::{self, Write};

/// What is to be reached, and whether more or less is better.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Bar {
    /// Whether `measured` reaches it. What was not measured does not.
    pub(crate) fn is_reached(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(bar) => measured >= bar,
            Self::AtMost(bar) => measured <= bar,
        }
    }

    /// `reached` or `MISSED`.
    pub(crate) fn verdict(self, measured: f64) -> &'static str {
        if self.is_reached(measured) { "reached" } else { "MISSED" }
    }

    fn value(self) -> f64 {
        match self {
            Self::AtLeast(bar) | Self::AtMost(bar) => bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if matches!(self, Self::AtLeast(_)) { ">=" } else { "<=" };
        write!(f, "{sign} {}", self.value())
    }
}

/// Prints a table of figures with their bars.
pub(crate) fn print(
    out: &mut impl Write,
    bars: &[(impl fmt::Display, f64, Bar)],
) -> io::Result<()> {
    writeln!(out, "| what | measured | bar | ratio | |\n|---|---:|---:|---:|---|")?;
    for (what, measured, bar) in bars {
        let (ratio, verdict) = (measured / bar.value(), bar.verdict(*measured));
        writeln!(out, "| {what} | {measured:.2} | {bar} | {ratio:.2} | {verdict} |")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_reaches_no_bar() {
        assert!(Bar::AtLeast(1.0).is_reached(1.0) && Bar::AtMost(1.0).is_reached(1.0));
        assert!(!Bar::AtLeast(1.0).is_reached(f64::NAN) && !Bar::AtMost(1.0).is_reached(f64::NAN));
    }

    #[test]
    fn a_row_has_the_ratio_to_its_bar() {
        let mut out = Vec::new();
        print(&mut out, &[("p99 ms", 30.0, Bar::AtMost(20.0))]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("| p99 ms | 30.00 | <= 20 | 1.50 | MISSED |\n"), "{text}");
    }
}
