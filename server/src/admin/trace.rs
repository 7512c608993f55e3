//! Triton's request trace: times of every n-th request, in a JSON file.
//!
//! Clients switch it on and off. Only the server's flag `--trace-file` sets the file.

use crate::status::Error;
use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Stages;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Settings by name, each a list of values, as in the protocol.
pub(crate) type Settings = BTreeMap<String, Vec<String>>;

/// Options of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    timestamps: bool,
    /// Requests for each traced one.
    rate: u64,
    /// Traces still to be written; -1 for no limit.
    count: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { timestamps: false, rate: 1000, count: -1 }
    }
}

/// The trace of the server, with separate options for some models.
#[derive(Default)]
pub(crate) struct Trace {
    /// Tracing is on for some model: the only check of an untraced request.
    on: AtomicBool,
    seen: AtomicU64,
    written: AtomicU64,
    options: RwLock<BTreeMap<String, Options>>,
    file: Option<TraceFile>,
}

/// File of the trace.
struct TraceFile {
    path: String,
    file: Mutex<File>,
}

impl Trace {
    /// Opens and empties the file. Without one, no request can be traced.
    ///
    /// # Errors
    /// When the file can not be written.
    pub(crate) fn with_file(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("--trace-file {name}"))?;
        let file = TraceFile { path: name, file: Mutex::new(file) };
        Ok(Self { file: Some(file), ..Self::default() })
    }

    fn path(&self) -> &str {
        self.file.as_ref().map_or("", |file| &file.path)
    }

    /// Current settings of a model, or of all models if the name is empty.
    pub(crate) fn get(&self, model: &str) -> Settings {
        self.options(model).settings(self.path())
    }

    /// Changes settings of a model, or of all models. An empty list of values resets one.
    ///
    /// # Errors
    /// Names the first setting that can not be changed. No setting is changed then.
    pub(crate) fn set(&self, model: &str, changes: &Settings) -> Result<Settings, Error> {
        let mut wanted = self.options(model);
        for (name, values) in changes {
            wanted.set(name, values, self.path())?;
        }
        if wanted.timestamps && self.file.is_none() {
            return Err(Error::Unsupported(
                "nothing can be traced: the server has no --trace-file".into(),
            ));
        }
        let mut options = self.options.write();
        options.insert(model.into(), wanted);
        self.on.store(options.values().any(|options| options.timestamps), Relaxed);
        drop(options);
        Ok(self.get(model))
    }

    fn options(&self, model: &str) -> Options {
        let options = self.options.read();
        options.get(model).or_else(|| options.get("")).cloned().unwrap_or_default()
    }

    /// True if this request is to be traced.
    pub(crate) fn wants(&self, model: &Endpoint) -> bool {
        if !self.on.load(Relaxed) {
            return false;
        }
        let options = self.options(model.name());
        options.timestamps
            && options.count != 0
            && self.seen.fetch_add(1, Relaxed).is_multiple_of(options.rate)
    }

    /// Writes the times of one request. A write error ends all tracing.
    pub(crate) fn record(
        &self,
        model: &Endpoint,
        request_id: &str,
        accepted: Instant,
        stages: &Stages,
        responded: Instant,
    ) {
        let id = self.written.fetch_add(1, Relaxed) + 1;
        let epoch_ns = |time: Instant| {
            let wall = SystemTime::now() - time.elapsed();
            wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
        };
        let times = [
            ("REQUEST_START", accepted),
            ("QUEUE_START", stages.queued),
            ("COMPUTE_START", stages.batched),
            ("COMPUTE_INPUT_END", stages.gathered),
            ("COMPUTE_OUTPUT_START", stages.executed),
            ("COMPUTE_END", stages.split),
            ("REQUEST_END", responded),
        ];
        let times = times.map(|(name, time)| json!({"name": name, "ns": epoch_ns(time)}));
        let entries = [
            json!({
                "id": id,
                "model_name": &**model.name(),
                "model_version": model.version(),
                "request_id": request_id,
            }),
            json!({"id": id, "timestamps": times}),
        ];
        if let Err(error) = self.write(model.name(), &entries) {
            tracing::error!("the trace of all models ends: {}: {error}", self.path());
            self.on.store(false, Relaxed);
            self.options.write().values_mut().for_each(|options| options.timestamps = false);
        }
    }

    fn write(&self, model: &str, entries: &[serde_json::Value]) -> io::Result<()> {
        let Some(TraceFile { file, .. }) = &self.file else { return Ok(()) };
        let mut options = self.options.write();
        let key = if options.contains_key(model) { model } else { "" };
        let Some(options) = options.get_mut(key) else { return Ok(()) };
        append(&mut file.lock(), entries)?;
        options.count -= i64::from(options.count > 0);
        Ok(())
    }
}

/// Appends to a JSON array, so that the file is valid after every request.
fn append(file: &mut File, entries: &[serde_json::Value]) -> io::Result<()> {
    let mut text = String::new();
    let end = file.seek(SeekFrom::End(0))?;
    let mut separator = if end == 0 { "[" } else { "," };
    if end > 0 {
        file.seek(SeekFrom::End(-1))?;
    }
    for entry in entries {
        text.push_str(separator);
        text.push_str(&entry.to_string());
        separator = ",";
    }
    text.push(']');
    file.write_all(text.as_bytes())
}

impl Options {
    fn settings(&self, file: &str) -> Settings {
        let level = if self.timestamps { "TIMESTAMPS" } else { "OFF" };
        let pairs = [
            ("trace_file", file.to_owned()),
            ("trace_level", level.to_owned()),
            ("trace_rate", self.rate.to_string()),
            ("trace_count", self.count.to_string()),
            ("log_frequency", "0".to_owned()),
            ("trace_mode", "triton".to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect()
    }

    /// Changes a setting of a trace to `file`.
    fn set(&mut self, name: &str, values: &[String], file: &str) -> Result<(), Error> {
        let default = Self::default();
        let wrong = || {
            let name = name.escape_debug();
            Error::malformed(format!("trace setting '{name}' can not be {values:?}"))
        };
        match (name, values) {
            ("trace_file", []) => {}
            ("trace_file", [same]) if same == file => {}
            ("trace_file", _) => {
                return Err(Error::Unsupported(
                    "'trace_file' can not be changed: the server's flag --trace-file sets it"
                        .into(),
                ));
            }
            ("trace_level", levels) => self.timestamps = timestamps(levels).ok_or_else(wrong)?,
            ("trace_rate", []) => self.rate = default.rate,
            ("trace_rate", [rate]) => {
                self.rate = rate.parse().ok().filter(|&rate| rate > 0).ok_or_else(wrong)?;
            }
            ("trace_count", []) => self.count = default.count,
            ("trace_count", [count]) => {
                self.count = count.parse().ok().filter(|&count| count >= -1).ok_or_else(wrong)?;
            }
            ("log_frequency", []) => {}
            ("log_frequency", [frequency]) if frequency == "0" => {}
            ("trace_mode", [mode]) if mode == "triton" => {}
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

/// True if the levels include timestamps; `None` for levels that are not supported.
fn timestamps(levels: &[String]) -> Option<bool> {
    match levels {
        [] => Some(false),
        [level] if level == "OFF" => Some(false),
        [level] if level == "TIMESTAMPS" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).into(), vec![(*value).into()])).collect()
    }

    #[test]
    fn a_model_inherits_the_settings_of_all_models() {
        let trace = Trace::default();
        trace.set("", &changes(&[("trace_rate", "5")])).unwrap();
        assert_eq!(trace.get("m")["trace_rate"], ["5"]);
        trace.set("m", &changes(&[("trace_rate", "7")])).unwrap();
        assert_eq!(
            (&trace.get("m")["trace_rate"][0], &trace.get("")["trace_rate"][0]),
            (&"7".into(), &"5".into())
        );
        trace.set("m", &[("trace_rate".to_owned(), vec![])].into()).unwrap();
        assert_eq!(trace.get("m")["trace_rate"], ["1000"]);
    }

    #[test]
    fn an_unsupported_setting_is_an_error() {
        let trace = Trace::default();
        for wrong in [
            ("trace_level", "TENSORS"),
            ("trace_level", "TIMESTAMPS"),
            ("trace_rate", "0"),
            ("trace_count", "-2"),
            ("log_frequency", "9"),
            ("no_such", "1"),
        ] {
            assert!(trace.set("", &changes(&[wrong])).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn clients_can_not_change_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own.json"), folder.path().join("other.json"));
        std::fs::write(&other, "kept").unwrap();
        let text = |path: &Path| path.display().to_string();
        let traced = |file: &str| changes(&[("trace_file", file), ("trace_level", "TIMESTAMPS")]);
        for trace in [Trace::default(), Trace::with_file(Some(&own)).unwrap()] {
            let error = trace.set("", &traced(&text(&other))).unwrap_err();
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
            assert!(error.to_string().contains("--trace-file"), "{error}");
            assert_eq!(trace.get("")["trace_level"], ["OFF"]);
        }
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "kept");
        let trace = Trace::with_file(Some(&own)).unwrap();
        assert_eq!(trace.set("", &traced(&text(&own))).unwrap()["trace_file"], [text(&own)]);
        assert!(Trace::with_file(Some(folder.path())).is_err());
    }

    #[test]
    fn the_file_is_valid_json_after_every_entry() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        append(file.as_file_mut(), &[json!({"id": 1})]).unwrap();
        append(file.as_file_mut(), &[json!({"id": 2}), json!(3)]).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, r#"[{"id":1},{"id":2},3]"#);
    }
}
