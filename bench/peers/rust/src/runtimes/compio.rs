// SPDX-License-Identifier: MIT
//! compio on its io_uring driver. block_on itself runs the tasks there, so the work stays outside of a task.

use super::{Runtime, whole};
use crate::block::Block;
use compio::buf::{IoBuf, IoBufMut, SetLen};
use compio::driver::{DriverType, ProactorBuilder};
use compio::fs::{File, OpenOptions};
use compio::io::AsyncReadAt;
use compio::runtime::RuntimeBuilder;
use local_sync::mpsc::bounded;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

pub struct Compio;

impl Runtime for Compio {
    const NAME: &'static str = "compio";
    type Sender = bounded::Tx<u64>;
    type Receiver = bounded::Rx<u64>;
    type File = Rc<File>;

    fn run(work: impl Future<Output = ()> + 'static) {
        let mut ring = ProactorBuilder::new();
        ring.driver_type(DriverType::IoUring)
            .single_issuer(true)
            .coop_taskrun(true)
            .taskrun_flag(true);
        RuntimeBuilder::new().with_proactor(ring).build().expect("a runtime").block_on(work)
    }

    fn spawn<F: Future<Output = ()> + 'static>(work: F) -> impl Future {
        compio::runtime::spawn(work)
    }

    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        compio::time::sleep(time)
    }

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        bounded::channel(capacity)
    }

    fn send(to: &mut Self::Sender, value: u64) -> impl Future {
        to.send(value)
    }

    fn recv(from: &mut Self::Receiver) -> impl Future<Output = Option<u64>> {
        from.recv()
    }

    async fn open(path: &str) -> io::Result<Rc<File>> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).await.map(Rc::new)
    }

    async fn read(file: &Rc<File>, into: Block, at: u64) -> io::Result<Block> {
        let (read, block) = file.read_at(into, at).await.into();
        whole(read?, block)
    }
}

impl IoBuf for Block {
    fn as_init(&self) -> &[u8] {
        // SAFETY: a Block is initialised from the start and this long.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl SetLen for Block {
    unsafe fn set_len(&mut self, _: usize) {}
}

impl IoBufMut for Block {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: as above, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr().cast(), self.len()) }
    }
}
