//! Prometheus' protobuf messages, length-delimited, with native histograms and exemplars.

use super::family::{Counts, Exemplar, Families, Family, Kind, Labels, Value};
use prost::Message;
use skysail_engine::observe::histogram::{SCHEMA, Snapshot, ZERO_THRESHOLD};
use skysail_protocol::prometheus::{
    self, Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily,
    MetricType, Timestamp,
};
use std::borrow::Cow;

pub(super) const CONTENT_TYPE: &str = "application/vnd.google.protobuf; \
    proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Most empty buckets that are written between two others: a span costs more.
const GAP_MAX: i32 = 2;

/// Writes all metrics.
pub(super) fn write(families: &Families) -> Vec<u8> {
    families.iter().flat_map(|family| message(family).encode_length_delimited_to_vec()).collect()
}

fn message(family: &Family) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    MetricFamily {
        name: family.name.into(),
        help: family.help.into(),
        r#type: Some(kind.into()),
        metric: family.samples.iter().map(|(labels, value)| metric(kind, labels, value)).collect(),
    }
}

fn metric(kind: MetricType, labels: &Labels, value: &Value) -> Metric {
    let label = pairs(labels);
    match value {
        Value::Number(value) if kind == MetricType::Counter => {
            Metric { label, counter: Some(Counter { value: *value }), ..Metric::default() }
        }
        Value::Number(value) => {
            Metric { label, gauge: Some(Gauge { value: *value }), ..Metric::default() }
        }
        Value::Counts(counts) => {
            Metric { label, histogram: Some(histogram(counts)), ..Metric::default() }
        }
    }
}

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let pair = |(name, value): &(Cow<'static, str>, String)| LabelPair {
        name: name.to_string(),
        value: value.clone(),
    };
    labels.iter().map(pair).collect()
}

fn histogram(counts: &Counts) -> Histogram {
    let bucket = |(upper_bound, cumulative_count, exemplar): (f64, u64, Option<&Exemplar>)| {
        Bucket { cumulative_count, upper_bound, exemplar: exemplar.map(self::exemplar) }
    };
    let snapshot = &counts.snapshot;
    let (positive_span, positive_delta) = spans(snapshot);
    Histogram {
        sample_count: snapshot.count(),
        sample_sum: snapshot.sum(),
        bucket: counts.classic().map(bucket).collect(),
        schema: Some(SCHEMA.into()),
        zero_threshold: ZERO_THRESHOLD,
        zero_count: snapshot.zero(),
        positive_span,
        positive_delta,
        exemplars: counts.exemplars.iter().map(|(_, of_bucket)| exemplar(of_bucket)).collect(),
    }
}

/// Native buckets: their spans, and the difference of each count to the one before.
fn spans(snapshot: &Snapshot) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<BucketSpan>, Vec<i64>) = (Vec::new(), Vec::new());
    // The bucket after the last one written, and the last count.
    let (mut next, mut last) = (0, 0);
    for (index, count) in snapshot.native() {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                for _ in 0..gap {
                    deltas.push(-last);
                    last = 0;
                }
                span.length += u32::try_from(gap).unwrap_or(0) + 1;
            }
            _ => spans.push(BucketSpan { offset: gap, length: 1 }),
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - last);
        (next, last) = (index + 1, count);
    }
    if spans.is_empty() {
        // This marks an empty histogram as native.
        spans.push(BucketSpan::default());
    }
    (spans, deltas)
}

fn exemplar(exemplar: &Exemplar) -> prometheus::Exemplar {
    let seconds = exemplar.time_s.floor();
    let nanos = ((exemplar.time_s - seconds) * 1e9) as i32;
    prometheus::Exemplar {
        label: pairs(&exemplar.labels),
        value: exemplar.value,
        timestamp: Some(Timestamp { seconds: seconds as i64, nanos }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::testing::families;
    use super::*;
    use skysail_engine::observe::histogram::{Histogram as Recorder, Unit};

    #[test]
    fn messages_are_length_delimited() {
        let bytes = write(&families());
        let mut rest = bytes.as_slice();
        let mut read = Vec::new();
        while !rest.is_empty() {
            read.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        let names: Vec<_> = read.iter().map(|family| family.name.as_str()).collect();
        assert_eq!(names, ["a_total", "b_rows", "c"]);
        assert_eq!(read[0].metric[0].counter.unwrap().value, 7.0);
        assert_eq!(read[2].r#type(), MetricType::Gauge);
        let histogram = read[1].metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.sample_count, histogram.sample_sum), (4, 105.0));
        let counts: Vec<_> = histogram.bucket.iter().map(|b| b.cumulative_count).collect();
        assert_eq!(counts, [2, 2, 3]);
        let exemplar = histogram.bucket[2].exemplar.as_ref().unwrap();
        assert_eq!(
            exemplar.timestamp,
            Some(Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 })
        );
    }

    /// Decodes spans and deltas to bucket numbers and counts.
    fn read(spans: &[BucketSpan], deltas: &[i64]) -> Vec<(i32, i64)> {
        let (mut index, mut count, mut deltas) = (0, 0, deltas.iter());
        let mut read = Vec::new();
        for span in spans {
            index += span.offset;
            for _ in 0..span.length {
                count += deltas.next().unwrap();
                read.push((index, count));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        read.retain(|(_, count)| *count > 0);
        read
    }

    #[test]
    fn spans_and_deltas_encode_the_counts() {
        let recorder = Recorder::new(Unit::Seconds);
        for us in [3, 5, 5, 8, 900, 1_000, 1_000, 1_100, 70_000, 2_000_000, 2_000_001] {
            recorder.record(us * 1000);
        }
        let snapshot = recorder.snapshot();
        let (spans, deltas) = spans(&snapshot);
        let expected: Vec<_> = snapshot.native().map(|(i, count)| (i, count as i64)).collect();
        assert_eq!(read(&spans, &deltas), expected);
        assert!(spans.len() < expected.len(), "close buckets share a span");
    }

    #[test]
    fn an_empty_histogram_is_native_too() {
        let (spans, deltas) = spans(&Snapshot::empty(Unit::Seconds));
        assert_eq!((spans.len(), deltas.len()), (1, 0));
    }
}
