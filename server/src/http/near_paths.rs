//! Paths that are like one that does not exist, for the message that says so.

/// Every path, with NAME, VERSION and REGION in the place of names.
const PATHS: [(&str, &str); 28] = [
    ("GET", "/"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/stats"),
    ("GET", "/v2/models/NAME"),
    ("GET", "/v2/models/NAME/ready"),
    ("GET", "/v2/models/NAME/config"),
    ("GET", "/v2/models/NAME/stats"),
    ("POST", "/v2/models/NAME/infer"),
    ("GET", "/v2/models/NAME/versions/VERSION"),
    ("GET", "/v2/models/NAME/versions/VERSION/ready"),
    ("GET", "/v2/models/NAME/versions/VERSION/config"),
    ("GET", "/v2/models/NAME/versions/VERSION/stats"),
    ("POST", "/v2/models/NAME/versions/VERSION/infer"),
    ("GET", "/v2/models/NAME/trace/setting"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/NAME/load"),
    ("POST", "/v2/repository/models/NAME/unload"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/logging"),
    ("GET", "/v2/debug/tail"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("POST", "/v2/systemsharedmemory/region/REGION/register"),
    ("POST", "/v2/systemsharedmemory/region/REGION/unregister"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/NAME"),
    ("POST", "/v1/models/NAME:predict"),
];

/// Longest path that is compared, in bytes.
const COMPARED_BYTES: usize = 256;

/// Most paths of a message.
const NEAR_MAX: usize = 3;

/// Paths near to this one, with their methods, for a message; empty if there is none.
pub(super) fn near(path: &str) -> String {
    if path.len() > COMPARED_BYTES {
        return String::new();
    }
    let path = path.trim_end_matches('/');
    let mut found: Vec<(usize, String)> = PATHS
        .iter()
        .map(|(method, pattern)| {
            let distance = distance(&with_names_of(pattern, path), path);
            (distance, format!("{method} {pattern}"))
        })
        .collect();
    // A stable sort: the order of the list decides among equals.
    found.sort_by_key(|(distance, _)| *distance);
    let least = found.first().map_or(0, |(distance, _)| *distance);
    let is_near = |distance: usize| distance <= least + 2 && distance <= path.len() / 2;
    let near = found.into_iter().take_while(|(distance, _)| is_near(*distance));
    let near: Vec<String> = near.map(|(_, path)| path).take(NEAR_MAX).collect();
    near.join(", ")
}

/// The pattern with the path's own names in the places of NAME, VERSION and REGION.
fn with_names_of(pattern: &str, path: &str) -> String {
    let own: Vec<&str> = path.split('/').collect();
    let part = |(index, part): (usize, &str)| match part {
        "NAME" | "VERSION" | "REGION" => own.get(index).map_or(part, |own| *own).to_owned(),
        "NAME:predict" => {
            let name = own.get(index).and_then(|own| own.split(':').next());
            part.replacen("NAME", name.unwrap_or("NAME"), 1)
        }
        part => part.to_owned(),
    };
    pattern.split('/').enumerate().map(part).collect::<Vec<_>>().join("/")
}

/// Levenshtein's distance of two texts, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, left) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (at, right) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::route;
    use http::Method;

    #[test]
    fn every_listed_path_exists() {
        for (method, pattern) in PATHS {
            let path = pattern.replace("VERSION", "1");
            let method: Method = method.parse().unwrap();
            assert!(route(&method, &path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn mistyped_paths_lead_to_the_right_ones() {
        for (path, first) in [
            ("/v2/model/digits/infer", "POST /v2/models/NAME/infer"),
            ("/v2/models/digits/predict", "POST /v1/models/NAME:predict"),
            ("/v2/models/digits:predict", "POST /v1/models/NAME:predict"),
            ("/v2/models/digits/versions/3/infr", "POST /v2/models/NAME/versions/VERSION/infer"),
            ("/v2/health/reddy", "GET /v2/health/ready"),
            ("/v2/repository/models/digits/reload", "POST /v2/repository/models/NAME/load"),
            ("/v1/model/digits:predict", "POST /v1/models/NAME:predict"),
            ("/v2/models", "GET /v1/models"),
        ] {
            let near = near(path);
            assert!(near.contains(first), "{path}: {near}");
        }
        assert_eq!(near("/"), "");
        assert_eq!(near("/favicon.ico"), "");
        assert_eq!(near(&"/x".repeat(10_000)), "");
    }

    #[test]
    fn distances_count_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
