//! Where a server is: `http://HOST:PORT`, with or without a path before `/v2`.

use http::Uri;
use std::fmt;
use std::str::FromStr;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    prefix: String,
}

/// What is no address of a server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no address of a server: {reason}")]
pub struct BadUrl {
    url: String,
    reason: String,
}

impl Address {
    /// A name or an IP address.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What comes before `/v2` in paths, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Host and port as in HTTP's `host` header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let fail = |reason: String| BadUrl { url: url.to_owned(), reason };
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
            // Something else than a port may stand there too, and is none to the parser.
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
    fn what_is_no_address_is_said_why() {
        let reason = |url: &str| url.parse::<Address>().unwrap_err().reason;
        assert_eq!(reason("127.0.0.1:8000"), "it does not begin with http://");
        assert_eq!(reason("https://host"), "https is not supported, only http");
        assert_eq!(reason("http://host:99999"), "its port is not right");
        assert_eq!(reason("http://host:"), "its port is not right");
    }
}
