//! Metrics of one name, whatever form they are written in.

use skysail_engine::observe::histogram::Snapshot;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
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

/// Labels, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Metrics of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<(Labels, Value)>,
}

/// A metric's value.
#[derive(Debug)]
pub(super) enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Counts(Box<Counts>),
}

/// A histogram: its finest buckets, and which of them a classic one has.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) snapshot: Snapshot,
    /// The upper bounds of classic buckets are these powers of two, and infinity.
    pub(super) powers: RangeInclusive<i32>,
    /// Examples by the power of their bucket.
    pub(super) examples: Vec<(i32, Example)>,
}

impl Counts {
    /// Upper bounds of the classic buckets but the last, each with its count and its example.
    pub(super) fn classic(&self) -> impl Iterator<Item = (f64, u64, Option<&Example>)> {
        self.powers.clone().map(|power| {
            let example = self.examples.iter().find(|(of, _)| *of == power);
            let bound = f64::from(power).exp2();
            (bound, self.snapshot.at_most(power), example.map(|(_, example)| example))
        })
    }
}

/// A request that is counted in a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example {
    pub(super) labels: Labels,
    pub(super) value: f64,
    /// When it was, in seconds since 1970.
    pub(super) time_s: f64,
}

/// Metrics of the same labels are not further apart than this: one model has so many of a name.
const ALIKE_MAX: usize = 16;

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

    /// Metrics of the same labels are added together.
    fn add(&mut self, what: (&'static str, &'static str, Kind), labels: Labels, value: Value) {
        let (name, help, kind) = what;
        let new = || Family { name, help, kind, samples: Vec::new() };
        let samples = &mut self.0.entry(name).or_insert_with(new).samples;
        match (samples.iter_mut().rev().take(ALIKE_MAX).find(|(known, _)| *known == labels), value)
        {
            (Some((_, Value::Number(sum))), Value::Number(value)) => *sum += value,
            (Some((_, Value::Counts(sum))), Value::Counts(counts)) => {
                sum.snapshot.add(&counts.snapshot);
            }
            (_, value) => samples.push((labels, value)),
        }
    }

    /// All, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Family> {
        self.0.values()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use skysail_engine::observe::histogram::{Histogram, Unit};

    /// One of each kind.
    pub(crate) fn families() -> Families {
        let mut families = Families::default();
        let model = |name: &str| vec![("model", name.to_owned())];
        families.gauge(("c", "Now"), vec![], 0.5);
        for count in [3, 4] {
            families.counter(("a_total", "Counts \\ things"), model("a\"b\\c\nd"), count);
        }
        let rows = Histogram::new(Unit::Pieces);
        [1, 1, 3, 100].iter().for_each(|&row| rows.record(row));
        let labels = vec![("request_id", "r\"1".to_owned())];
        let example = Example { labels, value: 3.0, time_s: 1_700_000_000.25 };
        let counts =
            Counts { snapshot: rows.snapshot(), powers: 0..=2, examples: vec![(2, example)] };
        families.histogram(("b_rows", "Sizes"), model("m"), counts);
        families
    }
}
