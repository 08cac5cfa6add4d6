// SPDX-License-Identifier: MIT
//! What a runtime must offer to be measured. Each one is set up the way its own documentation recommends for one
//! thread a core, with the cheapest path it has for each operation.

use crate::block::Block;
use std::io;
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

/// A benchmark that reads less than it asked for measures something else.
#[allow(dead_code)]
fn whole(read: usize, block: Block) -> io::Result<Block> {
    if read == block.len() { Ok(block) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
