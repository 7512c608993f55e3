//! The object stores that models come from. They are a feature of the build.

#[cfg(feature = "object-stores")]
mod copied;
#[cfg(not(feature = "object-stores"))]
mod left_out;

#[cfg(feature = "object-stores")]
pub(crate) use copied::{Stores, check};
#[cfg(not(feature = "object-stores"))]
pub(crate) use left_out::{Stores, check};

/// State of one store, for the metrics.
pub(crate) struct StoreStatus {
    /// URL of the place in the store.
    pub(crate) label: String,
    /// True if the last look at it succeeded.
    pub(crate) is_up: bool,
    /// Bytes downloaded from it.
    pub(crate) downloaded: u64,
}

/// True if a place is the URL of a store, rather than a path of this machine.
pub(crate) fn is_store(place: &str) -> bool {
    place.contains("://")
}
