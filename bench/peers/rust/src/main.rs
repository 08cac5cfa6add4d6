// SPDX-License-Identifier: MIT
//! Micro benchmarks of Rust's runtimes: one thread, the same work for each, one JSON object a line with the field
//! names of torc-micro. Pin it from outside (taskset -c N); xchan and call pin two threads themselves.
//!
//! ```text
//! rival RUNTIME BENCH… [--path FILE] [--depth N] [--block BYTES] [--seconds S] [--cpus A,B]
//! RUNTIME: tokio monoio glommio compio     BENCH: yield spawn_join spawn_one chan timer read
//! RUNTIME: tokio glommio                   BENCH: xchan call
//!
//! rival RUNTIME echo PORT [--buffer BYTES]      serves 127.0.0.1 until it is killed
//! ```
//!
//! A runtime joins by implementing `runtimes::Runtime`; the work itself is written once, in `bench.rs`, and compiled
//! for each, so that no runtime is measured on code that another did not have to run.

mod bench;
mod block;
mod cross;
mod echo;
mod runtimes;
mod stats;

use bench::ReadPlan;
use runtimes::{Cross, Runtime, Serve};
use std::process::exit;
use std::time::Duration;

fn usage(why: &str) -> ! {
    eprintln!("rival: {why}");
    eprintln!("rival RUNTIME BENCH... [--path FILE] [--depth N] [--block BYTES] [--seconds S]");
    eprintln!("RUNTIME: tokio monoio glommio compio (as built)");
    eprintln!(
        "BENCH: yield spawn_join spawn_one chan timer read, of tokio and glommio also xchan call"
    );
    eprintln!("rival RUNTIME echo PORT [--buffer BYTES]");
    exit(2)
}

fn number<T: std::str::FromStr>(option: &str, text: Option<String>) -> T {
    let parsed = text.and_then(|t| t.parse().ok());
    parsed.unwrap_or_else(|| usage(&format!("{option} needs a number")))
}

fn run_all<R: Runtime>(names: &[String], read: &ReadPlan) {
    for name in names {
        match name.as_str() {
            "yield" => R::run(bench::yields::<R>()),
            "spawn_join" => R::run(bench::spawn_join::<R>()),
            "spawn_one" => R::run(bench::spawn_one::<R>()),
            "chan" => R::run(bench::channel::<R>()),
            "timer" => R::run(bench::timers::<R>()),
            "read" if read.path.is_empty() => usage("read needs --path"),
            "read" => R::run(bench::reads::<R>(read.clone())),
            other => usage(&format!("no benchmark is called {other}")),
        }
    }
}

/// Whether NAME was one of theirs.
fn run_cross<R: Cross>(name: &str, cpus: (usize, usize)) -> bool {
    match name {
        "xchan" => cross::one_way::<R>(cpus),
        "call" => cross::there_and_back::<R>(cpus),
        _ => return false,
    }
    true
}

fn serve(runtime: &str, port: u16, buffer: usize) {
    match runtime {
        #[cfg(feature = "tokio")]
        "tokio" => runtimes::tokio::Tokio::serve(echo::listen(port), buffer),
        #[cfg(feature = "monoio")]
        "monoio" => runtimes::monoio::Monoio::serve(echo::listen(port), buffer),
        #[cfg(feature = "glommio")]
        "glommio" => runtimes::glommio::Glommio::serve(echo::listen(port), buffer),
        #[cfg(feature = "compio")]
        "compio" => runtimes::compio::Compio::serve(echo::listen(port), buffer),
        other => usage(&format!("no runtime is called {other}")),
    }
}

fn two_cpus(text: Option<String>) -> (usize, usize) {
    let text = text.unwrap_or_default();
    let two = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    two.unwrap_or_else(|| usage("--cpus needs two numbers: 0,1"))
}

fn main() {
    let mut cpus = (0, 1);
    let mut buffer = 64 << 10;
    let mut words = Vec::new();
    let mut read =
        ReadPlan { path: String::new(), depth: 128, block: 4096, time: Duration::from_secs(1) };
    let mut args = std::env::args().skip(1);
    while let Some(word) = args.next() {
        match word.as_str() {
            "--buffer" => buffer = number(&word, args.next()),
            "--cpus" => cpus = two_cpus(args.next()),
            "--path" => read.path = args.next().unwrap_or_else(|| usage("--path needs a file")),
            "--depth" => read.depth = number(&word, args.next()),
            "--block" => read.block = number(&word, args.next()),
            "--seconds" => read.time = Duration::from_secs_f64(number(&word, args.next())),
            _ => words.push(word),
        }
    }
    let (Some(runtime), names) = (words.first(), words.get(1..).unwrap_or_default()) else {
        usage("which runtime?")
    };
    if let [name] = names {
        let done = match runtime.as_str() {
            #[cfg(feature = "tokio")]
            "tokio" => run_cross::<runtimes::tokio::Tokio>(name, cpus),
            #[cfg(feature = "glommio")]
            "glommio" => run_cross::<runtimes::glommio::Glommio>(name, cpus),
            _ => false,
        };
        if done {
            return;
        }
    }
    if let [name, port] = names
        && name == "echo"
    {
        let port = number("echo", Some(port.clone()));
        return serve(runtime, port, buffer);
    }
    match runtime.as_str() {
        #[cfg(feature = "tokio")]
        "tokio" => run_all::<runtimes::tokio::Tokio>(names, &read),
        #[cfg(feature = "monoio")]
        "monoio" => run_all::<runtimes::monoio::Monoio>(names, &read),
        #[cfg(feature = "glommio")]
        "glommio" => run_all::<runtimes::glommio::Glommio>(names, &read),
        #[cfg(feature = "compio")]
        "compio" => run_all::<runtimes::compio::Compio>(names, &read),
        other => usage(&format!("no runtime is called {other}")),
    }
}
