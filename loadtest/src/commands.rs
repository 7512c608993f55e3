//! The subcommands: each one's flags, and how it carries them out.

pub(crate) mod run;
mod values;
