//! Settings of the log, which clients can change.

use crate::status::Error;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::reload::Handle;

/// Levels that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Levels {
    error: bool,
    warning: bool,
    info: bool,
    verbose: u64,
}

/// Current settings of the log.
pub(crate) struct LogSettings {
    levels: Mutex<Levels>,
    filter: Handle<LevelFilter, Registry>,
}

impl LogSettings {
    /// Settings of `filter`, starting with its current level.
    pub(crate) fn new(filter: Handle<LevelFilter, Registry>) -> Self {
        let level = filter.clone_current().unwrap_or(LevelFilter::INFO);
        let levels = Levels {
            error: level >= LevelFilter::ERROR,
            warning: level >= LevelFilter::WARN,
            info: level >= LevelFilter::INFO,
            verbose: u64::from(level >= LevelFilter::DEBUG),
        };
        Self { levels: Mutex::new(levels), filter }
    }

    /// All settings, by Triton's names.
    pub(crate) fn get(&self) -> Value {
        let levels = *self.levels.lock();
        json!({
            "log_file": "",
            "log_info": levels.info,
            "log_warning": levels.warning,
            "log_error": levels.error,
            "log_verbose_level": levels.verbose,
            "log_format": "default",
        })
    }

    /// Changes some settings.
    ///
    /// # Errors
    /// Names the first setting that can not be changed. No setting is changed then.
    pub(crate) fn set(&self, changes: &Map<String, Value>) -> Result<Value, Error> {
        let mut levels = self.levels.lock();
        let mut wanted = *levels;
        for (name, value) in changes {
            match (name.as_str(), value) {
                ("log_info", Value::Bool(on)) => wanted.info = *on,
                ("log_warning", Value::Bool(on)) => wanted.warning = *on,
                ("log_error", Value::Bool(on)) => wanted.error = *on,
                ("log_verbose_level", Value::Number(n)) if n.is_u64() => {
                    wanted.verbose = n.as_u64().unwrap_or(0);
                }
                ("log_file", Value::String(file)) if file.is_empty() => {}
                ("log_format", Value::String(format)) if format == "default" => {}
                ("log_file" | "log_format", _) => {
                    return Err(Error::Unsupported(format!(
                        "'{name}' can not be changed: the log goes to standard error"
                    )));
                }
                _ => {
                    let name = name.escape_debug();
                    return Err(Error::malformed(format!(
                        "log setting '{name}' can not be {value}"
                    )));
                }
            }
        }
        // It fails only if the log has ended.
        drop(self.filter.modify(|filter| *filter = wanted.level()));
        *levels = wanted;
        drop(levels);
        Ok(self.get())
    }
}

impl Levels {
    /// The most verbose level that is on.
    fn level(self) -> LevelFilter {
        match self {
            Self { verbose: 2.., .. } => LevelFilter::TRACE,
            Self { verbose: 1, .. } => LevelFilter::DEBUG,
            Self { info: true, .. } => LevelFilter::INFO,
            Self { warning: true, .. } => LevelFilter::WARN,
            Self { error: true, .. } => LevelFilter::ERROR,
            _ => LevelFilter::OFF,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::reload;

    #[test]
    fn settings_change_the_filter_and_a_wrong_one_changes_nothing() {
        let (layer, filter) = reload::Layer::<_, Registry>::new(LevelFilter::INFO);
        let settings = LogSettings::new(filter);
        let change = |value: Value| settings.set(value.as_object().unwrap());
        change(json!({"log_verbose_level": 1})).unwrap();
        assert_eq!(settings.filter.clone_current(), Some(LevelFilter::DEBUG));
        assert!(change(json!({"log_verbose_level": 0, "log_file": "x"})).is_err());
        assert!(change(json!({"log_colour": true})).is_err());
        assert_eq!(settings.get()["log_verbose_level"], 1);
        drop(layer);
    }
}
