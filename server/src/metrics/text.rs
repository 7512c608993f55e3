//! Prometheus' text format, version 0.0.4.

use super::family::{Counts, Families, Family, Labels, Value};
use std::fmt::Write;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub(super) fn write(families: &Families) -> String {
    let mut text = String::with_capacity(64 << 10);
    families.iter().for_each(|family| family_to(&mut text, family));
    text
}

fn family_to(text: &mut String, family: &Family) {
    let (name, help, kind) = (family.name, escaped(family.help, false), family.kind.name());
    put(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    for (labels, value) in &family.samples {
        match value {
            Value::Number(value) => {
                put(text, format_args!("{name}{} {value}\n", Braced(labels, None)));
            }
            Value::Counts(counts) => histogram_to(text, name, labels, counts),
        }
    }
}

fn histogram_to(text: &mut String, name: &str, labels: &Labels, counts: &Counts) {
    for (bound, count, _) in counts.classic() {
        let labels = Braced(labels, Some(&bound.to_string()));
        put(text, format_args!("{name}_bucket{labels} {count}\n"));
    }
    let (count, sum) = (counts.snapshot.count(), counts.snapshot.sum());
    let (all, labels) = (Braced(labels, Some("+Inf")), Braced(labels, None));
    put(text, format_args!("{name}_bucket{all} {count}\n"));
    put(text, format_args!("{name}_sum{labels} {sum}\n{name}_count{labels} {count}\n"));
}

pub(super) fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = text.write_fmt(arguments);
}

/// Labels in braces, with the bound of a bucket.
pub(super) struct Braced<'a>(pub(super) &'a Labels, pub(super) Option<&'a str>);

impl std::fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(labels, bound) = self;
        let bound = bound.iter().map(|bound| ("le", *bound));
        let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(bound);
        let mut separator = '{';
        for (name, value) in labels {
            write!(f, "{separator}{name}=\"{}\"", escaped(value, true))?;
            separator = ',';
        }
        if separator == ',' { f.write_str("}") } else { Ok(()) }
    }
}

/// A text as a label's value or as help.
pub(super) fn escaped(text: &str, is_label: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if is_label => escaped.push_str("\\\""),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::family::testing::families;
    use super::*;

    #[test]
    fn every_kind_is_written_as_the_format_has_it() {
        let text = write(&families());
        let expected = r#"# HELP a_total Counts \\ things
# TYPE a_total counter
a_total{model="a\"b\\c\nd"} 7
# HELP b_rows Sizes
# TYPE b_rows histogram
b_rows_bucket{model="m",le="1"} 2
b_rows_bucket{model="m",le="2"} 2
b_rows_bucket{model="m",le="4"} 3
b_rows_bucket{model="m",le="+Inf"} 4
b_rows_sum{model="m"} 105
b_rows_count{model="m"} 4
# HELP c Now
# TYPE c gauge
c 0.5
"#;
        assert_eq!(text, expected);
    }
}
