// SPDX-License-Identifier: MIT
//! glommio's local executor, unplaced: the CPU is chosen from outside. Its default does not spin before it parks.

use super::{Cross, Runtime, Serve, whole};
use crate::block::Block;
use crate::cross::{Message, pin};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded};
use glommio::channels::shared_channel::{
    self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
};
use glommio::io::DmaFile;
use glommio::net::TcpStream;
use glommio::{LocalExecutorBuilder, Placement};
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::time::Duration;

pub struct Glommio;

impl Runtime for Glommio {
    const NAME: &'static str = "glommio";
    type Sender = LocalSender<u64>;
    type Receiver = LocalReceiver<u64>;
    type File = Rc<DmaFile>;

    fn run(work: impl Future<Output = ()> + 'static) {
        // The default depth of 128 would leave no room beside 128 reads in flight.
        let builder = LocalExecutorBuilder::new(Placement::Unbound).ring_depth(1024);
        builder.make().expect("an executor").run(async { glommio::spawn_local(work).await })
    }

    fn spawn<F: Future<Output = ()> + 'static>(work: F) -> impl Future {
        glommio::spawn_local(work)
    }

    async fn yield_now() {
        glommio::executor().yield_now().await
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        glommio::timer::sleep(time)
    }

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver) {
        new_bounded(capacity)
    }

    fn send(to: &mut Self::Sender, value: u64) -> impl Future {
        to.send(value)
    }

    fn recv(from: &mut Self::Receiver) -> impl Future<Output = Option<u64>> {
        from.recv()
    }

    async fn open(path: &str) -> io::Result<Rc<DmaFile>> {
        Ok(Rc::new(DmaFile::open(path).await?))
    }

    /// glommio reads into buffers of its own, registered with the ring; the block only travels through.
    async fn read(file: &Rc<DmaFile>, into: Block, at: u64) -> io::Result<Block> {
        let read = file.read_at_aligned(at, into.len()).await?;
        whole(read.len(), into)
    }
}

impl Cross for Glommio {
    type FarSender = SharedSender<Message>;
    type FarReceiver = SharedReceiver<Message>;
    type HereSender = ConnectedSender<Message>;
    type HereReceiver = ConnectedReceiver<Message>;

    fn far_channel(capacity: usize) -> (Self::FarSender, Self::FarReceiver) {
        shared_channel::new_bounded(capacity)
    }

    fn sender(far: Self::FarSender) -> impl Future<Output = Self::HereSender> {
        far.connect()
    }

    fn receiver(far: Self::FarReceiver) -> impl Future<Output = Self::HereReceiver> {
        far.connect()
    }

    async fn far_send(to: &mut Self::HereSender, message: Message) {
        to.send(message).await.expect("the receiver is there");
    }

    async fn far_recv(from: &mut Self::HereReceiver) -> Option<Message> {
        from.recv().await
    }

    fn run_on(cpu: usize, work: impl Future<Output = ()> + 'static) {
        pin(cpu);
        let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .spin_before_park(Duration::from_millis(100));
        builder.make().expect("an executor").run(work)
    }
}

impl Serve for Glommio {
    fn serve(listener: TcpListener, buffer_bytes: usize) {
        let builder = LocalExecutorBuilder::new(Placement::Unbound).ring_depth(1024);
        builder.make().expect("an executor").run(async move {
            // SAFETY: the descriptor is a listening socket, and from here on nobody else's.
            let listener =
                unsafe { glommio::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
            loop {
                let stream = listener.accept().await.expect("a connection");
                glommio::spawn_local(echo(stream, buffer_bytes)).detach();
            }
        })
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
