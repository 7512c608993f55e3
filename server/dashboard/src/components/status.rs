//! A line about the server.

use crate::format;
use crate::snapshot::Snapshot;
use maud::{Markup, html};

pub(super) fn status(snapshot: &Snapshot) -> Markup {
    let process = snapshot.process;
    let (class, word) =
        if snapshot.is_ready { ("ready", "Ready") } else { ("loading", "Not ready") };
    html! {
        span class={ "pill " (class) } { (word) }
        " " span { "version " (env!("CARGO_PKG_VERSION")) }
        " " span { "up " (format::duration(process.up)) }
        " " span { (process.io_threads) " I/O threads, " (process.compute_threads) " for models" }
    }
}
