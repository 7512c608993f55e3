//! Statistics of models since they were loaded.

use crate::server::Server;
use crate::status::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::observe::statistics::Timed;
use skysail_protocol::grpc::{
    InferBatchStatistics, InferStatistics, ModelStatistics, ModelStatisticsResponse,
    StatisticDuration,
};

/// Statistics of one version, of all versions of a model, or of all models if the name is empty.
pub(crate) fn models(
    server: &Server,
    name: &str,
    version: Option<u64>,
) -> Result<ModelStatisticsResponse, Error> {
    let serving = server.engine().repository().serving();
    let model_stats = match (name, version) {
        ("", _) => serving.iter().map(|model| statistics(model)).collect(),
        (name, None) => {
            server.engine().lookup(name, None)?;
            let versions = serving.iter().filter(|model| &**model.name() == name);
            versions.map(|model| statistics(model)).collect()
        }
        (name, version) => vec![statistics(&*server.engine().lookup(name, version)?)],
    };
    Ok(ModelStatisticsResponse { model_stats })
}

fn statistics(model: &Endpoint) -> ModelStatistics {
    let counted = model.statistics();
    let batch = |(rows, batch): (usize, skysail_engine::observe::statistics::BatchStatistics)| {
        let timed = |ns| Some(StatisticDuration { count: batch.count, ns });
        InferBatchStatistics {
            batch_size: rows as u64,
            compute_input: timed(batch.input_ns),
            compute_infer: timed(batch.infer_ns),
            compute_output: timed(batch.output_ns),
        }
    };
    ModelStatistics {
        name: model.name().to_string(),
        version: model.version().to_string(),
        last_inference: counted.last_run_ms(),
        inference_count: counted.rows(),
        execution_count: counted.runs(),
        inference_stats: Some(InferStatistics {
            success: duration(&counted.success),
            fail: duration(&counted.fail),
            queue: duration(&counted.queue),
            compute_input: duration(&counted.compute_input),
            compute_infer: duration(&counted.compute_infer),
            compute_output: duration(&counted.compute_output),
            cache_hit: duration(&counted.cache_hit),
            cache_miss: duration(&counted.cache_miss),
        }),
        batch_stats: counted.batches().into_iter().map(batch).collect(),
        ..ModelStatistics::default()
    }
}

fn duration(timed: &Timed) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: timed.count(), ns: timed.ns() })
}
