// SPDX-License-Identifier: MIT
//! CPU time and percentiles.

/// CPU nanoseconds of the whole process: the scheduler's counter, so helper and kernel worker threads are in it.
pub fn cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is a valid timespec; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The value below which `fraction` of the samples lie. `sorted` is in ascending order and not empty.
pub fn percentile<T: Copy>(sorted: &[T], fraction: f64) -> T {
    sorted[((sorted.len() - 1) as f64 * fraction).round() as usize]
}
