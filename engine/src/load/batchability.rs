//! Decides whether requests of a model share runs. The configuration decides if it says; otherwise
//! a proof on the graph that rows are independent, which trial runs then test.

use super::LoadTarget;
use super::row_comparison::{self, RowComparison};
use crate::batching::Batching;
use crate::batching_verdict::BatchingVerdict;
use crate::config::BATCH_ROWS_MAX;
use crate::executor::Executor;
use crate::probe::ProbedVersion;
use crate::signature::{Signature, list};
use skysail_graph::Independence;

/// Decides the limits of batches, and returns the reason.
///
/// `proof` says whether rows are independent. `probed` waits for trial runs in another process. They
/// count only if `is_compared`.
///
/// # Errors
/// The configured `max_batch_size` does not fit the graph, or the trial ended its process.
pub(crate) fn decide(
    executor: Option<&mut dyn Executor>,
    signature: &Signature,
    proof: Independence,
    target: &LoadTarget<'_>,
    (probed, is_compared): (Option<&ProbedVersion<'_>>, bool),
) -> Result<(Batching, BatchingVerdict), String> {
    let verdict = match target.config.max_batch_size {
        Some(rows_max) => {
            check_configured(signature, rows_max)?;
            if rows_max > 0 {
                // Rows run together here only if another process has survived that.
                probed.map(ProbedVersion::row_comparison).transpose()?;
            }
            BatchingVerdict::Configured { rows_max, proof }
        }
        None if proof == Independence::Independent && !is_compared => BatchingVerdict::Proven,
        None => {
            let is_proven = proof == Independence::Independent;
            let trial =
                probed.filter(|_| is_proven).map_or(Ok(None), ProbedVersion::row_comparison)?;
            test_proof(executor, signature, proof, trial)
        }
    };
    let (rows_max, larger_requests_run_alone) = match verdict {
        BatchingVerdict::Proven => (BATCH_ROWS_MAX, true),
        BatchingVerdict::Configured { rows_max, .. } => (rows_max, false),
        _ => (0, false),
    };
    log(target, &verdict);
    Ok((Batching { rows_max, larger_requests_run_alone, padding: None, ragged: None }, verdict))
}

/// Derives the verdict from the proof. A comparison of rows, made earlier or now, must not
/// contradict it.
fn test_proof(
    executor: Option<&mut dyn Executor>,
    signature: &Signature,
    proof: Independence,
    trial: Option<RowComparison>,
) -> BatchingVerdict {
    match proof {
        Independence::Independent => {
            // A replica that runs elsewhere makes no trial runs: its proof stands alone.
            let compare = |executor| row_comparison::run(executor, signature, BATCH_ROWS_MAX);
            let trial = trial.or_else(|| executor.map(compare));
            match trial.and_then(|trial| trial.difference) {
                None => BatchingVerdict::Proven,
                Some(difference) => BatchingVerdict::Refuted(difference),
            }
        }
        Independence::Dependent(cause) => BatchingVerdict::Dependent(cause),
        Independence::Unknown(cause) => BatchingVerdict::Unknown(cause),
    }
}

/// Checks that the configured `max_batch_size` fits the graph.
fn check_configured(signature: &Signature, rows_max: usize) -> Result<(), String> {
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

fn log(target: &LoadTarget<'_>, verdict: &BatchingVerdict) {
    let (name, version) = (target.name, target.version);
    match (verdict, verdict.reason()) {
        (BatchingVerdict::Refuted(_), Some(reason)) => {
            tracing::error!("model '{name}' version {version} runs requests alone: {reason}");
        }
        (BatchingVerdict::Configured { .. }, Some(reason)) => {
            tracing::warn!("model '{name}' version {version}: {reason}");
        }
        (_, Some(reason)) => {
            tracing::info!("model '{name}' version {version} runs requests alone: {reason}");
        }
        _ => {}
    }
}
