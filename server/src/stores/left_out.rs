//! The build without object stores, which says so.

use super::StoreStatus;
use crate::config::Config;
use anyhow::{Result, bail};
use skysail_engine::repository::Root;

/// No object stores.
#[derive(Default)]
pub(crate) struct Stores;

/// Fails for every URL.
///
/// # Errors
/// Always.
pub(crate) fn check(url: &str) -> Result<()> {
    bail!(
        "{url}: this build has no object stores. `cargo xtask serve --release` makes one that has, and \
         so does `cargo build --release --package skysail-server`"
    )
}

impl Stores {
    pub(crate) fn new(_: &Config) -> Self {
        Self
    }

    /// Fails for every URL.
    ///
    /// # Errors
    /// Always.
    #[expect(clippy::unused_self, reason = "the other build has stores")]
    pub(crate) fn open(&mut self, url: &str, _: Option<&str>) -> Result<Root> {
        check(url)?;
        bail!("{url}: there are no stores")
    }

    #[expect(clippy::unused_self, reason = "the other build has stores")]
    pub(crate) fn status(&self) -> Vec<StoreStatus> {
        Vec::new()
    }

    #[expect(clippy::unused_self, reason = "the other build has stores")]
    pub(crate) fn cache_bytes(&self) -> Option<u64> {
        None
    }
}
