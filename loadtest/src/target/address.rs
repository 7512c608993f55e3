//! Address of a server: `http://HOST:PORT`, optionally with a path before `/v2`.

use http::Uri;
use std::fmt;
use std::str::FromStr;

/// Address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    prefix: String,
}

/// Error of an invalid address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not a server address: {reason}")]
pub struct InvalidUrl {
    url: String,
    reason: String,
}

impl Address {
    /// Host name or IP address.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path before `/v2`, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Host and port as in HTTP's `host` header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let fail = |reason: String| InvalidUrl { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|error| fail(format!("{error}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(other) => return Err(fail(format!("{other} is not supported, only http"))),
            None => return Err(fail("it does not begin with http://".to_owned())),
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fail("it has no host".to_owned()))?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let port = match authority.strip_prefix(host) {
            Some("") => 80,
            // Any other text in place of a port gives no port.
            _ => uri.port_u16().ok_or_else(|| fail("its port is not right".to_owned()))?,
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), port, prefix })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_parts() {
        let address: Address = "http://[::1]:8000/serving/".parse().unwrap();
        assert_eq!((address.host(), address.port(), address.prefix()), ("::1", 8000, "/serving"));
        assert_eq!(address.to_string(), "http://[::1]:8000/serving");
        assert_eq!("http://host".parse::<Address>().unwrap().to_string(), "http://host:80");
    }

    #[test]
    fn an_invalid_address_is_reported_with_its_reason() {
        let reason = |url: &str| url.parse::<Address>().unwrap_err().reason;
        assert_eq!(reason("127.0.0.1:8000"), "it does not begin with http://");
        assert_eq!(reason("https://host"), "https is not supported, only http");
        assert_eq!(reason("http://host:99999"), "its port is not right");
        assert_eq!(reason("http://host:"), "its port is not right");
    }
}
