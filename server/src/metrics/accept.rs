//! Which form of the metrics a reader likes best, by its header `Accept`.

use http::HeaderValue;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Prometheus' text: classic histograms.
    Text,
    /// OpenMetrics' text: classic histograms with exemplars.
    OpenMetrics,
    /// Prometheus' messages: classic and native histograms with exemplars.
    Protobuf,
}

impl Form {
    /// The one that is liked best of those known here, the first of equals; text if there is none.
    pub(super) fn accepted<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let headers = headers.into_iter().filter_map(|value| value.to_str().ok());
        let liked = headers.flat_map(|value| value.split(',')).filter_map(Self::liked);
        let mut best = (Self::Text, 0.0);
        for (form, weight) in liked {
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }

    /// One part of the header: a form and its weight.
    fn liked(part: &str) -> Option<(Self, f32)> {
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
        let form = match kind.as_str() {
            "text/plain" | "text/*" | "*/*" => Self::Text,
            "application/openmetrics-text" => Self::OpenMetrics,
            "application/vnd.google.protobuf"
                if value("proto") == Some("io.prometheus.client.metricfamily")
                    && value("encoding") == Some("delimited") =>
            {
                Self::Protobuf
            }
            _ => return None,
        };
        let weight = value("q").map_or(Some(1.0), |q| q.parse().ok())?;
        Some((form, weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(header: &'static str) -> Form {
        Form::accepted([&HeaderValue::from_static(header)])
    }

    #[test]
    fn what_prometheus_asks_for_is_what_it_gets() {
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(accepted(native), Form::Protobuf);
        let classic = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,\
            */*;q=0.1";
        assert_eq!(accepted(classic), Form::OpenMetrics);
    }

    #[test]
    fn who_does_not_say_gets_text() {
        for header in ["", "*/*", "text/html, */*;q=0.1", "application/json", "q=1", ";;,,="] {
            assert_eq!(accepted(header), Form::Text, "{header}");
        }
        assert_eq!(Form::accepted([]), Form::Text);
        assert_eq!(accepted("application/vnd.google.protobuf"), Form::Text, "of what?");
        assert_eq!(accepted("text/plain;q=0.9,application/openmetrics-text;q=0.2"), Form::Text);
    }
}
