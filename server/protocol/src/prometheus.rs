//! The messages in which Prometheus reads metrics, made from `proto/metrics.proto` when the crate is
//! built.

mod generated {
    #![allow(missing_docs, reason = "made from proto/, which explains what needs it")]
    #![allow(clippy::all, reason = "generated code is its generator's to style")]
    #![allow(rust_2018_idioms, unreachable_pub, reason = "likewise")]

    include!(concat!(env!("OUT_DIR"), "/io.prometheus.client.rs"));
}

pub use generated::*;
