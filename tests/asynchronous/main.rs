//! The async handles: two processes on two executors, what wakes a task, what
//! a dropped future leaves, and the thread that waits for all.
#![allow(missing_docs)]
#![allow(unsafe_code)] // fork, futex, seccomp

mod cancel;
mod codec;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod foreign;
#[cfg(feature = "__failpoints")]
mod quiet_peers;
mod reactor;
mod waking;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use common::{broken, options};
use shmpipe::Ring;
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};

/// A ring of so many bytes, and a limit that turns a hang into an error.
fn ring(capacity: usize) -> Ring {
    options().capacity(capacity).create_anonymous().unwrap()
}

/// Both ends of one, in this process.
fn pair(capacity: usize) -> (AsyncProducer, AsyncConsumer) {
    let (producer, consumer) = ring(capacity).split().unwrap();
    (AsyncProducer::new(producer), AsyncConsumer::new(consumer))
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future that is made for it once, and drops it.
fn poll_once<F: Future>(future: F, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(count));
    pin!(future).poll(&mut Context::from_waker(&waker))
}
