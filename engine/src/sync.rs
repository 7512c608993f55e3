//! Synchronization types. `tests/schedules.rs` replaces them by its own to test many schedules.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::AtomicUsize;
