// SPDX-License-Identifier: MIT
//! tokio's current_thread runtime. It has no asynchronous disk I/O: its own files read on a thread pool too.

use super::{Cross, Runtime, Serve, whole};
use crate::block::Block;
use crate::cross::{Message, pin};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub struct Tokio;

/// tokio::spawn wants Send although this runtime has one thread. spawn_local would do without, but a LocalSet adds a
/// second scheduler between the task and the runtime, and would be unfair to it.
struct OneThread<F>(F);

// SAFETY: only made in spawn() below, on the thread that runs the current_thread runtime, polls and drops its tasks.
unsafe impl<F> Send for OneThread<F> {}

impl<F: Future> Future for OneThread<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the field is pinned with its owner and never moved out.
        unsafe { self.map_unchecked_mut(|s| &mut s.0) }.poll(context)
    }
}

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;
    type File = Arc<File>;

    fn run(work: impl Future<Output = ()> + 'static) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        // block_on's own future is woken by a slower path than a task's
        runtime.block_on(async { Self::spawn(work).await.expect("the benchmark") })
    }

    #[allow(refining_impl_trait)]
    fn spawn<F: Future<Output = ()> + 'static>(work: F) -> tokio::task::JoinHandle<()> {
        tokio::spawn(OneThread(work))
    }

    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mpsc::channel(capacity)
    }

    fn send(to: &mut Self::Sender, value: u64) -> impl Future {
        to.send(value)
    }

    fn recv(from: &mut Self::Receiver) -> impl Future<Output = Option<u64>> {
        from.recv()
    }

    async fn open(path: &str) -> io::Result<Arc<File>> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).map(Arc::new)
    }

    async fn read(file: &Arc<File>, into: Block, at: u64) -> io::Result<Block> {
        let file = file.clone();
        let job = move || {
            // SAFETY: the block is this long, and owned by this closure.
            let bytes = unsafe { std::slice::from_raw_parts_mut(into.as_ptr(), into.len()) };
            file.read_at(bytes, at).and_then(|n| whole(n, into))
        };
        tokio::task::spawn_blocking(job).await.expect("the job")
    }
}

/// tokio's channels work between any two threads.
impl Cross for Tokio {
    type FarSender = mpsc::Sender<Message>;
    type FarReceiver = mpsc::Receiver<Message>;
    type HereSender = mpsc::Sender<Message>;
    type HereReceiver = mpsc::Receiver<Message>;

    fn far_channel(capacity: usize) -> (Self::FarSender, Self::FarReceiver) {
        mpsc::channel(capacity)
    }

    async fn sender(far: Self::FarSender) -> Self::HereSender {
        far
    }

    async fn receiver(far: Self::FarReceiver) -> Self::HereReceiver {
        far
    }

    async fn far_send(to: &mut Self::HereSender, message: Message) {
        to.send(message).await.expect("the receiver is there");
    }

    async fn far_recv(from: &mut Self::HereReceiver) -> Option<Message> {
        from.recv().await
    }

    fn run_on(cpu: usize, work: impl Future<Output = ()> + 'static) {
        pin(cpu);
        Self::run(work)
    }
}

impl Serve for Tokio {
    fn serve(listener: TcpListener, buffer_bytes: usize) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let accept = async move {
            listener.set_nonblocking(true).expect("a socket");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(echo(stream, buffer_bytes));
            }
        };
        // as in run(): not in block_on's own future
        runtime.block_on(async { tokio::spawn(accept).await.expect("accepting") })
    }
}

async fn echo(mut stream: TcpStream, buffer_bytes: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; buffer_bytes];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
