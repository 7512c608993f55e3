//! Classes of replicas: each has run times and a batching policy of its own.

use crate::batch::{BatchPolicy, Decision, FinishedRun, QueueView};
use crate::replica_set::ClassId;
use crate::run_time::RunTime;

/// Makes the batching policy of a class.
pub type MakePolicy = Box<dyn Fn() -> Box<dyn BatchPolicy> + Send>;

/// Replicas that run equally fast.
pub(super) struct Class {
    pub(super) id: ClassId,
    pub(super) run_time: RunTime,
    pub(super) policy: Box<dyn BatchPolicy>,
}

/// All classes that ever had a replica.
pub(super) struct Classes {
    all: Vec<Class>,
    make_policy: MakePolicy,
}

impl Classes {
    pub(super) fn new(make_policy: MakePolicy) -> Self {
        Self { all: Vec::new(), make_policy }
    }

    /// Makes a class, unless it exists.
    pub(super) fn add(&mut self, id: ClassId) -> &mut Class {
        let at = self.all.iter().position(|class| class.id == id).unwrap_or_else(|| {
            let (run_time, policy) = (RunTime::default(), (self.make_policy)());
            self.all.push(Class { id, run_time, policy });
            self.all.len() - 1
        });
        &mut self.all[at]
    }

    pub(super) fn get(&self, id: ClassId) -> Option<&Class> {
        self.all.iter().find(|class| class.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Class> + Clone {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Class> {
        self.all.iter_mut()
    }

    pub(super) fn rows_max(&self, id: ClassId) -> usize {
        self.get(id).map_or(1, |class| class.policy.rows_max())
    }

    pub(super) fn predict_us(&self, id: ClassId, rows: usize) -> Option<f64> {
        self.get(id)?.run_time.predict_us(rows)
    }

    pub(super) fn observe(&mut self, id: ClassId, rows: usize, run_us: f64) {
        self.add(id).run_time.observe(rows, run_us);
    }

    pub(super) fn decide(&mut self, id: ClassId, view: &QueueView, now_us: u64) -> Decision {
        let Class { run_time, policy, .. } = self.add(id);
        policy.decide(view, run_time, now_us)
    }

    pub(super) fn finished(&mut self, id: ClassId, run: &FinishedRun, now_us: u64) {
        let Class { run_time, policy, .. } = self.add(id);
        run_time.observe(run.rows, run.run_us);
        policy.finished(run, run_time, now_us);
    }
}
