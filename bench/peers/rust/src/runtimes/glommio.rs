// SPDX-License-Identifier: MIT
//! glommio's local executor, unplaced: the CPU is chosen from outside. Its default does not spin before it parks.

use super::{Runtime, whole};
use crate::block::Block;
use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded};
use glommio::io::DmaFile;
use glommio::{LocalExecutorBuilder, Placement};
use std::io;
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
