// SPDX-License-Identifier: MIT
//! Two threads on CPUs of their own, each with a runtime: messages one way, and there and back. For runtimes that have a
//! channel between executors.

use crate::runtimes::Cross;
use std::time::Instant;

const MESSAGES: u64 = 2_000_000;
const TRIPS: u64 = 20_000;
const CAPACITY: usize = 1024;

pub type Message = [u64; 8]; // 64 bytes

pub fn pin(cpu: usize) {
    // SAFETY: the set is initialised by zeroing, as CPU_ZERO does, and outlives the call.
    unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size_of_val(&one), &one);
    }
}

fn print<R: Cross>(bench: &str, start: Instant, count: u64) {
    let ns = start.elapsed().as_nanos() as f64 / count as f64;
    println!("{{\"bench\":\"{bench}\",\"runtime\":\"{}\",\"ns\":{ns:.2}}}", R::NAME);
}

/// Messages of 64 bytes from one thread to the other.
pub fn one_way<R: Cross>(cpus: (usize, usize)) {
    let (to, from) = R::far_channel(CAPACITY);
    let start = Instant::now();
    let taker = std::thread::spawn(move || {
        R::run_on(cpus.1, async move {
            let mut from = R::receiver(from).await;
            let mut sum = 0;
            while let Some(message) = R::far_recv(&mut from).await {
                sum += message[0];
            }
            assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
        })
    });
    R::run_on(cpus.0, async move {
        let mut to = R::sender(to).await;
        for i in 0..MESSAGES {
            R::far_send(&mut to, [i; 8]).await;
        }
    });
    taker.join().expect("the receiver");
    print::<R>("xchan", start, MESSAGES);
}

/// One message there, one back, as often as there is time: nobody has anything else to do.
pub fn there_and_back<R: Cross>(cpus: (usize, usize)) {
    let (ask, asked) = R::far_channel(1);
    let (answer, answered) = R::far_channel(1);
    let other = std::thread::spawn(move || {
        R::run_on(cpus.1, async move {
            let (mut from, mut to) = (R::receiver(asked).await, R::sender(answer).await);
            while let Some(message) = R::far_recv(&mut from).await {
                R::far_send(&mut to, message).await;
            }
        })
    });
    R::run_on(cpus.0, async move {
        let (mut to, mut from) = (R::sender(ask).await, R::receiver(answered).await);
        let start = Instant::now();
        for i in 0..TRIPS {
            R::far_send(&mut to, [i; 8]).await;
            let _ = R::far_recv(&mut from).await;
        }
        print::<R>("call", start, TRIPS);
    });
    other.join().expect("the other side");
}
