//! The heaps of the C library, which this program and ONNX Runtime share. Each thread that loads
//! has its own.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

/// Bytes of a block that is large enough for the C library to look at the end of its heap when the
/// block is freed.
const LARGE_BLOCK: usize = 256 << 10;

/// Bytes of the largest block in a heap; larger ones have memory of their own. The C library would
/// adapt it to the blocks that it frees, but not once the other threshold is set.
const BLOCK_MAX: usize = 16 << 20;

/// Bytes that the C library keeps at the end of a heap for later blocks. It would choose twice the
/// largest block too.
const END_KEPT: usize = 2 * BLOCK_MAX;

/// Gives the free memory between used blocks back to the system, in all heaps.
///
/// The C library gives back by itself only what lies at the end of a heap. Loading a model leaves
/// free blocks as large as its weights between others.
pub fn trim_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function takes a number, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Calls `work`, which frees much. What is free at the end of the heaps that it frees in, and of the
/// calling thread's, goes back to the system.
pub fn give_back_ends(work: impl FnOnce()) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_thresholds(LARGE_BLOCK);
    work();
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
    set_thresholds(END_KEPT);
}

/// Sets how much the C library keeps at the end of a heap.
fn set_thresholds(end_kept: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (which, bytes) in [(libc::M_MMAP_THRESHOLD, BLOCK_MAX), (libc::M_TRIM_THRESHOLD, end_kept)]
    {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: the function takes numbers, and any thread may call it at any time.
        unsafe {
            libc::mallopt(which, bytes);
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = end_kept;
}
