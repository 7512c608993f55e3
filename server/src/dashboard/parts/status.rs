//! The server in a line.

use crate::dashboard::look::Look;
use crate::dashboard::words;
use maud::{Markup, html};

pub(super) fn status(look: &Look) -> Markup {
    let process = look.process;
    let (class, word) = if look.is_ready { ("ready", "Ready") } else { ("loading", "Not ready") };
    html! {
        span class={ "pill " (class) } { (word) }
        " " span { "version " (env!("CARGO_PKG_VERSION")) }
        " " span { "up " (words::lasted(process.up)) }
        " " span { (process.io_threads) " I/O threads, " (process.compute_threads) " for models" }
    }
}
