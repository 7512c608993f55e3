//! The messages in which Prometheus reads metrics, generated from `proto/metrics.proto` by
//! `tests/generated.rs`.

mod generated {
    #![allow(missing_docs, reason = "made from proto/, which explains what needs it")]
    #![allow(clippy::all, reason = "generated code is its generator's to style")]
    #![allow(rust_2018_idioms, unreachable_pub, reason = "likewise")]

    include!("generated/prometheus.rs");
}

pub use generated::*;
