//! Exemplars: for each range of stage times, the last kept request. So slow requests can be looked
//! up by their ids.

use crate::request_record::RequestRecord;
use crate::stage::Stage;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// Powers of two, in seconds, that have an exemplar each. Times outside have none.
pub const POWERS: std::ops::RangeInclusive<i32> = -17..=4;

/// Number of powers.
const COUNT: usize = 22;

/// Exemplars by stage, and by the total time.
#[derive(Default)]
pub(super) struct Exemplars {
    stages: [ByPower; Stage::ALL.len()],
    total: ByPower,
}

/// Exemplars by power of two.
type ByPower = [ArcSwapOption<RequestRecord>; COUNT];

impl Exemplars {
    /// Makes a request the exemplar of all its times.
    pub(super) fn keep(&self, record: &Arc<RequestRecord>) {
        if !record.outcome.is_answered() {
            return;
        }
        for (stage, exemplars) in Stage::ALL.into_iter().zip(&self.stages) {
            if let Some(ns) = record.ends.stage_ns(stage) {
                keep(exemplars, ns, record);
            }
        }
        keep(&self.total, record.total_us().saturating_mul(1000), record);
    }

    pub(super) fn get(&self, stage: Option<Stage>, power: i32) -> Option<Arc<RequestRecord>> {
        let exemplars = stage.map_or(&self.total, |stage| &self.stages[stage as usize]);
        exemplars.get(index(power)?)?.load_full()
    }
}

fn keep(exemplars: &ByPower, ns: u64, record: &Arc<RequestRecord>) {
    let power = (ns as f64 * 1e-9).log2().ceil();
    if power.is_finite()
        && let Some(exemplar) = index(power as i32).and_then(|index| exemplars.get(index))
    {
        exemplar.store(Some(Arc::clone(record)));
    }
}

/// Index of a power; `None` outside of [`POWERS`].
fn index(power: i32) -> Option<usize> {
    usize::try_from(power - POWERS.start()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_record::Outcome;
    use crate::request_record::testing::record;
    use std::time::Duration;

    #[test]
    fn a_request_is_the_exemplar_of_each_of_its_times() {
        assert_eq!(POWERS.count(), COUNT);
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
