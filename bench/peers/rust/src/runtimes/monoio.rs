// SPDX-License-Identifier: MIT
//! monoio on its io_uring driver.

use super::{Runtime, Serve, whole};
use crate::block::Block;
use local_sync::mpsc::bounded;
use monoio::buf::IoBufMut;
use monoio::fs::{File, OpenOptions};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::{IoUringDriver, RuntimeBuilder};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::time::Duration;

pub struct Monoio;

impl Runtime for Monoio {
    const NAME: &'static str = "monoio";
    type Sender = bounded::Tx<u64>;
    type Receiver = bounded::Rx<u64>;
    type File = Rc<File>;

    fn run(work: impl Future<Output = ()> + 'static) {
        let mut ring = io_uring::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun();
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).enable_timer();
        // block_on's own future is woken by a slower path than a task's
        builder.build().expect("a runtime").block_on(async { monoio::spawn(work).await })
    }

    fn spawn<F: Future<Output = ()> + 'static>(work: F) -> impl Future {
        monoio::spawn(work)
    }

    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        monoio::time::sleep(time)
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
        let (read, block) = file.read_at(into, at).await;
        whole(read?, block)
    }
}

// SAFETY: the pointer stays valid for bytes_total() bytes as long as the block lives, wherever it is moved.
unsafe impl IoBufMut for Block {
    fn write_ptr(&mut self) -> *mut u8 {
        self.as_ptr()
    }
    fn bytes_total(&mut self) -> usize {
        self.len()
    }
    unsafe fn set_init(&mut self, _: usize) {} // a Block is initialised from the start
}

impl Serve for Monoio {
    fn serve(listener: TcpListener, buffer_bytes: usize) {
        let mut ring = io_uring::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun();
        // More entries than by default, which 1,000 connections fill.
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(4096).uring_builder(ring);
        builder.build().expect("a runtime").block_on(async move {
            let listener = monoio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                monoio::spawn(echo(stream, buffer_bytes));
            }
        })
    }
}

async fn echo(mut stream: TcpStream, buffer_bytes: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(buffer_bytes); // reads fill it from its start
    loop {
        let (count, filled) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let (written, emptied) = stream.write_all(filled).await;
        written?;
        buffer = emptied;
    }
}
