//! The server's settings: defaults, then the file of `--config`, then the flags.

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, ValueEnum};
use serde::Deserialize;
use skysail_engine::config::{ControlMode, EngineConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod probe;
mod spans;

pub(crate) use probe::Probe;
pub(crate) use spans::Tracing;

const EXAMPLES: &str = "\
Examples:
  skysail-server --models models
      Serves every model of the folder, and takes over its changes.
  skysail-server --models models --objective-ms 20
      Answers within 20 ms, and refuses at once what can not be answered in time.
  skysail-server --models models --model-control explicit --load-model digits
      Serves what is asked for by name.
  skysail-server --models models --http 0.0.0.0:8000 --grpc 0.0.0.0:8001
      Serves other machines too.

A repository is DIR/NAME/VERSION/model.onnx, with an optional DIR/NAME/model.toml; a repository
of Triton's (config.pbtxt) is read as it is.";

/// The engine counts in microseconds.
const OBJECTIVE_MS_MIN: f64 = 0.001;

/// Serves ONNX models over HTTP and gRPC.
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// A TOML file with the same settings: [listen], [repository], [probe], [latency], [limits],
    /// [threads], [log], [tracing], [telemetry].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    listen: ListenFlags,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    probe: Probe,
    #[command(flatten)]
    latency: Latency,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    threads: ThreadFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    tracing: Tracing,
    #[command(flatten)]
    telemetry: TelemetryFlags,
}

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) listen: Listen,
    pub(crate) repository: Repository,
    pub(crate) probe: Probe,
    pub(crate) latency: Latency,
    pub(crate) limits: Limits,
    pub(crate) threads: Threads,
    pub(crate) log: Log,
    pub(crate) tracing: Tracing,
    pub(crate) telemetry: Telemetry,
}

/// Makes a struct of settings with defaults, and the struct of flags that replace them.
macro_rules! settings {
    (
        $(#[$doc:meta])* $name:ident / $flags:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr, $flag:literal, $value:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        #[derive(Args, Debug)]
        struct $flags {
            $($(#[$field_doc])* #[arg(long = $flag, value_name = $value)] $field: Option<$type>,)*
        }

        impl $flags {
            fn apply(self, settings: &mut $name) {
                $(if let Some(value) = self.$field { settings.$field = value; })*
            }
        }
    };
}

settings! {
    /// Where the server listens.
    Listen / ListenFlags {
        /// Address of HTTP/1.1 and HTTP/2 [default: 127.0.0.1:8000].
        http: SocketAddr = local(8000), "http", "ADDRESS";
        /// Address of gRPC [default: 127.0.0.1:8001].
        grpc: SocketAddr = local(8001), "grpc", "ADDRESS";
        /// Address of the metrics [default: 127.0.0.1:8002].
        metrics: SocketAddr = local(8002), "metrics", "ADDRESS";
    }
}

settings! {
    /// Where the models are.
    Repository / RepositoryFlags {
        /// The folder of models [default: models].
        models: PathBuf = "models".into(), "models", "DIR";
        /// When changes of the folder are taken over [default: poll].
        model_control: Control = Control::Poll, "model-control", "MODE";
        /// How often the folder is looked at, in mode poll [default: 1000].
        poll_ms: u64 = 1000, "poll-ms", "MS";
        /// A model to load at the start, in mode explicit; may be repeated.
        load_model: Vec<String> = Vec::new(), "load-model", "NAME";
    }
}

/// How soon requests are answered; a setting and a flag alike, as it has no default.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Latency {
    /// Within how many milliseconds to answer what says no other time; what can not be is refused
    /// at once. Without it nothing is in a hurry, and batches are as large as pays.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub(crate) objective_ms: Option<f64>,
}

settings! {
    /// What one caller, or all together, may take.
    Limits / LimitFlags {
        /// Bytes of a body, compressed or not; 1048576 at most where nothing is inferred
        /// [default: 268435456].
        body_bytes_max: usize = 256 << 20, "body-bytes-max", "BYTES";
        /// Bytes of all bodies that are in the server at once, answers among them
        /// [default: 4294967296].
        held_bytes_max: usize = 4 << 30, "held-bytes-max", "BYTES";
        /// Bytes of a request's head [default: 65536].
        header_bytes_max: usize = 64 << 10, "header-bytes-max", "BYTES";
        /// Connections of each port [default: 4096].
        connections_max: usize = 4096, "connections-max", "N";
        /// Inference requests in flight [default: 16384].
        requests_max: usize = 16_384, "requests-max", "N";
        /// How long a request's head may take [default: 30000].
        header_timeout_ms: u64 = 30_000, "header-timeout-ms", "MS";
        /// Longest pause inside a request's body [default: 30000].
        body_timeout_ms: u64 = 30_000, "body-timeout-ms", "MS";
        /// How long a client may read nothing of its response [default: 30000].
        write_timeout_ms: u64 = 30_000, "write-timeout-ms", "MS";
        /// How long requests may go on after the signal to stop [default: 30000].
        stop_timeout_ms: u64 = 30_000, "stop-timeout-ms", "MS";
    }
}

settings! {
    /// What the server may use of the machine.
    Threads / ThreadFlags {
        /// Threads that talk to clients [default: as many as cores].
        io: usize = cores(), "io-threads", "N";
        /// Cores that models use together [default: all].
        compute: usize = cores(), "compute-threads", "N";
    }
}

settings! {
    /// What is written to standard error.
    Log / LogFlags {
        /// The least important lines that are written [default: info].
        level: Level = Level::Info, "log-level", "LEVEL";
        /// As text or as JSON [default: text].
        format: Format = Format::Text, "log-format", "FORMAT";
    }
}

settings! {
    /// What is noted of requests.
    Telemetry / TelemetryFlags {
        /// Whether times by stage are counted, and the slowest requests kept; otlp needs it
        /// [default: true].
        request_records: bool = true, "request-records", "BOOL";
    }
}

/// When changes of the repository are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Control {
    /// Never.
    None,
    /// By themselves.
    Poll,
    /// By name, through the repository's interface.
    Explicit,
}

/// Importance of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Config {
    /// The settings of a file, replaced by those of the flags, and checked.
    ///
    /// # Errors
    /// With the line and the key, or what a value can not be.
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        let mut config = flags.config.as_deref().map(Self::read).transpose()?.unwrap_or_default();
        flags.listen.apply(&mut config.listen);
        flags.repository.apply(&mut config.repository);
        config.probe = flags.probe.or(&config.probe);
        let Latency { objective_ms } = flags.latency;
        config.latency.objective_ms = objective_ms.or(config.latency.objective_ms);
        flags.limits.apply(&mut config.limits);
        flags.threads.apply(&mut config.threads);
        flags.log.apply(&mut config.log);
        config.tracing = flags.tracing.or(&config.tracing);
        flags.telemetry.apply(&mut config.telemetry);
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| format!("{} is no configuration", path.display()))
    }

    fn check(&self) -> Result<()> {
        let models = &self.repository.models;
        ensure!(models.is_dir(), "--models {}: there is no such folder", models.display());
        ensure!(self.repository.poll_ms > 0, "poll_ms must be at least 1");
        self.probe.check()?;
        if let Some(ms) = self.latency.objective_ms {
            let is_time = ms.is_finite() && ms >= OBJECTIVE_MS_MIN;
            ensure!(is_time, "objective-ms is {ms}: milliseconds, at least {OBJECTIVE_MS_MIN}");
        }
        ensure!(self.limits.connections_max > 0, "connections_max must be at least 1");
        ensure!(self.limits.header_bytes_max >= 8192, "header_bytes_max must be at least 8192");
        ensure!(self.threads.io > 0, "io-threads must be at least 1");
        ensure!(self.threads.compute > 0, "compute-threads must be at least 1");
        self.tracing.check()?;
        ensure!(
            self.telemetry.request_records || self.tracing.otlp.is_none(),
            "otlp needs records, which traces are made of: leave out one of the two settings"
        );
        let explicit = self.repository.model_control == Control::Explicit;
        ensure!(
            explicit || self.repository.load_model.is_empty(),
            "load-model needs model-control explicit: in other modes everything is loaded"
        );
        Ok(())
    }

    /// The engine's part.
    pub(crate) fn engine(&self) -> EngineConfig {
        EngineConfig {
            models: self.repository.models.clone(),
            control: match self.repository.model_control {
                Control::None => ControlMode::None,
                Control::Poll => ControlMode::Poll,
                Control::Explicit => ControlMode::Explicit,
            },
            poll_ms: self.repository.poll_ms,
            load_at_start: self.repository.load_model.clone(),
            cores: self.threads.compute,
            objective_ms: self.latency.objective_ms,
            probe: self.probe.engine(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config> {
        let arguments = ["skysail-server"].iter().chain(arguments);
        Config::new(Flags::try_parse_from(arguments).unwrap())
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let (models, file) = (folder.path().to_str().unwrap(), folder.path().join("s.toml"));
        std::fs::write(&file, "[limits]\nbody_bytes_max = 5\nrequests_max = 6\n").unwrap();
        let file = file.to_str().unwrap();
        let flags = ["--models", models, "--config", file, "--requests-max", "7"];
        let limits = config(&flags).unwrap().limits;
        assert_eq!((limits.body_bytes_max, limits.requests_max), (5, 7));
        assert_eq!(limits.connections_max, 4096);
    }

    #[test]
    fn a_wrong_key_is_told_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[limits]\nbody_max = 5\n").unwrap();
        let error = config(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("line 2") && error.contains("body_max"), "{error}");
    }

    #[test]
    fn a_missing_folder_is_told() {
        let error = config(&["--models", "no/such/folder"]).unwrap_err().to_string();
        assert!(error.contains("no/such/folder"), "{error}");
    }

    #[test]
    fn the_objective_is_a_flag_a_setting_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (models, file) = (folder.path().to_str().unwrap(), folder.path().join("s.toml"));
        let file = file.to_str().unwrap();
        let objective = |text: &str, flags: &[&str]| {
            std::fs::write(file, text).unwrap();
            let flags = [&["--models", models, "--config", file], flags].concat();
            config(&flags).map(|config| config.engine().objective_ms).map_err(|e| e.to_string())
        };
        assert_eq!(objective("", &[]), Ok(None));
        assert_eq!(objective("[latency]\nobjective_ms = 50\n", &[]), Ok(Some(50.0)));
        let flag = ["--objective-ms", "2.5"];
        assert_eq!(objective("[latency]\nobjective_ms = 50\n", &flag), Ok(Some(2.5)));
        for bad in ["0", "0.0", "-5", "nan", "inf", "-inf"] {
            let error = objective(&format!("[latency]\nobjective_ms = {bad}\n"), &[]).unwrap_err();
            assert!(error.contains("objective-ms"), "{bad}: {error}");
        }
    }
}
