//! The text formats: Prometheus 0.0.4 and OpenMetrics 1.0.0, one writer with two dialects.

use super::family::{Counts, Exemplar, Families, Family, Kind, Labels, Value};
use std::fmt::Write;

/// A dialect of the text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0: with exemplars.
    OpenMetrics,
}

impl Dialect {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes all metrics.
    pub(super) fn write(self, families: &Families) -> String {
        let mut writer = Writer { dialect: self, text: String::with_capacity(64 << 10) };
        families.iter().for_each(|family| writer.family(family));
        if self == Self::OpenMetrics {
            writer.text.push_str("# EOF\n");
        }
        writer.text
    }

    /// A floating-point number. OpenMetrics wants a point or an exponent in some places.
    fn float(self, value: f64) -> String {
        match self {
            Self::Prometheus => value.to_string(),
            Self::OpenMetrics => format!("{value:?}"),
        }
    }
}

struct Writer {
    dialect: Dialect,
    text: String,
}

impl Writer {
    fn family(&mut self, family: &Family) {
        let name = family.name;
        match self.dialect {
            Dialect::Prometheus => {
                let (help, kind) = (escaped(family.help, false), family.kind.name());
                self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            }
            Dialect::OpenMetrics => {
                // A counter's name must end in `_total`. Triton's do not, and keep their names.
                let (title, kind) = match (family.kind, name.strip_suffix("_total")) {
                    (Kind::Counter, Some(title)) => (title, "counter"),
                    (Kind::Counter, None) => (name, "unknown"),
                    (kind, _) => (name, kind.name()),
                };
                let help = escaped(family.help, true);
                self.put(format_args!("# TYPE {title} {kind}\n# HELP {title} {help}\n"));
            }
        }
        for (labels, value) in &family.samples {
            match value {
                Value::Number(value) => {
                    self.put(format_args!("{name}{} {value}\n", Braced(labels, None)));
                }
                Value::Counts(counts) => self.histogram(name, labels, counts),
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &Labels, counts: &Counts) {
        for (bound, count, exemplar) in counts.classic() {
            let bound = self.dialect.float(bound);
            self.put(format_args!("{name}_bucket{} {count}", Braced(labels, Some(&bound))));
            self.exemplar(exemplar);
            self.text.push('\n');
        }
        let count = counts.snapshot.count();
        let sum = self.dialect.float(counts.snapshot.sum());
        let (all, labels) = (Braced(labels, Some("+Inf")), Braced(labels, None));
        self.put(format_args!("{name}_bucket{all} {count}\n"));
        match self.dialect {
            Dialect::Prometheus => {
                self.put(format_args!("{name}_sum{labels} {sum}\n{name}_count{labels} {count}\n"));
            }
            Dialect::OpenMetrics => {
                self.put(format_args!("{name}_count{labels} {count}\n{name}_sum{labels} {sum}\n"));
            }
        }
    }

    fn exemplar(&mut self, exemplar: Option<&Exemplar>) {
        if let (Dialect::OpenMetrics, Some(exemplar)) = (self.dialect, exemplar) {
            let Exemplar { labels, value, time_s } = exemplar;
            self.put(format_args!(" # {} {value:?} {time_s:.3}", Braced(labels, None)));
        }
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(arguments);
    }
}

/// Labels in braces, with the bound of a bucket.
struct Braced<'a>(&'a Labels, Option<&'a str>);

impl std::fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(labels, bound) = self;
        let bound = bound.iter().map(|bound| ("le", *bound));
        let labels = labels.iter().map(|(name, value)| (&**name, value.as_str())).chain(bound);
        let mut separator = '{';
        for (name, value) in labels {
            write!(f, "{separator}{name}=\"{}\"", escaped(value, true))?;
            separator = ',';
        }
        if separator == ',' { f.write_str("}") } else { Ok(()) }
    }
}

/// Escapes a label's value, or help.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
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
    fn every_kind_is_written_for_prometheus() {
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
        assert_eq!(Dialect::Prometheus.write(&families()), expected);
    }

    #[test]
    fn every_kind_is_written_for_open_metrics() {
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
        assert_eq!(Dialect::OpenMetrics.write(&families()), expected);
    }
}
