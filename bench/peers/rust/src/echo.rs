// SPDX-License-Identifier: MIT
//! What every echo server starts with: a listener with room for bursts, and as many descriptors as are allowed.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;

const BACKLOG: i32 = 4096;

pub fn listen(port: u16) -> TcpListener {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => listener,
        Err(why) => {
            eprintln!("rival: 127.0.0.1:{port}: {why}");
            std::process::exit(1)
        }
    };
    // SAFETY: the limit is initialised and outlives the calls; to listen again only changes the backlog.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::listen(listener.as_raw_fd(), BACKLOG);
    }
    listener
}
