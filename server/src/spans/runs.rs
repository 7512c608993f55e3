//! The span of each run of a batch: a trace of its own, linked to its members as they are to it.
//!
//! Members end apart, so a run waits for a tick longer than the first of them.

use super::export::Kept;
use super::parent::TraceParent;
use super::span::{self, Place, number, wall};
use super::{random_span, random_trace};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, SpanId};
use opentelemetry_sdk::trace::SpanData;
use skysail_engine::stage::Stage;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

/// Members that a run's span names; OpenTelemetry's limit.
const LINKS_MAX: usize = 128;

/// A run: its model, that's version, and the batch's number.
type Key = (Arc<str>, u64, u64);

/// Runs whose members are still coming.
#[derive(Default)]
pub(super) struct Runs {
    new: HashMap<Key, SpanData>,
    old: HashMap<Key, SpanData>,
}

impl Runs {
    /// Links a request and the run that it was in, and gives the context of the run's span.
    pub(super) fn link(&mut self, kept: &Kept) -> Option<SpanContext> {
        let record = &kept.record;
        let key = (Arc::clone(&record.model), record.version, record.run?.number);
        let span = match self.old.get_mut(&key) {
            Some(span) => span,
            None => match self.new.entry(key) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => entry.insert(run(kept)?),
            },
        };
        let own = &kept.context.own;
        let member = Link::with_context(span::context(own, kept.context.state.as_ref()));
        match span.links.links.len() < LINKS_MAX {
            true => span.links.links.push(member),
            false => span.links.dropped_count += 1,
        }
        Some(span.span_context.clone())
    }

    /// The runs whose members have all had the time to come; at the last, all runs.
    pub(super) fn take(&mut self, is_last: bool) -> Vec<SpanData> {
        let mut runs = take(&mut self.old);
        self.old = take(&mut self.new);
        if is_last {
            runs.extend(take(&mut self.old));
        }
        runs.into_values().collect()
    }
}

/// The run that a request was in, so far without members.
fn run(kept: &Kept) -> Option<SpanData> {
    let (record, run) = (&kept.record, kept.record.run?);
    let accepted = wall(record.accepted);
    let at = |stage| Some(accepted + Duration::from_nanos(record.ends.end_ns(stage)?));
    let own = TraceParent { trace: random_trace(), span: random_span(), sampled: true };
    let place = Place {
        context: span::context(&own, None),
        parent: SpanId::INVALID,
        start: at(Stage::Queue)?,
        end: at(Stage::Execute)?,
    };
    let mut span = place.span(format!("run {}", record.model));
    span.attributes = vec![
        KeyValue::new("skysail.model", record.model.to_string()),
        KeyValue::new("skysail.version", number(record.version)),
        KeyValue::new("skysail.batch.number", number(run.number)),
        KeyValue::new("skysail.batch.rows", number(run.rows as u64)),
        KeyValue::new("skysail.batch.members", number(run.members as u64)),
        KeyValue::new("skysail.batch.ran_us", number(run.ran_us)),
        KeyValue::new("skysail.batch.cold", run.cold),
    ];
    if let Some(us) = run.predicted_us {
        span.attributes.push(KeyValue::new("skysail.batch.predicted_us", number(us)));
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::Context;
    use crate::spans::sample::Why;
    use skysail_engine::cause::{Cause, Run};
    use skysail_engine::request_record::{Ends, Outcome, RequestId, RequestRecord};
    use std::time::Instant;

    /// A request that was in the batch of this number.
    fn member(number: u64) -> Kept {
        let run = Run { number, rows: 2, members: 2, predicted_us: None, ran_us: 5, cold: false };
        let mut ends = Ends::NONE;
        (1..=7).for_each(|us| ends.push(Duration::from_micros(us)));
        let record = RequestRecord {
            model: "m".into(),
            version: 1,
            request_id: RequestId::own(),
            trace_id: None,
            accepted: Instant::now(),
            ends,
            ended_us: 7,
            written_us: None,
            outcome: Outcome::Answered,
            run: Some(run),
            behind: None,
            ahead: 0,
            cache: None,
            objective_us: None,
            sending_us: 0,
            loading_us: 0,
            cause: Cause::Ordinary,
        };
        let own = TraceParent { trace: random_trace(), span: random_span(), sampled: true };
        Kept { record, context: Context { own, parent: None, state: None }, why: Why::Sampled }
    }

    #[test]
    fn members_that_end_a_tick_apart_are_linked_to_one_run() {
        let mut runs = Runs::default();
        let first = runs.link(&member(5)).unwrap();
        assert_eq!(runs.take(false), []);
        assert_eq!(runs.link(&member(5)).unwrap(), first);
        let other = runs.link(&member(6)).unwrap();
        assert_ne!(other.trace_id(), first.trace_id());
        let [run] = &runs.take(false)[..] else { panic!("one run is over") };
        assert_eq!((run.span_context.clone(), run.links.len()), (first, 2));
        assert_eq!(run.end_time.duration_since(run.start_time).unwrap().as_micros(), 2);
        let [last] = &runs.take(true)[..] else { panic!("the end leaves none") };
        assert_eq!(last.span_context, other);
    }

    #[test]
    fn a_request_without_a_run_is_linked_to_none() {
        let mut kept = member(1);
        kept.record.run = None;
        let mut runs = Runs::default();
        assert_eq!(runs.link(&kept), None);
        assert_eq!(runs.take(true), []);
    }

    #[test]
    fn links_have_a_limit_and_those_beyond_are_counted() {
        let mut runs = Runs::default();
        for _ in 0..LINKS_MAX + 3 {
            runs.link(&member(1));
        }
        let run = &runs.take(true)[0];
        assert_eq!((run.links.len(), run.links.dropped_count), (LINKS_MAX, 3));
    }
}
