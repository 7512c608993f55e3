//! Copies models of object stores to this machine, and keeps the copies current.
//!
//! A [`Place`] is a bucket's prefix, or one object. A [`Mirror`] lists it and downloads what has
//! changed into a [`Cache`], which holds each content once and within a limit. From there it shows
//! every model as a folder, which changes at once.

mod cache;
mod copies;
mod digest;
mod download;
mod listing;
mod mirror;
mod place;

pub use cache::Cache;
pub use mirror::{Copied, Follow, Mirror};
pub use place::Place;
