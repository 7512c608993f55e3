//! The span of each run of a batch: a trace of its own, with links to and from its members.
//!
//! Members end at different times, so a run's span waits one tick longer than its first member.

use super::context::{random_span, random_trace};
use super::kept::Kept;
use super::parent::TraceParent;
use super::span::{self, Interval, number, wall};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, SpanId};
use opentelemetry_sdk::trace::SpanData;
use skysail_engine::stage::Stage;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

/// Most links of a span: OpenTelemetry's limit.
const LINKS_MAX: usize = 128;

/// Key of a run: model, version, and number of the batch.
type Key = (Arc<str>, u64, u64);

/// Runs whose members may still end.
#[derive(Default)]
pub(super) struct Runs {
    new: HashMap<Key, SpanData>,
    old: HashMap<Key, SpanData>,
}

impl Runs {
    /// Links a request with its run, and returns the context of the run's span.
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

    /// Takes the runs whose members had time to end, or all runs if this is the last call.
    pub(super) fn take(&mut self, is_last: bool) -> Vec<SpanData> {
        let mut runs = take(&mut self.old);
        self.old = take(&mut self.new);
        if is_last {
            runs.extend(take(&mut self.old));
        }
        runs.into_values().collect()
    }
}

/// The span of a request's run, without links.
fn run(kept: &Kept) -> Option<SpanData> {
    let (record, run) = (&kept.record, kept.record.run?);
    let accepted = wall(record.accepted);
    let at = |stage| Some(accepted + Duration::from_nanos(record.ends.end_ns(stage)?));
    let own = TraceParent { trace: random_trace(), span: random_span(), sampled: true };
    let interval = Interval {
        context: span::context(&own, None),
        parent: SpanId::INVALID,
        start: at(Stage::Queue)?,
        end: at(Stage::Execute)?,
    };
    let mut span = interval.span(format!("run {}", record.model));
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
    use crate::observe::tracing::Context;
    use crate::observe::tracing::sample::Reason;
    use skysail_engine::cause::{Cause, Run};
    use skysail_engine::parameters::CustomParameters;
    use skysail_engine::request_record::{Ends, Outcome, RequestId, RequestRecord};
    use std::time::Instant;

    /// A request in the batch of this number.
    fn member(number: u64) -> Kept {
        let run = Run { number, rows: 2, members: 2, predicted_us: None, ran_us: 5, cold: false };
        let mut ends = Ends::NONE;
        (1..=7).for_each(|us| ends.push(Duration::from_micros(us)));
        let record = RequestRecord {
            model: "m".into(),
            version: 1,
            request_id: RequestId::own(),
            parameters: CustomParameters::default(),
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
        Kept {
            record,
            context: Context { own, parent: None, state: None },
            reason: Reason::Sampled,
        }
    }

    #[test]
    fn members_that_end_one_tick_apart_are_linked_to_one_run() {
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
    fn a_request_without_a_run_has_no_link() {
        let mut kept = member(1);
        kept.record.run = None;
        let mut runs = Runs::default();
        assert_eq!(runs.link(&kept), None);
        assert_eq!(runs.take(true), []);
    }

    #[test]
    fn links_are_limited_and_dropped_ones_are_counted() {
        let mut runs = Runs::default();
        for _ in 0..LINKS_MAX + 3 {
            runs.link(&member(1));
        }
        let run = &runs.take(true)[0];
        assert_eq!((run.links.len(), run.links.dropped_count), (LINKS_MAX, 3));
    }
}
