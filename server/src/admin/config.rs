//! The effective configuration of a model, in Triton's format.

use super::json;
use super::metadata::PLATFORM;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::VersionPolicy;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::signature::TensorSpec;
use skysail_engine::tensor::DataType as EngineDataType;
use skysail_protocol::grpc::model_config::SchedulingChoice;
use skysail_protocol::grpc::model_instance_group::Kind;
use skysail_protocol::grpc::model_version_policy::{All, Latest, PolicyChoice, Specific};
use skysail_protocol::grpc::{
    DataType, ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput,
    ModelParameter, ModelQueuePolicy, ModelResponseCache, ModelTransactionPolicy,
    ModelVersionPolicy,
};
use std::collections::HashMap;

/// The configuration of one version.
pub(crate) fn model(
    server: &Server,
    name: &str,
    version: Option<u64>,
) -> Result<ModelConfig, Error> {
    let model = server.engine().lookup(name, version)?;
    let config = model.config();
    let signature = model.signature();
    let batches = model.batching().is_on();
    let declared = config.declared.as_deref();
    let declared: Option<ModelConfig> = declared.and_then(|it| json::from_json("ModelConfig", it));
    let declared = declared.unwrap_or_default();
    let scheduling = declared.scheduling_choice.clone();
    // Inputs with a default have no batch dimension: a request that has one runs alone.
    let required = signature.inputs.iter().map(|spec| input(spec, batches, false, &declared));
    let optional = signature.optional_inputs.iter().map(|spec| input(spec, false, true, &declared));
    let input = required.chain(optional).collect();
    Ok(ModelConfig {
        name: name.into(),
        platform: PLATFORM.into(),
        backend: model.model().backend().into(),
        version_policy: Some(version_policy(&config.versions)),
        max_batch_size: int32(model.batching().rows_max),
        input,
        output: signature.outputs.iter().map(|spec| output(spec, batches, &declared)).collect(),
        instance_group: vec![ModelInstanceGroup {
            name: name.into(),
            count: int32(model.model().replicas()),
            kind: Kind::Cpu.into(),
            ..ModelInstanceGroup::default()
        }],
        default_model_filename: model.model().file_name().into(),
        scheduling_choice: scheduling.or_else(|| batches.then(|| batching(&model))),
        parameters: parameters(&model),
        response_cache: Some(ModelResponseCache { enable: config.cache.is_some() }),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
        ..declared
    })
}

/// Parameters of the configuration, with the threads of each instance, and the layers of a compressed
/// package as JSON.
fn parameters(model: &Endpoint) -> HashMap<String, ModelParameter> {
    let written = model.config().parameters.iter();
    let written = written.map(|(key, value)| (key.clone(), value.clone()));
    let threads = ("intra_op_thread_count".to_owned(), model.model().threads().to_string());
    let layers =
        model.model().layers().and_then(|layers| serde_json::to_string(&layers.layers).ok());
    let layers = layers.map(|json| ("layers".to_owned(), json));
    let parameter = |(key, string_value)| (key, ModelParameter { string_value });
    written.chain([threads]).chain(layers).map(parameter).collect()
}

fn int32(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn batching(model: &Endpoint) -> SchedulingChoice {
    let config = model.config();
    SchedulingChoice::DynamicBatching(ModelDynamicBatching {
        preferred_batch_size: config.batching.preferred_sizes.iter().copied().map(int32).collect(),
        max_queue_delay_microseconds: config.batching.max_delay_us,
        default_queue_policy: Some(ModelQueuePolicy {
            default_timeout_microseconds: config.queue.timeout_us.unwrap_or(0),
            max_queue_size: u32::try_from(config.queue.requests_max).unwrap_or(u32::MAX),
            allow_timeout_override: true,
            ..ModelQueuePolicy::default()
        }),
        ..ModelDynamicBatching::default()
    })
}

fn version_policy(policy: &VersionPolicy) -> ModelVersionPolicy {
    let choice = match policy {
        VersionPolicy::Latest(n) => {
            PolicyChoice::Latest(Latest { num_versions: u32::try_from(*n).unwrap_or(u32::MAX) })
        }
        VersionPolicy::All => PolicyChoice::All(All {}),
        VersionPolicy::Specific(versions) => PolicyChoice::Specific(Specific {
            versions: versions.iter().filter_map(|&version| i64::try_from(version).ok()).collect(),
        }),
    };
    ModelVersionPolicy { policy_choice: Some(choice) }
}

/// An input as it is served, with the rest of its declaration.
fn input(spec: &TensorSpec, batches: bool, optional: bool, declared: &ModelConfig) -> ModelInput {
    let declared = declared.input.iter().find(|input| input.name == *spec.name);
    ModelInput {
        name: spec.name.to_string(),
        data_type: data_type(spec.datatype).into(),
        dims: spec.wire_dims_of_row(batches).collect(),
        optional,
        ..declared.cloned().unwrap_or_default()
    }
}

fn output(spec: &TensorSpec, batches: bool, declared: &ModelConfig) -> ModelOutput {
    let declared = declared.output.iter().find(|output| output.name == *spec.name);
    ModelOutput {
        name: spec.name.to_string(),
        data_type: data_type(spec.datatype).into(),
        dims: spec.wire_dims_of_row(batches).collect(),
        ..declared.cloned().unwrap_or_default()
    }
}

fn data_type(datatype: EngineDataType) -> DataType {
    match datatype {
        EngineDataType::Bool => DataType::TypeBool,
        EngineDataType::Uint8 => DataType::TypeUint8,
        EngineDataType::Uint16 => DataType::TypeUint16,
        EngineDataType::Uint32 => DataType::TypeUint32,
        EngineDataType::Uint64 => DataType::TypeUint64,
        EngineDataType::Int8 => DataType::TypeInt8,
        EngineDataType::Int16 => DataType::TypeInt16,
        EngineDataType::Int32 => DataType::TypeInt32,
        EngineDataType::Int64 => DataType::TypeInt64,
        EngineDataType::Fp16 => DataType::TypeFp16,
        EngineDataType::Fp32 => DataType::TypeFp32,
        EngineDataType::Fp64 => DataType::TypeFp64,
        EngineDataType::Bf16 => DataType::TypeBf16,
        EngineDataType::Bytes => DataType::TypeString,
    }
}
