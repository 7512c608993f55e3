//! The repository: its index, and loading and unloading by name.

use crate::server::Server;
use crate::status::Error;
use skysail_engine::repository::State;
use skysail_protocol::grpc::repository_index_response::ModelIndex;
use skysail_protocol::grpc::{
    ModelRepositoryParameter, RepositoryIndexResponse, model_repository_parameter::ParameterChoice,
};
use skysail_protocol::parameter;
use std::collections::HashMap;

/// Index of all known versions, or of those that serve.
pub(crate) fn index(server: &Server, ready_only: bool) -> RepositoryIndexResponse {
    let index = server.engine().repository().index();
    let wanted = index.into_iter().filter(|(_, s)| !ready_only || s.state == State::Ready);
    let models = wanted.map(|((name, version), status)| ModelIndex {
        name,
        // Version 0: no version of the model could be read.
        version: if version == 0 { String::new() } else { version.to_string() },
        state: status.state.name().into(),
        reason: status.reason,
    });
    RepositoryIndexResponse { models: models.collect() }
}

/// Loads a model, with the configuration in the parameters, if any.
pub(crate) async fn load(
    server: &Server,
    name: &str,
    parameters: HashMap<String, ModelRepositoryParameter>,
) -> Result<(), Error> {
    let mut config = None;
    for (key, value) in parameters {
        match (key.as_str(), value.parameter_choice) {
            (parameter::CONFIG, Some(ParameterChoice::StringParam(json))) => config = Some(json),
            (parameter::CONFIG, _) => {
                return Err(Error::malformed("parameter 'config' must be JSON in a string"));
            }
            (key, _) if key.starts_with("file:") => {
                return Err(Error::Unsupported(
                    "a model's files can not be sent: put them into the repository".into(),
                ));
            }
            (key, _) => {
                let key = key.escape_debug();
                return Err(Error::malformed(format!("parameter '{key}' is not known here")));
            }
        }
    }
    Ok(server.engine().repository().load(name, config).await?)
}

/// Unloads a model. No model depends on another, so `unload_dependents` has no effect.
pub(crate) async fn unload(
    server: &Server,
    name: &str,
    parameters: HashMap<String, ModelRepositoryParameter>,
) -> Result<(), Error> {
    if let Some(key) = parameters.keys().find(|key| *key != parameter::UNLOAD_DEPENDENTS) {
        let key = key.escape_debug();
        return Err(Error::malformed(format!("parameter '{key}' is not known here")));
    }
    Ok(server.engine().repository().unload(name).await?)
}
