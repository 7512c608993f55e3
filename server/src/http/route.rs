//! Routes of the HTTP port.

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
    let nowhere = || Error::NoSuchPath(path.escape_debug().to_string());
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
            let version = version.parse().map(Some).map_err(|_| {
                Error::malformed(format!("version '{}' is no number", version.escape_debug()))
            })?;
            let target = Target { model: name(model)?, version };
            of_model(method, target, rest).unwrap_or_else(|| Err(nowhere()))
        }
        ["v2", "models", model, rest @ ..] => {
            let target = Target { model: name(model)?, version: None };
            of_model(method, target, rest).unwrap_or_else(|| Err(nowhere()))
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
    fn statistics_of_all_models_precede_a_model_named_stats() {
        let all = Admin::Statistics(Target { model: String::new(), version: None }).into();
        assert_eq!(get("/v2/models/stats").unwrap(), all);
    }

    #[test]
    fn an_unknown_route_is_an_error_with_the_reason() {
        assert!(matches!(get("/v2/models/m/infer"), Err(Error::WrongMethod("POST"))));
        assert!(matches!(get("/v1"), Err(Error::NoSuchPath(_))));
        assert!(matches!(get("/v2/models/m/versions/x"), Err(Error::Malformed(_))));
        assert!(matches!(get("/v2/models/%ff"), Err(Error::Malformed(_))));
        assert!(matches!(get("/a/b/c/d/e/f/g/h/i/j"), Err(Error::NoSuchPath(_))));
    }
}
