//! Closed loops by the program `wrk`.

use super::{ClosedLoop, LoadResult};
use anyhow::{Context, Result, ensure};
use skysail_loadtest::payload::Source;
use std::fmt::Write;
use std::process::Command;

/// True if `wrk` is installed.
pub(super) fn is_installed() -> bool {
    Command::new("wrk").arg("--version").output().is_ok()
}

/// Sends the load by `wrk`.
pub(super) fn run(load: &ClosedLoop<'_>, source: &Source, address: &str) -> Result<LoadResult> {
    let (body, header_length) = load.body(source, address)?;
    let folder = tempfile::tempdir()?;
    let (body_file, script) = (folder.path().join("body"), folder.path().join("wrk.lua"));
    std::fs::write(&body_file, body)?;
    let mut lua = format!(
        "wrk.method = 'POST'\nwrk.body = io.open('{}', 'rb'):read('*a')\n",
        body_file.display()
    );
    if let Some(length) = header_length {
        writeln!(lua, "wrk.headers['Inference-Header-Content-Length'] = '{length}'")?;
    }
    let path = |model: &str| format!("/v2/models/{model}/infer");
    if load.models.len() > 1 {
        lua.push_str(&spread(load.models.iter().map(|model| path(model))));
    }
    std::fs::write(&script, lua)?;
    let first = path(load.models.first().context("no model")?);
    let output = Command::new("wrk")
        .args(["-t1", "--latency"])
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{}s", load.duration.as_secs()))
        .arg("-s")
        .arg(&script)
        .arg(format!("http://{address}{first}"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk says: {text}");
    parse(&text).with_context(|| format!("wrk says: {text}"))
}

/// Lua that sends each request to one of several paths. All requests are made before the load.
fn spread(paths: impl Iterator<Item = String>) -> String {
    let paths: Vec<String> = paths.map(|path| format!("'{path}'")).collect();
    format!(
        "local paths, requests = {{{}}}, {{}}\n\
         init = function()\n\
           for i, path in ipairs(paths) do requests[i] = wrk.format(nil, path) end\n\
         end\n\
         request = function() return requests[math.random(#requests)] end\n",
        paths.join(", ")
    )
}

/// Parses the output of `wrk --latency`.
fn parse(text: &str) -> Option<LoadResult> {
    let word_after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark))?;
        line.trim_start().strip_prefix(mark)?.split_whitespace().next()
    };
    let answered = text.lines().find(|line| line.contains(" requests in "))?;
    Some(LoadResult {
        answered: answered.split_whitespace().next()?.parse().ok()?,
        requests_per_s: word_after("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(word_after("50%")?)?,
        p99_us: microseconds(word_after("99%")?)?,
        slowest_connection_share: None,
    })
}

/// Parses `1.50ms` as 1500.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, factor) =
        units.iter().find_map(|(unit, f)| Some((text.strip_suffix(unit)?, f)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_wrk_is_parsed() {
        let text = "  Latency Distribution\n     50%  571.00us\n     99%    1.42ms\n  \
                    364000 requests in 4.00s, 100MB read\nRequests/sec:  90997.01\n";
        let seen = parse(text).unwrap();
        assert_eq!((seen.answered, seen.p50_us, seen.p99_us), (364_000.0, 571.0, 1420.0));
        assert!(parse("unable to connect").is_none());
    }
}
