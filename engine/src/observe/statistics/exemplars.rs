//! Examples of requests, by the size of each of their times: the last that the tail recorder took
//! in. So the slow ones among them can be looked up by their names.

use crate::request_record::RequestRecord;
use crate::stage::Stage;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// Powers of two, in seconds, that have an example each; what is outside of them has none.
pub const POWERS: std::ops::RangeInclusive<i32> = -17..=4;

const PLACES: usize = 22;

/// The stages, and the whole request.
#[derive(Default)]
pub(super) struct Exemplars {
    stages: [Examples; Stage::ALL.len()],
    whole: Examples,
}

type Examples = [ArcSwapOption<RequestRecord>; PLACES];

impl Exemplars {
    /// Takes a request as the example of all its times.
    pub(super) fn keep(&self, record: &Arc<RequestRecord>) {
        if !record.outcome.is_answered() {
            return;
        }
        for (stage, examples) in Stage::ALL.into_iter().zip(&self.stages) {
            if let Some(ns) = record.ends.stage_ns(stage) {
                keep(examples, ns, record);
            }
        }
        keep(&self.whole, record.total_us().saturating_mul(1000), record);
    }

    pub(super) fn get(&self, stage: Option<Stage>, power: i32) -> Option<Arc<RequestRecord>> {
        let examples = stage.map_or(&self.whole, |stage| &self.stages[stage as usize]);
        examples.get(place(power)?)?.load_full()
    }
}

fn keep(examples: &Examples, ns: u64, record: &Arc<RequestRecord>) {
    let power = (ns as f64 * 1e-9).log2().ceil();
    if power.is_finite()
        && let Some(example) = place(power as i32).and_then(|place| examples.get(place))
    {
        example.store(Some(Arc::clone(record)));
    }
}

/// Times outside of the powers have none.
fn place(power: i32) -> Option<usize> {
    usize::try_from(power - POWERS.start()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_record::Outcome;
    use crate::request_record::testing::record;
    use std::time::Duration;

    #[test]
    fn a_request_is_the_example_of_each_of_its_times() {
        assert_eq!(POWERS.count(), PLACES);
        let exemplars = Exemplars::default();
        let mut slow = record(3_000_000, Outcome::Answered);
        slow.ends.push(Duration::from_micros(900));
        exemplars.keep(&Arc::new(slow));
        assert!(exemplars.get(None, 2).is_some(), "between 2 and 4 seconds");
        assert!(exemplars.get(None, 1).is_none());
        assert!(exemplars.get(Some(Stage::Accept), -10).is_some(), "up to 1/1024 s");
        assert!(exemplars.get(Some(Stage::Decode), -10).is_none());
        exemplars.keep(&Arc::new(record(1_000_000_000_000, Outcome::Answered)));
        exemplars.keep(&Arc::new(record(0, Outcome::Answered)));
    }
}
