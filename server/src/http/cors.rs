//! Calls from web pages of other origins (CORS). Browsers allow those that the server names, and the
//! server names none unless it is told to.

use anyhow::{Context, Result, ensure};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::uri::Uri;
use http::{Method, Request};

/// Methods of the API.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// Headers of responses that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "inference-header-content-length, retry-after, retry-after-ms, traceparent, tracestate",
);

/// Seconds for which a browser may remember the answer to a preflight request.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// Headers that the answer to a preflight request depends on.
const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// Origins whose pages may call the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    allows_all: bool,
}

/// Headers for the response to one request.
pub(super) struct CorsHeaders {
    /// Origin that the response names, if the request's page may call.
    allowed: Option<HeaderValue>,
    allows_all: bool,
    /// The headers that a preflight request asks for, if it is one.
    preflight: Option<Option<HeaderValue>>,
}

impl Cors {
    /// Allows these origins, or every origin if one of them is `*`.
    ///
    /// # Errors
    /// Names the first that is no origin.
    pub(crate) fn new(origins: &[String]) -> Result<Self> {
        let allows_all = origins.iter().any(|origin| origin == "*");
        let named = origins.iter().filter(|origin| *origin != "*");
        let origins = named.map(|origin| self::origin(origin)).collect::<Result<_>>()?;
        Ok(Self { origins, allows_all })
    }

    /// Headers for the response to a request; `None` if no page may call.
    pub(super) fn headers_for<B>(&self, request: &Request<B>) -> Option<CorsHeaders> {
        if self.origins.is_empty() && !self.allows_all {
            return None;
        }
        let headers = request.headers();
        let allowed = match headers.get(ORIGIN) {
            Some(_) if self.allows_all => Some(HeaderValue::from_static("*")),
            Some(origin) => self.origins.iter().find(|allowed| *allowed == origin).cloned(),
            None => None,
        };
        let is_preflight = *request.method() == Method::OPTIONS
            && allowed.is_some()
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = is_preflight.then(|| headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned());
        Some(CorsHeaders { allowed, allows_all: self.allows_all, preflight })
    }
}

impl CorsHeaders {
    /// True if the request is a preflight request of a page that may call.
    pub(super) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Writes the headers to the response.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        if self.preflight.is_some() {
            headers.insert(VARY, PREFLIGHT_VARY);
        } else if !self.allows_all {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(allowed) = self.allowed else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let Some(wanted) = self.preflight else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        if let Some(wanted) = wanted {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
    }
}

/// Parses an origin as browsers write it.
fn origin(text: &str) -> Result<HeaderValue> {
    let parsed = || -> Option<HeaderValue> {
        let uri: Uri = text.parse().ok()?;
        let written = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        // A path, a user or capital letters would never equal what a browser sends.
        let is_origin = written == text && !text.contains('@') && text == text.to_lowercase();
        is_origin.then(|| text.parse().ok()).flatten()
    };
    let value = parsed().with_context(|| {
        format!("cors-origin is {text}: it must be * or an origin such as https://example.org")
    })?;
    let (scheme, port) = (text.split(':').next(), text.rsplit(':').next());
    let is_default =
        matches!((scheme, port), (Some("http"), Some("80")) | (Some("https"), Some("443")));
    ensure!(!is_default, "cors-origin is {text}: leave out the port, as browsers do");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Result<Cors> {
        Cors::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_origins_as_browsers_write_them_are_settings() {
        for good in ["*", "https://example.org", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(cors(&[good]).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "example.org",
            "https://example.org/",
            "https://Example.org",
            "https://a@example.org",
            "http://example.org:80",
            "https://*.example.org/path",
        ] {
            let error = cors(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("cors-origin is"), "{error}");
        }
    }

    #[test]
    fn nobody_is_allowed_by_default() {
        let request = Request::get("/v2").header(ORIGIN, "https://example.org").body(()).unwrap();
        assert!(Cors::default().headers_for(&request).is_none());
        let headers = cors(&["https://other.org"]).unwrap().headers_for(&request).unwrap();
        assert!(headers.allowed.is_none());
        let mut written = HeaderMap::new();
        headers.write(&mut written);
        assert_eq!(written.len(), 1);
        assert_eq!(written[VARY], "Origin");
    }
}
