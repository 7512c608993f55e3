//! Negotiates the format of the metrics by the header `Accept`.

use super::text::Dialect;
use http::HeaderValue;

/// A format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text, with classic histograms.
    Text(Dialect),
    /// Prometheus' messages, with classic and native histograms and exemplars.
    Protobuf,
}

impl Format {
    /// The preferred known format, the first of equals; text if there is none.
    pub(super) fn accepted<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let headers = headers.into_iter().filter_map(|value| value.to_str().ok());
        let known = headers.flat_map(|value| value.split(',')).filter_map(Self::parse);
        let mut best = (Self::Text(Dialect::Prometheus), 0.0);
        for (format, weight) in known {
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    /// Parses one part of the header: a format and its weight.
    fn parse(part: &str) -> Option<(Self, f32)> {
        let mut words = part.split(';').map(|word| word.trim().to_ascii_lowercase());
        let kind = words.next()?;
        let parameters: Vec<(String, String)> = words
            .filter_map(|word| {
                word.split_once('=').map(|(a, b)| (a.trim().into(), b.trim().into()))
            })
            .collect();
        let value = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.trim_matches('"'))
        };
        let format = match kind.as_str() {
            "text/plain" | "text/*" | "*/*" => Self::Text(Dialect::Prometheus),
            "application/openmetrics-text" => Self::Text(Dialect::OpenMetrics),
            "application/vnd.google.protobuf"
                if value("proto") == Some("io.prometheus.client.metricfamily")
                    && value("encoding") == Some("delimited") =>
            {
                Self::Protobuf
            }
            _ => return None,
        };
        let weight = value("q").map_or(Some(1.0), |q| q.parse().ok())?;
        Some((format, weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Format = Format::Text(Dialect::Prometheus);

    fn accepted(header: &'static str) -> Format {
        Format::accepted([&HeaderValue::from_static(header)])
    }

    #[test]
    fn prometheus_gets_its_preferred_format() {
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepted(native), Format::Protobuf);
        let classic = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
            */*;q=0.1";
        assert_eq!(accepted(classic), Format::Text(Dialect::OpenMetrics));
    }

    #[test]
    fn the_default_is_text() {
        for header in ["", "*/*", "text/html, */*;q=0.1", "application/json", "q=1", ";;,,="] {
            assert_eq!(accepted(header), TEXT, "{header}");
        }
        assert_eq!(Format::accepted([]), TEXT);
        assert_eq!(accepted("application/vnd.google.protobuf"), TEXT, "of what?");
        assert_eq!(accepted("text/plain;q=0.9,application/openmetrics-text;q=0.2"), TEXT);
    }
}
