//! Allocator settings for the memory that training steps allocate and free repeatedly.

use std::sync::Once;

/// Upper limit of glibc's dynamic threshold, less the header of a block.
const BLOCK_BYTES: usize = (32 << 20) - 8192;

/// Makes the allocator keep freed memory. Otherwise it returns large blocks to the system after
/// each step, and the next step pays for every page again.
///
/// glibc raises its thresholds to the largest block freed so far (mallopt(3), "dynamic mmap
/// threshold"). This block is never touched, so it costs nothing.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(std::hint::black_box(vec![0_u8; BLOCK_BYTES])));
}
