//! What threads share in the code that `tests/schedules.rs` tests under many schedules, with
//! others of the same interface.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::AtomicUsize;
