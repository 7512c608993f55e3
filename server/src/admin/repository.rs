//! The repository: its index, and loading and unloading by name.

use crate::server::Server;
use crate::status::Error;
use skysail_engine::repository::{LoadWith, RepositoryError, SentFiles, SentFilesError, State};
use skysail_protocol::grpc::repository_index_response::ModelIndex;
use skysail_protocol::grpc::{
    ModelRepositoryParameter, RepositoryIndexResponse, model_repository_parameter::ParameterChoice,
};
use skysail_protocol::parameter;
use std::collections::HashMap;
use std::sync::Arc;

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

/// Loads a model, with the configuration and the files in the parameters, if any.
pub(crate) async fn load(
    server: &Server,
    name: &str,
    parameters: HashMap<String, ModelRepositoryParameter>,
) -> Result<(), Error> {
    let mut config = None;
    let mut files = Vec::new();
    for (key, value) in parameters {
        let Some(choice) = value.parameter_choice else { continue };
        match (key.as_str(), choice) {
            (parameter::CONFIG, ParameterChoice::StringParam(json)) => config = Some(json),
            (parameter::CONFIG, _) => {
                return Err(Error::malformed("parameter 'config' must be JSON in a string"));
            }
            (key, choice) => match (key.strip_prefix(parameter::FILE), choice) {
                (Some(path), ParameterChoice::BytesParam(bytes)) => {
                    files.push((path.to_owned(), bytes));
                }
                (Some(_), _) => {
                    let key = key.escape_debug();
                    let problem = format!("parameter '{key}' must be the bytes of a file");
                    return Err(Error::malformed(problem));
                }
                (None, _) => {
                    let key = key.escape_debug();
                    return Err(Error::malformed(format!("parameter '{key}' is not known here")));
                }
            },
        }
    }
    let repository = server.engine().repository();
    let files = match files.is_empty() {
        true => None,
        // Refused before anything is stored.
        false if !repository.loads_by_name() => return Err(RepositoryError::NotExplicit.into()),
        false => Some(store(files).await?),
    };
    Ok(repository.load(name, LoadWith { config, files }).await?)
}

/// Stores sent files where the engine can load them.
async fn store(files: Vec<(String, Vec<u8>)>) -> Result<Arc<SentFiles>, Error> {
    let store = move || {
        SentFiles::store(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
    };
    let stored = tokio::task::spawn_blocking(store).await;
    let stored = stored.map_err(|error| Error::Busy { what: format!("no thread: {error}") })?;
    if let Err(SentFilesError::Io(error)) = &stored {
        tracing::error!("files that a client sent can not be stored: {error}");
    }
    stored.map(Arc::new).map_err(Error::from)
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
