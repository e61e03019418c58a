//! Rings that stay until they are removed: who comes later goes on where the
//! last one stopped. And removing, of these and of others.

mod looking;
mod removing;
mod roles;
mod streams;

use std::io::{Read, Write};

use shmpipe::{Consumer, Options, Producer, Snapshot};

use crate::common::{End, Fork, PATIENCE, TempPath, options, page, until};

fn persistent() -> Options {
    let mut options = options();
    options.persistent(true).capacity(page());
    options
}

fn writer(path: &TempPath) -> Producer {
    persistent().open_producer(path).unwrap()
}

fn reader(path: &TempPath) -> Consumer {
    persistent().open_consumer(path).unwrap()
}

/// One writer's stay.
fn write(path: &TempPath, bytes: &[u8]) {
    let mut producer = writer(path);
    producer.write_all(bytes).unwrap();
    producer.close().unwrap();
}

/// One reader's stay, up to the end of the stream.
#[track_caller]
fn read(path: &TempPath) -> Vec<u8> {
    read_on(&mut reader(path))
}

#[track_caller]
fn read_on(consumer: &mut Consumer) -> Vec<u8> {
    // No test waits for more than is there.
    consumer.set_timeout(Some(PATIENCE));
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Kills `child` once the ring of `path` is as wanted.
fn kill_when(child: &mut Fork, path: &TempPath, is_so: impl Fn(Snapshot) -> bool) {
    until(|| {
        path.segment()
            .and_then(|id| Snapshot::of(id).ok())
            .is_some_and(&is_so)
    });
    child.kill();
    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
}
