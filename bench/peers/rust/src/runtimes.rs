// SPDX-License-Identifier: MIT
//! What a runtime must offer to be measured. Each one is set up the way its own documentation recommends for one
//! thread a core, with the cheapest path it has for each operation.

use crate::block::Block;
use crate::cross::Message;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

#[cfg(feature = "compio")]
pub mod compio;
#[cfg(feature = "glommio")]
pub mod glommio;
#[cfg(feature = "monoio")]
pub mod monoio;
#[cfg(feature = "tokio")]
pub mod tokio;

pub trait Runtime: 'static {
    const NAME: &'static str;
    type Sender: 'static;
    type Receiver: 'static;
    type File: Clone + 'static;

    /// Runs the work to its end on this thread, in the place where the runtime polls fastest.
    fn run(work: impl Future<Output = ()> + 'static);
    /// The handle completes when the task has ended.
    fn spawn<F: Future<Output = ()> + 'static>(work: F) -> impl Future;
    fn yield_now() -> impl Future<Output = ()>;
    fn sleep(time: Duration) -> impl Future<Output = ()>;

    fn channel(capacity: usize) -> (Self::Sender, Self::Receiver);
    // The channels' own futures, not wrapped: a wrapper cost some of them a tenth.
    fn send(to: &mut Self::Sender, value: u64) -> impl Future;
    /// None once the sender is gone and the channel is empty.
    fn recv(from: &mut Self::Receiver) -> impl Future<Output = Option<u64>>;

    /// For reading, with O_DIRECT.
    fn open(path: &str) -> impl Future<Output = io::Result<Self::File>>;
    /// Fills the whole block, or fails.
    fn read(file: &Self::File, into: Block, at: u64) -> impl Future<Output = io::Result<Block>>;
}

/// A runtime with a channel from one executor to another.
pub trait Cross: Runtime {
    type FarSender: Send + 'static; // on its way to its thread
    type FarReceiver: Send + 'static;
    type HereSender: 'static; // at work there
    type HereReceiver: 'static;

    fn far_channel(capacity: usize) -> (Self::FarSender, Self::FarReceiver);
    fn sender(far: Self::FarSender) -> impl Future<Output = Self::HereSender>;
    fn receiver(far: Self::FarReceiver) -> impl Future<Output = Self::HereReceiver>;
    fn far_send(to: &mut Self::HereSender, message: Message) -> impl Future<Output = ()>;
    /// None once the sender is gone and the channel is empty.
    fn far_recv(from: &mut Self::HereReceiver) -> impl Future<Output = Option<Message>>;
    /// Runs the work to its end on this thread, on this CPU; idle, it spins before it sleeps if it can.
    fn run_on(cpu: usize, work: impl Future<Output = ()> + 'static);
}

/// A runtime as an echo server. Each is written as its own documentation writes one, with a buffer and a task for each
/// connection: a common shape would be a wrapper, and cost some of them a tenth.
pub trait Serve {
    /// Accepts and echoes on this thread for ever.
    fn serve(listener: TcpListener, buffer_bytes: usize);
}

/// A benchmark that reads less than it asked for measures something else.
#[allow(dead_code)]
fn whole(read: usize, block: Block) -> io::Result<Block> {
    if read == block.len() { Ok(block) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
