//! Progress messages for a terminal.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Prints what is being measured, if standard error is a terminal.
pub(crate) fn progress(what: fmt::Arguments<'_>) {
    let mut to = io::stderr();
    if to.is_terminal() {
        // Errors are ignored: the benchmark goes on without a terminal.
        let _ = writeln!(to, "{what}");
    }
}
