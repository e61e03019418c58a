//! Living peers are never taken for dead, roles are never had twice, and
//! nothing piles up.

mod leftovers;
mod living;
mod namespaces;
mod roles;

use std::io::Write;

use shmpipe::{Options, Producer};

use crate::common::{PATIENCE, not_run};

fn options() -> Options {
    let mut options = Options::new();
    options.capacity(4096).timeout(Some(PATIENCE));
    options
}

fn ready(producer: &mut Producer) {
    producer.write_all(&[1]).unwrap();
}

fn idle(mut producer: Producer) {
    ready(&mut producer);
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// Moves this process to namespaces of its own; `false`, with a note, where
/// that is not allowed.
fn unshare(flags: libc::c_int) -> bool {
    let moved = crate::common::unshare(flags);
    if !moved {
        not_run("no namespace of its own can be had");
    }
    moved
}
