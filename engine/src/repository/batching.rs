//! Decides whether requests of a model share runs: the owner's word, else a proof on the graph that
//! rows are independent, which trial runs test.

use super::load::Wanted;
use super::probe::Met;
use super::row_trial::{self, RowTrial};
use crate::config::BATCH_ROWS_MAX;
use crate::executor::Executor;
use crate::sharing::Sharing;
use crate::signature::{Signature, list};
use skysail_graph::{Independence, Model, RowCause};

/// Sets how many rows may share a run, and says why. `graph` is the model's graph as its file has
/// it, where that could be read; `met` waits for a trial in another process.
///
/// # Errors
/// When the owner's `max_batch_size` can not be, or a trial in another process ended that.
pub(super) fn decide(
    executor: &mut dyn Executor,
    signature: &mut Signature,
    wanted: &Wanted<'_>,
    graph: Option<&Model>,
    met: Option<&Met<'_>>,
) -> Result<Sharing, String> {
    let proof = graph.map_or_else(unread, Model::row_independence);
    let sharing = match wanted.config.max_batch_size {
        Some(rows_max) => {
            check(signature, rows_max)?;
            signature.batch_rows_max = rows_max;
            Sharing::Configured { rows_max, proof }
        }
        None => {
            let is_proven = proof == Independence::Independent;
            let trial = met.filter(|_| is_proven).map_or(Ok(None), Met::compares)?;
            tested(executor, signature, proof, trial)
        }
    };
    if sharing == Sharing::Proven {
        signature.batch_rows_max = BATCH_ROWS_MAX;
        signature.larger_requests_run_alone = true;
    }
    tell(wanted, &sharing);
    Ok(sharing)
}

fn unread() -> Independence {
    Independence::Unknown(RowCause { node: None, problem: "its graph can not be read".into() })
}

/// What follows from the proof when the owner says nothing: a trial must not contradict it, one that
/// was made already or is made now.
fn tested(
    executor: &mut dyn Executor,
    signature: &Signature,
    proof: Independence,
    trial: Option<RowTrial>,
) -> Sharing {
    match proof {
        Independence::Independent => {
            let now = || row_trial::run(executor, signature, BATCH_ROWS_MAX);
            match trial.unwrap_or_else(now).difference {
                None => Sharing::Proven,
                Some(difference) => Sharing::Refuted(difference),
            }
        }
        Independence::Dependent(cause) => Sharing::Dependent(cause),
        Independence::Unknown(cause) => Sharing::Unknown(cause),
    }
}

/// That the owner's `max_batch_size` fits the graph.
fn check(signature: &Signature, rows_max: usize) -> Result<(), String> {
    let mut all = signature.inputs.iter().chain(&signature.outputs);
    let fixed = all.find(|spec| !spec.any_rank && !matches!(spec.dims.first(), Some(None)));
    match fixed {
        Some(spec) if rows_max > 0 => Err(format!(
            "max_batch_size is {rows_max}, and the first dimension of '{}' is not open in the \
             graph ({}): set it to 0",
            spec.name,
            list(spec.wire_dims())
        )),
        _ => Ok(()),
    }
}

fn tell(wanted: &Wanted<'_>, sharing: &Sharing) {
    let (name, version) = (wanted.name, wanted.version);
    match (sharing, sharing.reason()) {
        (Sharing::Refuted(_), Some(reason)) => {
            tracing::error!("model '{name}' version {version} runs requests alone: {reason}");
        }
        (Sharing::Configured { .. }, Some(reason)) => {
            tracing::warn!("model '{name}' version {version}: {reason}");
        }
        (_, Some(reason)) => {
            tracing::info!("model '{name}' version {version} runs requests alone: {reason}");
        }
        _ => {}
    }
}
