// SPDX-License-Identifier: MIT
//! compio on its io_uring driver. block_on itself runs the tasks there, so the work stays outside of a task.

use super::{Runtime, Serve, whole};
use crate::block::Block;
use compio::buf::{IoBuf, IoBufMut, SetLen};
use compio::driver::{DriverType, ProactorBuilder};
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncRead, AsyncReadAt, AsyncWriteExt};
use compio::net::TcpStream;
use compio::runtime::RuntimeBuilder;
use local_sync::mpsc::bounded;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
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

impl Serve for Compio {
    fn serve(listener: TcpListener, buffer_bytes: usize) {
        let mut ring = ProactorBuilder::new();
        ring.driver_type(DriverType::IoUring)
            .capacity(4096)
            .single_issuer(true)
            .coop_taskrun(true)
            .taskrun_flag(true);
        let runtime = RuntimeBuilder::new().with_proactor(ring).build().expect("a runtime");
        runtime.block_on(async move {
            let listener = compio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                compio::runtime::spawn(echo(stream, buffer_bytes)).detach();
            }
        })
    }
}

async fn echo(mut stream: TcpStream, buffer_bytes: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(buffer_bytes);
    loop {
        buffer.clear(); // a read starts at the front, but leaves the length of what was there
        let (count, filled) = stream.read(buffer).await.into();
        if count? == 0 {
            return Ok(());
        }
        let (written, emptied) = stream.write_all(filled).await.into();
        written?;
        buffer = emptied;
    }
}
