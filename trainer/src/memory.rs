//! Memory that steps of learning take and give back over and over.

use std::sync::Once;

/// The most that glibc lets its threshold rise to, less what it puts beside a block.
const BLOCK_BYTES: usize = (32 << 20) - 8192;

/// Lets the allocator keep what is given back. Otherwise it returns large blocks to the system after
/// each step, and the next step pays for every page again.
///
/// glibc raises its thresholds for that by the largest block that was given back so far (mallopt(3),
/// "dynamic mmap threshold"). This block is never touched, and so costs nothing.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(vec![0_u8; BLOCK_BYTES])));
}
