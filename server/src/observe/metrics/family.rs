//! Metrics grouped by name, independent of formats.

use skysail_engine::observe::histogram::Snapshot;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A count that only grows.
    Counter,
    /// A current value.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels, in the order of output.
pub(super) type Labels = Vec<(Cow<'static, str>, String)>;

/// Metrics of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<(Labels, Value)>,
}

/// Value of a metric.
#[derive(Debug)]
pub(super) enum Value {
    /// Value of a counter or a gauge.
    Number(f64),
    /// Buckets of a histogram.
    Counts(Box<Counts>),
}

/// A histogram with its native buckets, and the bounds of its classic ones.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) snapshot: Snapshot,
    /// Upper bounds of the classic buckets, as powers of two; the last bound is infinity.
    pub(super) powers: RangeInclusive<i32>,
    /// Exemplars by the power of their bucket.
    pub(super) exemplars: Vec<(i32, Exemplar)>,
}

impl Counts {
    /// Classic buckets but the last: upper bound, cumulative count and exemplar.
    pub(super) fn classic(&self) -> impl Iterator<Item = (f64, u64, Option<&Exemplar>)> {
        self.powers.clone().map(|power| {
            let exemplar = self.exemplars.iter().find(|(of, _)| *of == power);
            let bound = f64::from(power).exp2();
            (bound, self.snapshot.at_most(power), exemplar.map(|(_, exemplar)| exemplar))
        })
    }
}

/// A request that is counted in a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) labels: Labels,
    pub(super) value: f64,
    /// End of the request, in seconds since 1970.
    pub(super) time_s: f64,
}

/// Most samples of one name that one model adds. Samples with equal labels are no further apart.
const SAMPLES_OF_MODEL_MAX: usize = 16;

/// Metrics by name.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<&'static str, Family>);

impl Families {
    pub(super) fn counter(
        &mut self,
        (name, help): (&'static str, &'static str),
        labels: Labels,
        value: u64,
    ) {
        self.add((name, help, Kind::Counter), labels, Value::Number(value as f64));
    }

    pub(super) fn gauge(
        &mut self,
        (name, help): (&'static str, &'static str),
        labels: Labels,
        value: f64,
    ) {
        self.add((name, help, Kind::Gauge), labels, Value::Number(value));
    }

    pub(super) fn histogram(
        &mut self,
        (name, help): (&'static str, &'static str),
        labels: Labels,
        counts: Counts,
    ) {
        self.add((name, help, Kind::Histogram), labels, Value::Counts(Box::new(counts)));
    }

    /// Adds a sample. Values with equal labels are summed.
    fn add(&mut self, what: (&'static str, &'static str, Kind), labels: Labels, value: Value) {
        let (name, help, kind) = what;
        let new = || Family { name, help, kind, samples: Vec::new() };
        let samples = &mut self.0.entry(name).or_insert_with(new).samples;
        match (
            samples.iter_mut().rev().take(SAMPLES_OF_MODEL_MAX).find(|(known, _)| *known == labels),
            value,
        ) {
            (Some((_, Value::Number(sum))), Value::Number(value)) => *sum += value,
            (Some((_, Value::Counts(sum))), Value::Counts(counts)) => {
                sum.snapshot.add(&counts.snapshot);
            }
            (_, value) => samples.push((labels, value)),
        }
    }

    /// All families, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Family> {
        self.0.values()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use skysail_engine::observe::histogram::{Histogram, Unit};

    /// A family of each kind.
    pub(crate) fn families() -> Families {
        let mut families = Families::default();
        let model = |name: &str| vec![("model".into(), name.to_owned())];
        families.gauge(("c", "Now"), vec![], 0.5);
        for count in [3, 4] {
            families.counter(("a_total", "Counts \\ things"), model("a\"b\\c\nd"), count);
        }
        let rows = Histogram::new(Unit::Count);
        [1, 1, 3, 100].iter().for_each(|&row| rows.record(row));
        let labels = vec![("request_id".into(), "r\"1".to_owned())];
        let exemplar = Exemplar { labels, value: 3.0, time_s: 1_700_000_000.25 };
        let counts =
            Counts { snapshot: rows.snapshot(), powers: 0..=2, exemplars: vec![(2, exemplar)] };
        families.histogram(("b_rows", "Sizes"), model("m"), counts);
        families
    }
}
