//! The server's settings: defaults, overridden by the file of `--config`, and that by flags.

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, ValueEnum};
use serde::Deserialize;
use skysail_engine::config::{ControlMode, EngineConfig, ReadyWhen};
use skysail_engine::repository::Roots;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod http;
mod place;
mod probe;
#[cfg(test)]
mod tests;
mod tracing;

pub(crate) use self::http::{Http, NonFinite};
pub(crate) use self::tracing::Tracing;
pub(crate) use place::NamedPlace;
pub(crate) use probe::Probe;

const EXAMPLES: &str = "\
Examples:
  skysail-server --models models
      Serve every model of the folder, and follow changes of the folder.
  skysail-server --models models --objective-ms 20
      Serve with a latency objective of 20 ms. Requests that can not meet it are rejected at once.
  skysail-server --models models --model-control explicit --load-model digits
      Serve one model; load and unload others by name through the API.
  skysail-server --model digits=/mnt/models
      Serve one model, a file or a folder that may be mounted or replaced later.
  skysail-server --models s3://bucket/models --models models
      Serve what a bucket has, and a folder. Credentials are in the environment.
  skysail-server --models models --http 0.0.0.0:8000 --grpc 0.0.0.0:8001
      Accept connections from other machines.

The folder holds DIR/NAME/VERSION/model.onnx, and optionally DIR/NAME/model.toml with settings of
the model. A model repository of Triton (with config.pbtxt) works unchanged.";

/// The repository, unless the settings name one or a model.
const DEFAULT_MODELS: &str = "models";

/// Smallest objective in milliseconds: the engine counts microseconds.
const OBJECTIVE_MS_MIN: f64 = 0.001;

/// Serves ONNX models over HTTP and gRPC.
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// TOML file with settings, which flags override. Its sections: [listen], [http], [repository],
    /// [store], [probe], [latency], [limits], [shared_memory], [threads], [log], [tracing],
    /// [telemetry].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    listen: ListenFlags,
    #[command(flatten)]
    http: Http,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    probe: Probe,
    #[command(flatten)]
    latency: Latency,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    shared_memory: SharedMemoryFlags,
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
    pub(crate) http: Http,
    pub(crate) repository: Repository,
    pub(crate) store: Store,
    pub(crate) probe: Probe,
    pub(crate) latency: Latency,
    pub(crate) limits: Limits,
    pub(crate) shared_memory: SharedMemory,
    pub(crate) threads: Threads,
    pub(crate) log: Log,
    pub(crate) tracing: Tracing,
    pub(crate) telemetry: Telemetry,
}

/// Defines a struct of settings with defaults, and the struct of flags that override them.
macro_rules! settings {
    (
        $(#[$doc:meta])* $name:ident / $flags:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr, $flag:literal, $value:literal
                $(, $read:literal)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($(#[$field_doc])* $(#[serde(deserialize_with = $read)])? pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        #[derive(Args, Debug)]
        struct $flags {
            $($(#[$field_doc])* #[arg(id = $flag, long = $flag, value_name = $value)] $field: Option<$type>,)*
        }

        #[cfg(test)]
        impl $name {
            /// Flags with their default values.
            fn defaults() -> Vec<(&'static str, String)> {
                let defaults = Self::default();
                vec![$(($flag, format!("{:?}", defaults.$field)),)*]
            }
        }

        impl $flags {
            fn apply(self, settings: &mut $name) {
                $(if let Some(value) = self.$field { settings.$field = value; })*
            }
        }
    };
}

settings! {
    /// Addresses of the three ports.
    Listen / ListenFlags {
        /// Address of the HTTP API (HTTP/1.1 and HTTP/2) [default: 127.0.0.1:8000].
        http: SocketAddr = local(8000), "http", "ADDRESS";
        /// Address of the gRPC API [default: 127.0.0.1:8001].
        grpc: SocketAddr = local(8001), "grpc", "ADDRESS";
        /// Address of the Prometheus metrics (/metrics) and the dashboard (/)
        /// [default: 127.0.0.1:8002].
        metrics: SocketAddr = local(8002), "metrics", "ADDRESS";
    }
}

settings! {
    /// The model repository.
    Repository / RepositoryFlags {
        /// Model repository: a folder with DIR/NAME/VERSION/model.onnx, or s3://BUCKET/PATH, gs://…,
        /// az://… or https://… with WebDAV; may be repeated [default: models, unless --model is given].
        models: Vec<String> = Vec::new(), "models", "DIR", "place::one_or_many";
        /// A model with a path of its own: a file, a folder that is the model, or either in a store.
        /// The path may appear later with --model-control poll; may be repeated.
        model: Vec<NamedPlace> = Vec::new(), "model", "NAME=PATH", "place::one_or_many";
        /// Mode of loading and updating models [default: poll].
        model_control: Control = Control::Poll, "model-control", "MODE";
        /// Library of operators, such as onnxruntime-extensions, that every model may use; may be
        /// repeated. Its code runs in the server, with all its rights.
        op_library: Vec<PathBuf> = Vec::new(), "op-library", "FILE", "place::one_or_many";
        /// Interval between two scans of the folder in milliseconds, with --model-control poll
        /// [default: 1000].
        poll_ms: u64 = 1000, "poll-ms", "MS";
        /// Model to load at the start, with --model-control explicit, or to wait for, with
        /// --ready-when named; may be repeated.
        load_model: Vec<String> = Vec::new(), "load-model", "NAME";
        /// End the start with exit code 1 if no version of a model of --load-model can be served, with
        /// --model-control explicit [default: true].
        exit_on_load_error: bool = true, "exit-on-load-error", "BOOL";
        /// Models that must serve before the server says that it is ready [default: all].
        ready_when: Ready = Ready::All, "ready-when", "WHICH";
    }
}

settings! {
    /// Copies of models from object stores, whose credentials are in the environment.
    Store / StoreFlags {
        /// Folder for copies of models from object stores, which one server uses at a time
        /// [default: skysail/store in $XDG_CACHE_HOME or ~/.cache].
        cache: PathBuf = store_cache(), "store-cache", "DIR";
        /// Most bytes in that folder; what is in use stays [default: 21474836480].
        cache_bytes_max: u64 = 20 << 30, "store-cache-bytes", "BYTES";
        /// Interval between two looks at a store in milliseconds, with --model-control poll
        /// [default: 10000].
        poll_ms: u64 = 10_000, "store-poll-ms", "MS";
    }
}

/// The latency objective. It is a setting and a flag alike, as it has no default.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Latency {
    /// Latency objective (SLO) in milliseconds, of models without one of their own. Requests that
    /// can not meet it are rejected at once. Without it, batches are sized for throughput.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub(crate) objective_ms: Option<f64>,
}

settings! {
    /// Limits on single requests, and on all requests together.
    Limits / LimitFlags {
        /// Largest body of a request in bytes, before and after decompression. Requests other than
        /// inference and loading by name are limited to 1048576 [default: 268435456].
        body_bytes_max: usize = 256 << 20, "body-bytes-max", "BYTES";
        /// Largest request in bytes to load a model by name, with the files that are sent with it,
        /// before and after decompression [default: 268435456].
        load_bytes_max: usize = 256 << 20, "load-bytes-max", "BYTES";
        /// Largest total size in bytes of all request and response bodies in memory. Further
        /// requests are rejected as busy [default: 4294967296].
        in_flight_bytes_max: usize = 4 << 30, "in-flight-bytes-max", "BYTES";
        /// Largest head (request line and headers) of a request in bytes, at least 8192
        /// [default: 65536].
        header_bytes_max: usize = 64 << 10, "header-bytes-max", "BYTES";
        /// Most open connections of each port; further ones wait [default: 4096].
        connections_max: usize = 4096, "connections-max", "N";
        /// Most inference requests in the server at once; further ones are rejected as busy
        /// [default: 16384].
        requests_max: usize = 16_384, "requests-max", "N";
        /// Time limit in milliseconds for a request's head to arrive [default: 30000].
        header_timeout_ms: u64 = 30_000, "header-timeout-ms", "MS";
        /// Longest pause in milliseconds while a request's body arrives [default: 30000].
        body_timeout_ms: u64 = 30_000, "body-timeout-ms", "MS";
        /// Longest pause in milliseconds while a client reads its response [default: 30000].
        write_timeout_ms: u64 = 30_000, "write-timeout-ms", "MS";
        /// Time limit in milliseconds for requests in flight to finish after SIGTERM or SIGINT
        /// [default: 30000].
        stop_timeout_ms: u64 = 30_000, "stop-timeout-ms", "MS";
    }
}

settings! {
    /// Memory that clients on the same machine share with the server.
    SharedMemory / SharedMemoryFlags {
        /// Prefix of the keys of system shared memory that clients may register; may be repeated,
        /// and `/` allows every key. Without it, shared memory is off.
        prefixes: Vec<String> = Vec::new(), "shared-memory", "PREFIX";
    }
}

settings! {
    /// Threads and cores.
    Threads / ThreadFlags {
        /// Threads that serve connections [default: number of cores].
        io: usize = cores(), "io-threads", "N";
        /// Cores that all models together may use [default: number of cores].
        compute: usize = cores(), "compute-threads", "N";
    }
}

settings! {
    /// The log, which is written to standard error.
    Log / LogFlags {
        /// Least severe level that is logged [default: info].
        level: Level = Level::Info, "log-level", "LEVEL";
        /// Format of the log on standard error [default: text].
        format: Format = Format::Text, "log-format", "FORMAT";
    }
}

settings! {
    /// Records of requests.
    Telemetry / TelemetryFlags {
        /// Record latency by stage for metrics, and keep the slowest requests for /v2/debug/tail and
        /// the dashboard. --otlp needs it [default: true].
        request_records: bool = true, "request-records", "BOOL";
    }
}

/// Mode of loading and updating models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Control {
    /// Load all models at the start, and ignore later changes of the folder.
    None,
    /// Load all models, and follow changes of the folder.
    Poll,
    /// Load and unload models by name through the API.
    Explicit,
}

/// Models that must serve before the server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ready {
    /// All models of the folder; with --model-control explicit, all that are to be loaded.
    All,
    /// The models of --load-model, in any mode of control.
    Named,
    /// At least one.
    Any,
}

/// Level of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// JSON, an object for each line.
    Json,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn store_cache() -> PathBuf {
    probe::cache().map_or("skysail-store".into(), |cache| cache.join("store"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Limits {
    /// Largest body of a request other than inference, in bytes.
    pub(crate) const ADMIN_BYTES_MAX: usize = 1 << 20;
}

impl Config {
    /// Reads the file of settings, applies the flags, and validates the result.
    ///
    /// # Errors
    /// Names the line and the key, or the limits of the value.
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        let mut config = flags.config.as_deref().map(Self::read).transpose()?.unwrap_or_default();
        flags.listen.apply(&mut config.listen);
        config.http = flags.http.or(&config.http);
        flags.repository.apply(&mut config.repository);
        flags.store.apply(&mut config.store);
        config.probe = flags.probe.or(&config.probe);
        let Latency { objective_ms } = flags.latency;
        config.latency.objective_ms = objective_ms.or(config.latency.objective_ms);
        flags.limits.apply(&mut config.limits);
        flags.shared_memory.apply(&mut config.shared_memory);
        flags.threads.apply(&mut config.threads);
        flags.log.apply(&mut config.log);
        config.tracing = flags.tracing.or(&config.tracing);
        flags.telemetry.apply(&mut config.telemetry);
        let Repository { models, model, .. } = &mut config.repository;
        if models.is_empty() && model.is_empty() {
            models.push(DEFAULT_MODELS.into());
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text)
            .with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    fn check(&self) -> Result<()> {
        self.repository.check_places()?;
        ensure!(self.store.poll_ms > 0, "store-poll-ms must be at least 1");
        ensure!(self.repository.poll_ms > 0, "poll_ms must be at least 1");
        self.http.check()?;
        self.probe.check()?;
        if let Some(ms) = self.latency.objective_ms {
            let is_time = ms.is_finite() && ms >= OBJECTIVE_MS_MIN;
            ensure!(is_time, "objective-ms is {ms}: milliseconds, at least {OBJECTIVE_MS_MIN}");
        }
        ensure!(self.limits.connections_max > 0, "connections_max must be at least 1");
        ensure!(self.limits.header_bytes_max >= 8192, "header_bytes_max must be at least 8192");
        let is_empty = self.shared_memory.prefixes.iter().any(String::is_empty);
        ensure!(!is_empty, "shared-memory is empty: it needs a prefix, and '/' allows every key");
        ensure!(self.threads.io > 0, "io-threads must be at least 1");
        ensure!(self.threads.compute > 0, "compute-threads must be at least 1");
        self.tracing.check()?;
        ensure!(
            self.telemetry.request_records || self.tracing.otlp.is_none(),
            "otlp needs request-records, which traces are made of: drop one of the two settings"
        );
        let Repository { model_control, ready_when, load_model, .. } = &self.repository;
        let (explicit, named) = (*model_control == Control::Explicit, *ready_when == Ready::Named);
        ensure!(
            explicit || named || load_model.is_empty(),
            "load-model needs model-control explicit or ready-when named: otherwise everything is \
             loaded and waited for"
        );
        ensure!(
            !named || !load_model.is_empty(),
            "ready-when named needs load-model, with the names of the models to wait for"
        );
        Ok(())
    }

    /// The engine's settings, with the places that models come from.
    pub(crate) fn engine(&self, roots: Roots) -> EngineConfig {
        EngineConfig {
            models: roots,
            control: match self.repository.model_control {
                Control::None => ControlMode::None,
                Control::Poll => ControlMode::Poll,
                Control::Explicit => ControlMode::Explicit,
            },
            poll_ms: self.repository.poll_ms,
            load_at_start: self.repository.load_model.clone(),
            ready_when: match self.repository.ready_when {
                Ready::All => ReadyWhen::All,
                Ready::Named => ReadyWhen::Named,
                Ready::Any => ReadyWhen::Any,
            },
            cores: self.threads.compute,
            objective_ms: self.latency.objective_ms,
            probe: self.probe.engine(),
            operator_libraries: self.repository.op_library.clone(),
        }
    }
}
