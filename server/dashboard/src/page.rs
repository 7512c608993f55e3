//! The whole page at one moment. It works without scripts.

use super::components;
use super::frame::Frame;
use maud::{DOCTYPE, Markup, html};

/// Seconds between two reloads in a browser without scripts.
const REFRESH_S: u32 = 5;

/// The whole page.
pub(super) fn page(frame: &Frame) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head())
            body {
                (banner(frame))
                main {
                    section aria-label="Now" { (live(frame, "totals")) }
                    (section(frame, "Models", "", &["versions".to_owned()]))
                    (section(frame, "The last five minutes", "", &components::charts().collect::<Vec<_>>()))
                    (section(frame, "Slowest requests", "Why were they slow?", &["slow".to_owned()]))
                    (section(frame, "Without a response", "", &["unanswered".to_owned()]))
                }
                footer {
                    "For Prometheus: " a href="metrics" { "/metrics" }
                    ". As JSON: " a href="v2/debug/tail" { "/v2/debug/tail" } "."
                }
            }
        }
    }
}

fn head() -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { "Skysail" }
            link rel="icon" href="dashboard/icon.svg" type="image/svg+xml";
            link rel="stylesheet" href="dashboard/style.css";
            script src="dashboard/script.js" defer {}
            noscript { meta http-equiv="refresh" content=(REFRESH_S); }
        }
    }
}

fn banner(frame: &Frame) -> Markup {
    html! {
        header {
            img src="dashboard/icon.svg" alt="" width="36" height="36";
            div class="who" {
                h1 { "Skysail" }
                (live(frame, "status"))
            }
            div class="watch" {
                span id="connection" role="status" { "Not live" }
                button id="pause" type="button" hidden { "Pause" }
            }
        }
    }
}

fn section(frame: &Frame, title: &str, note: &str, ids: &[String]) -> Markup {
    html! {
        section {
            h2 { (title) @if !note.is_empty() { " " span class="muted" { (note) } } }
            @for id in ids { (live(frame, id)) }
        }
    }
}

/// A part of the page that changes.
fn live(frame: &Frame, id: &str) -> Markup {
    html! { div id=(id) class="live" { (frame.part(id)) } }
}
