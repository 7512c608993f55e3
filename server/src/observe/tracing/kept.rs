//! A finished request that is kept for export.

use super::context::Context;
use super::sample::Reason;
use skysail_engine::request_record::RequestRecord;

/// A finished request to export.
pub(super) struct Kept {
    pub(super) record: RequestRecord,
    pub(super) context: Context,
    pub(super) reason: Reason,
}
