// SPDX-License-Identifier: MIT
//! Micro benchmarks of Rust's runtimes: one thread, the same work for each, one JSON object a line with the field
//! names of torc-micro. Pin it from outside (taskset -c N).
//!
//! ```text
//! rival RUNTIME BENCH… [--path FILE] [--depth N] [--block BYTES] [--seconds S]
//! RUNTIME: tokio monoio glommio compio     BENCH: yield spawn_join spawn_one chan timer read
//! ```
//!
//! A runtime joins by implementing `runtimes::Runtime`; the work itself is written once, in `bench.rs`, and compiled
//! for each, so that no runtime is measured on code that another did not have to run.

mod bench;
mod block;
mod runtimes;
mod stats;

use bench::ReadPlan;
use runtimes::Runtime;
use std::process::exit;
use std::time::Duration;

fn usage(why: &str) -> ! {
    eprintln!("rival: {why}");
    eprintln!("rival RUNTIME BENCH... [--path FILE] [--depth N] [--block BYTES] [--seconds S]");
    eprintln!("RUNTIME: tokio monoio glommio compio (as built)");
    eprintln!("BENCH: yield spawn_join spawn_one chan timer read");
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

fn main() {
    let mut words = Vec::new();
    let mut read =
        ReadPlan { path: String::new(), depth: 128, block: 4096, time: Duration::from_secs(1) };
    let mut args = std::env::args().skip(1);
    while let Some(word) = args.next() {
        match word.as_str() {
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
