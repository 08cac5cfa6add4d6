// SPDX-License-Identifier: MIT
//! One buffer that O_DIRECT accepts, owned by whoever holds it: runtimes on a completion ring take it by value.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a Block owns its memory alone; nothing in it is tied to a thread.
unsafe impl Send for Block {}

impl Block {
    pub fn new(bytes: usize) -> Block {
        let layout = Layout::from_size_align(bytes, 4096).expect("a block size");
        // SAFETY: the layout is not empty: the caller's sizes are checked against the target's size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        Block { start: start.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    pub fn len(&self) -> usize {
        self.layout.size()
    }

    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in new() with this layout.
        unsafe { dealloc(self.as_ptr(), self.layout) }
    }
}
