// SPDX-License-Identifier: MIT
//! The work, written once over `Runtime`. Counts are chosen so that a run takes a tenth of a second or so: the
//! comparison takes many short runs, not one long one.

use crate::block::Block;
use crate::runtimes::Runtime;
use crate::stats::{cpu_ns, percentile};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TASKS: usize = 1000;

fn print_ns<R: Runtime>(bench: &str, extra: &str, took: Duration, count: usize) {
    let ns = took.as_nanos() as f64 / count as f64;
    println!("{{\"bench\":\"{bench}\",\"runtime\":\"{}\"{extra},\"ns\":{ns:.2}}}", R::NAME);
}

/// A thousand tasks take turns.
pub async fn yields<R: Runtime>() {
    const TURNS: usize = 3000;
    async fn one<R: Runtime>(turns: usize) {
        for _ in 0..turns {
            R::yield_now().await;
        }
    }
    let mut took = Duration::ZERO;
    for turns in [TURNS / 10, TURNS] {
        let start = Instant::now();
        let tasks: Vec<_> = (0..TASKS).map(|_| R::spawn(one::<R>(turns))).collect();
        for task in tasks {
            let _ = task.await;
        }
        took = start.elapsed(); // of the last round; the first one warms up
    }
    print_ns::<R>("yield", ",\"tasks\":1000", took, TASKS * TURNS);
}

/// A thousand empty tasks are started, then joined, again and again.
pub async fn spawn_join<R: Runtime>() {
    const ROUNDS: usize = 1000;
    let mut tasks = Vec::with_capacity(TASKS);
    let mut start = Instant::now();
    for round in 0..ROUNDS + ROUNDS / 10 {
        if round == ROUNDS / 10 {
            start = Instant::now(); // allocators and queues are warm by now
        }
        tasks.extend((0..TASKS).map(|_| R::spawn(async {})));
        for task in tasks.drain(..) {
            let _ = task.await;
        }
    }
    print_ns::<R>("spawn_join", "", start.elapsed(), ROUNDS * TASKS);
}

/// One empty task is started and waited for: start, switch, finish, wake, switch back.
pub async fn spawn_one<R: Runtime>() {
    const COUNT: usize = 1_000_000;
    let mut start = Instant::now();
    for i in 0..COUNT + COUNT / 10 {
        if i == COUNT / 10 {
            start = Instant::now();
        }
        let _ = R::spawn(async {}).await;
    }
    print_ns::<R>("spawn_one", "", start.elapsed(), COUNT);
}

/// One task sends numbers to another through a bounded channel of 128.
pub async fn channel<R: Runtime>() {
    const COUNT: u64 = 5_000_000;
    let (mut tx, mut rx) = R::channel(128);
    let start = Instant::now();
    let sender = R::spawn(async move {
        for i in 0..COUNT {
            let _ = R::send(&mut tx, i).await; // a lost one would show in the receiver's sum
        }
    });
    let receiver = R::spawn(async move {
        let (mut count, mut sum) = (0, 0); // a check that costs every runtime the same half nanosecond
        while let Some(value) = R::recv(&mut rx).await {
            count += 1;
            sum += value;
        }
        assert_eq!((count, sum), (COUNT, COUNT * (COUNT - 1) / 2));
    });
    let _ = sender.await;
    let _ = receiver.await;
    print_ns::<R>("chan", "", start.elapsed(), COUNT as usize);
}

/// How late a sleep ends on an idle thread.
pub async fn timers<R: Runtime>() {
    for (ms, count) in [(1, 300), (10, 100), (100, 20)] {
        let wanted = Duration::from_millis(ms);
        let mut late_ns = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            R::sleep(wanted).await;
            late_ns.push(start.elapsed().as_nanos() as i64 - wanted.as_nanos() as i64);
        }
        late_ns.sort_unstable();
        let us = |fraction| percentile(&late_ns, fraction) as f64 / 1e3;
        let (min, p50, p99, max) = (us(0.0), us(0.5), us(0.99), us(1.0));
        println!(
            "{{\"bench\":\"timer\",\"runtime\":\"{}\",\"ms\":{ms},\"mode\":\"parked\",\"min_us\":{min:.1},\
             \"p50_us\":{p50:.1},\"p99_us\":{p99:.1},\"max_us\":{max:.1}}}",
            R::NAME
        );
    }
}

#[derive(Clone)]
pub struct ReadPlan {
    pub path: String,
    pub depth: usize,
    pub block: usize,
    pub time: Duration,
}

/// Random reads with O_DIRECT, one task for each of `depth` in flight, every latency kept.
pub async fn reads<R: Runtime>(plan: ReadPlan) {
    let file = R::open(&plan.path).await.unwrap_or_else(|e| panic!("{}: {e}", plan.path));
    let blocks = target_bytes(&plan.path) / plan.block as u64;
    assert!(blocks > 0, "{}: smaller than one block", plan.path);
    let took_ns = Rc::new(RefCell::new(Vec::<u32>::with_capacity(1 << 22)));
    let (cpu, start) = (cpu_ns(), Instant::now());
    let one = |seed: usize| {
        let (file, took_ns, plan) = (file.clone(), took_ns.clone(), plan.clone());
        async move {
            let mut random = seed as u64;
            let mut block = Block::new(plan.block);
            let mut asked = Instant::now();
            while asked.duration_since(start) < plan.time {
                // splitmix64: seeds that differ by one give unrelated sequences
                random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let index = (u128::from(mixed ^ (mixed >> 31)) * u128::from(blocks)) >> 64;
                let at = index as u64 * plan.block as u64;
                block =
                    R::read(&file, block, at).await.unwrap_or_else(|e| panic!("read at {at}: {e}"));
                let now = Instant::now();
                took_ns.borrow_mut().push(now.duration_since(asked).as_nanos() as u32);
                asked = now;
            }
        }
    };
    let tasks: Vec<_> = (0..plan.depth).map(|seed| R::spawn(one(seed))).collect();
    for task in tasks {
        let _ = task.await;
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64);
    let mut took_ns = took_ns.take();
    took_ns.sort_unstable();
    let done = took_ns.len() as f64;
    let us = |fraction| f64::from(percentile(&took_ns, fraction)) / 1e3;
    println!(
        "{{\"bench\":\"read\",\"runtime\":\"{}\",\"path\":{:?},\"depth\":{},\"block\":{},\"iops\":{:.0},\"ns\":{:.1},\
         \"cpu_ns\":{:.1},\"p50_us\":{:.2},\"p99_us\":{:.2}}}",
        R::NAME,
        plan.path,
        plan.depth,
        plan.block,
        done / seconds,
        seconds * 1e9 / done,
        cpu / done,
        us(0.5),
        us(0.99)
    );
}

/// Of a file or a block device alike.
fn target_bytes(path: &str) -> u64 {
    use std::io::{Seek, SeekFrom};
    let end = std::fs::File::open(path).and_then(|mut f| f.seek(SeekFrom::End(0)));
    end.unwrap_or_else(|e| panic!("{path}: {e}"))
}
