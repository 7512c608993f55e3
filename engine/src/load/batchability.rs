//! Decides whether requests of a model share runs. The configuration decides if it says; otherwise
//! a proof on the graph that rows are independent, which trial runs then test.

use super::LoadTarget;
use super::row_comparison::{self, RowComparison};
use crate::batching_verdict::BatchingVerdict;
use crate::config::BATCH_ROWS_MAX;
use crate::executor::Executor;
use crate::probe::ProbedVersion;
use crate::signature::{Signature, list};
use skysail_graph::{Independence, Model, RowCause};

/// Sets the largest batch of the signature, and returns the reason.
///
/// `graph` is the model's graph as its file has it, if it can be read. `probed` waits for trial runs
/// in another process.
///
/// # Errors
/// The configured `max_batch_size` does not fit the graph, or the trial ended its process.
pub(crate) fn decide(
    executor: &mut dyn Executor,
    signature: &mut Signature,
    target: &LoadTarget<'_>,
    graph: Option<&Model>,
    probed: Option<&ProbedVersion<'_>>,
) -> Result<BatchingVerdict, String> {
    let proof = graph.map_or_else(unreadable, Model::row_independence);
    let verdict = match target.config.max_batch_size {
        Some(rows_max) => {
            check_configured(signature, rows_max)?;
            signature.batch_rows_max = rows_max;
            BatchingVerdict::Configured { rows_max, proof }
        }
        None => {
            let is_proven = proof == Independence::Independent;
            let trial =
                probed.filter(|_| is_proven).map_or(Ok(None), ProbedVersion::row_comparison)?;
            test_proof(executor, signature, proof, trial)
        }
    };
    if verdict == BatchingVerdict::Proven {
        signature.batch_rows_max = BATCH_ROWS_MAX;
        signature.larger_requests_run_alone = true;
    }
    log(target, &verdict);
    Ok(verdict)
}

fn unreadable() -> Independence {
    Independence::Unknown(RowCause { node: None, problem: "its graph can not be read".into() })
}

/// Derives the verdict from the proof. A comparison of rows, made earlier or now, must not
/// contradict it.
fn test_proof(
    executor: &mut dyn Executor,
    signature: &Signature,
    proof: Independence,
    trial: Option<RowComparison>,
) -> BatchingVerdict {
    match proof {
        Independence::Independent => {
            let compare = || row_comparison::run(executor, signature, BATCH_ROWS_MAX);
            match trial.unwrap_or_else(compare).difference {
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
