//! OpenMetrics' text format, version 1.0.0: with exemplars.

use super::family::{Counts, Example, Families, Family, Kind, Labels, Value};
use super::text::{Braced, escaped, put};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
pub(super) fn write(families: &Families) -> String {
    let mut text = String::with_capacity(64 << 10);
    families.iter().for_each(|family| family_to(&mut text, family));
    text.push_str("# EOF\n");
    text
}

fn family_to(text: &mut String, family: &Family) {
    let name = family.name;
    // A counter's name must end so. Triton's do not, and they stay what they are.
    let (title, kind) = match (family.kind, name.strip_suffix("_total")) {
        (Kind::Counter, Some(title)) => (title, "counter"),
        (Kind::Counter, None) => (name, "unknown"),
        (kind, _) => (name, kind.name()),
    };
    let help = escaped(family.help, true);
    put(text, format_args!("# TYPE {title} {kind}\n# HELP {title} {help}\n"));
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
    for (bound, count, example) in counts.classic() {
        // Bounds have a point or an exponent.
        let labels = Braced(labels, Some(&format!("{bound:?}")));
        put(text, format_args!("{name}_bucket{labels} {count}"));
        example_to(text, example);
    }
    let (count, sum) = (counts.snapshot.count(), counts.snapshot.sum());
    let (all, labels) = (Braced(labels, Some("+Inf")), Braced(labels, None));
    put(text, format_args!("{name}_bucket{all} {count}\n"));
    put(text, format_args!("{name}_count{labels} {count}\n{name}_sum{labels} {sum:?}\n"));
}

fn example_to(text: &mut String, example: Option<&Example>) {
    if let Some(Example { labels, value, time_s }) = example {
        put(text, format_args!(" # {} {value:?} {time_s:.3}", Braced(labels, None)));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::family::testing::families;
    use super::*;

    #[test]
    fn every_kind_is_written_as_the_format_has_it() {
        let text = write(&families());
        let expected = r#"# TYPE a counter
# HELP a Counts \\ things
a_total{model="a\"b\\c\nd"} 7
# TYPE b_rows histogram
# HELP b_rows Sizes
b_rows_bucket{model="m",le="1.0"} 2
b_rows_bucket{model="m",le="2.0"} 2
b_rows_bucket{model="m",le="4.0"} 3 # {request_id="r\"1"} 3.0 1700000000.250
b_rows_bucket{model="m",le="+Inf"} 4
b_rows_count{model="m"} 4
b_rows_sum{model="m"} 105.0
# TYPE c gauge
# HELP c Now
c 0.5
# EOF
"#;
        assert_eq!(text, expected);
    }
}
