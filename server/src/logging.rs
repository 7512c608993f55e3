//! The log, which goes to standard error.

use crate::admin::log_settings::LogSettings;
use crate::config::{Format, Level, Log};
use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

/// Starts the log.
pub(crate) fn start(log: &Log) -> LogSettings {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let (filter, handle) = reload::Layer::new(level);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // It fails only if a log was started before, which goes on.
    match log.format {
        Format::Text => drop(registry.with(lines).try_init()),
        Format::Json => drop(registry.with(lines.json()).try_init()),
    }
    LogSettings::new(handle)
}
