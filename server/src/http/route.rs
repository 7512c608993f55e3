//! Routes of the HTTP port.

use super::near_paths::near;
use crate::status::Error;
use http::Method;
use percent_encoding::percent_decode_str;

/// A model in a path. Names are percent-decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) model: String,
    /// Version, or `None` for the server's choice.
    pub(super) version: Option<u64>,
}

/// Route of a path and a method.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Infer(Target),
    /// Inference by the V1 protocol.
    Predict(Target),
    /// The slowest requests.
    Slowest,
    Admin(Admin),
}

/// Routes other than inference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admin {
    Live,
    Ready,
    Server,
    /// Liveness, in the V1 protocol.
    V1Live,
    /// Names of all models, in the V1 protocol.
    V1Models,
    /// Readiness of a model, in the V1 protocol.
    V1Model(Target),
    Model(Target),
    ModelReady(Target),
    ModelConfig(Target),
    /// Statistics, of all models if the name is empty.
    Statistics(Target),
    Index,
    Load {
        model: String,
    },
    Unload {
        model: String,
    },
    Trace {
        model: Option<String>,
    },
    Log,
    /// System shared memory, or one region of it.
    SharedMemory {
        region: Option<String>,
        action: RegionAction,
    },
    CudaSharedMemory(RegionAction),
}

/// An action on regions of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegionAction {
    Status,
    Register,
    Unregister,
}

impl From<Admin> for Route {
    fn from(admin: Admin) -> Self {
        Self::Admin(admin)
    }
}

/// Finds the route.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, Error> {
    let nowhere = || no_such_path(path);
    let trimmed = path.strip_prefix('/').ok_or_else(nowhere)?;
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    // No route has more parts than this.
    let mut parts = [""; 8];
    let mut count = 0;
    for part in trimmed.split('/') {
        *parts.get_mut(count).ok_or_else(nowhere)? = part;
        count += 1;
    }
    let (get, post) = (
        |admin: Admin| only(method, &Method::GET, admin),
        |admin: Admin| only(method, &Method::POST, admin),
    );
    match &parts[..count] {
        ["v2"] => get(Admin::Server),
        ["v2", "health", "live"] => get(Admin::Live),
        ["v2", "health", "ready"] => get(Admin::Ready),
        ["v2", "debug", "tail"] => only(method, &Method::GET, Route::Slowest),
        ["v2", "models", "stats"] => {
            get(Admin::Statistics(Target { model: String::new(), version: None }))
        }
        ["v2", "models", model, "trace", "setting"] => {
            either(method, Admin::Trace { model: Some(name(model)?) })
        }
        ["v2", "models", model, "versions", version, rest @ ..] => {
            let target = Target { model: name(model)?, version: Some(number(version)?) };
            of_model(method, target, rest).unwrap_or_else(|| Err(nowhere()))
        }
        ["v2", "models", model, rest @ ..] => {
            let target = Target { model: name(model)?, version: None };
            of_model(method, target, rest).unwrap_or_else(|| Err(nowhere()))
        }
        [""] => get(Admin::V1Live),
        ["v1", "models"] => get(Admin::V1Models),
        ["v1", "models", model] => v1_model(method, model, None, model),
        ["v1", "models", model, "versions", version] => {
            v1_model(method, model, Some(without_predict(version)), version)
        }
        ["v2", "repository", "index"] => post(Admin::Index),
        ["v2", "repository", "models", model, "load"] => post(Admin::Load { model: name(model)? }),
        ["v2", "repository", "models", model, "unload"] => {
            post(Admin::Unload { model: name(model)? })
        }
        ["v2", "trace", "setting"] => either(method, Admin::Trace { model: None }),
        ["v2", "logging"] => either(method, Admin::Log),
        ["v2", kind @ ("systemsharedmemory" | "cudasharedmemory"), of @ .., action] => {
            let region = match of {
                [] => None,
                ["region", region] => Some(name(region)?),
                _ => return Err(nowhere()),
            };
            let (wanted, action) = match (*action, &region) {
                ("status", _) => (Method::GET, RegionAction::Status),
                ("register", Some(_)) => (Method::POST, RegionAction::Register),
                ("unregister", _) => (Method::POST, RegionAction::Unregister),
                _ => return Err(nowhere()),
            };
            let route = match *kind {
                "cudasharedmemory" => Admin::CudaSharedMemory(action),
                _ => Admin::SharedMemory { region, action },
            };
            only(method, &wanted, route)
        }
        _ => Err(nowhere()),
    }
}

fn of_model(method: &Method, target: Target, rest: &[&str]) -> Option<Result<Route, Error>> {
    let (method_wanted, route) = match rest {
        [] => (Method::GET, Admin::Model(target).into()),
        ["infer"] => (Method::POST, Route::Infer(target)),
        ["ready"] => (Method::GET, Admin::ModelReady(target).into()),
        ["config"] => (Method::GET, Admin::ModelConfig(target).into()),
        ["stats"] => (Method::GET, Admin::Statistics(target).into()),
        _ => return None,
    };
    Some(only(method, &method_wanted, route))
}

/// Verb of the V1 protocol, behind the last part of a path.
const PREDICT: &str = ":predict";

/// A path of the V1 protocol, whose last part may end with the verb.
fn v1_model(
    method: &Method,
    model: &str,
    version: Option<&str>,
    last: &str,
) -> Result<Route, Error> {
    let version = version.map(number).transpose()?;
    let target = Target { model: name(without_predict(model))?, version };
    match last.ends_with(PREDICT) {
        true => only(method, &Method::POST, Route::Predict(target)),
        false => only(method, &Method::GET, Admin::V1Model(target)),
    }
}

fn without_predict(part: &str) -> &str {
    part.strip_suffix(PREDICT).unwrap_or(part)
}

fn number(version: &str) -> Result<u64, Error> {
    version
        .parse()
        .map_err(|_| Error::malformed(format!("version '{}' is no number", version.escape_debug())))
}

fn no_such_path(path: &str) -> Error {
    let near = match near(path) {
        near if near.is_empty() => near,
        near => format!("near it are {near}; "),
    };
    let instead = format!(
        "{near}GET /v2 describes this server, and POST /v2/repository/index lists its models"
    );
    Error::no_such_path(path, instead)
}

fn only(method: &Method, wanted: &Method, route: impl Into<Route>) -> Result<Route, Error> {
    // HEAD is GET without the body, which hyper omits.
    if method == wanted || (*method == Method::HEAD && *wanted == Method::GET) {
        return Ok(route.into());
    }
    Err(Error::WrongMethod(if *wanted == Method::GET { "GET" } else { "POST" }))
}

fn either(method: &Method, route: impl Into<Route>) -> Result<Route, Error> {
    if *method == Method::GET || *method == Method::POST {
        return Ok(route.into());
    }
    Err(Error::WrongMethod("GET, POST"))
}

fn name(part: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(part).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| Error::malformed("the model's name in the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Route, Error> {
        route(&Method::GET, path)
    }

    #[test]
    fn model_names_are_percent_decoded() {
        let model = "a b/c".to_owned();
        let path = "/v2/models/a%20b%2Fc/versions/7/infer";
        let found = route(&Method::POST, path).unwrap();
        assert_eq!(found, Route::Infer(Target { model: model.clone(), version: Some(7) }));
        assert_eq!(
            get("/v2/models/a%20b%2Fc").unwrap(),
            Admin::Model(Target { model, version: None }).into()
        );
        assert_eq!(get("/v2/").unwrap(), Admin::Server.into());
    }

    #[test]
    fn paths_of_v1_have_their_verb_at_the_end() {
        let target = |version| Target { model: "a:b".to_owned(), version };
        let predict = |path: &str| route(&Method::POST, path).unwrap();
        assert_eq!(predict("/v1/models/a:b:predict"), Route::Predict(target(None)));
        let versioned = predict("/v1/models/a%3Ab/versions/2:predict");
        assert_eq!(versioned, Route::Predict(target(Some(2))));
        assert_eq!(get("/v1/models/a:b").unwrap(), Admin::V1Model(target(None)).into());
        assert!(matches!(get("/v1/models/a:predict"), Err(Error::WrongMethod("POST"))));
        assert!(matches!(get("/v1/models/a/versions/x"), Err(Error::Malformed(_))));
    }

    #[test]
    fn statistics_of_all_models_precede_a_model_named_stats() {
        let all = Admin::Statistics(Target { model: String::new(), version: None }).into();
        assert_eq!(get("/v2/models/stats").unwrap(), all);
    }

    #[test]
    fn an_unknown_route_is_an_error_with_the_reason() {
        assert!(matches!(get("/v2/models/m/infer"), Err(Error::WrongMethod("POST"))));
        assert!(matches!(get("/v1"), Err(Error::NoSuchPath { .. })));
        assert!(matches!(get("/v2/models/m/versions/x"), Err(Error::Malformed(_))));
        assert!(matches!(get("/v2/models/%ff"), Err(Error::Malformed(_))));
        assert!(matches!(get("/a/b/c/d/e/f/g/h/i/j"), Err(Error::NoSuchPath { .. })));
        assert!(get(&format!("/{}", "ü".repeat(10_000))).unwrap_err().to_string().len() < 600);
    }
}
