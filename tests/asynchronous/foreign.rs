//! Wakers are foreign code. They panic, and so does the payload of their panic when it is
//! dropped. They call the crate again. A forked child must not run them.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use shmpipe::asynchronous::AsyncConsumer;

use crate::common::{End, Fork, alone, exit_now, until};
use crate::{Count, pair, poll_once};

/// What is asked of a waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Clone,
    Wake,
    Drop,
}

/// What a waker does when it is called.
type Answer = Box<dyn Fn(Call) + Send + Sync>;

const TABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: as for the calls below, `data` came from an `Arc` of this type, of which the
        // waker holds one count. This makes a pointer again of what is only borrowed.
        let answer = unsafe { Arc::from_raw(data.cast::<Answer>()) };
        let answer = std::mem::ManuallyDrop::new(answer);
        answer(Call::Clone);
        RawWaker::new(Arc::into_raw(Arc::clone(&answer)).cast(), &TABLE)
    },
    // SAFETY: as above; the waker's count is taken over.
    |data| unsafe { Arc::from_raw(data.cast::<Answer>()) }(Call::Wake),
    |_| unreachable!("nobody wakes by reference"),
    // SAFETY: as above.
    |data| unsafe { Arc::from_raw(data.cast::<Answer>()) }(Call::Drop),
);

/// A waker that answers so. This one itself is never dropped, as a task in an
/// executor is not.
fn waker(answer: impl Fn(Call) + Send + Sync + 'static) -> &'static Waker {
    let answer: Arc<Answer> = Arc::new(Box::new(answer));
    // SAFETY: the table's functions keep the counts of an `Arc<Answer>`.
    let waker = unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(answer).cast(), &TABLE)) };
    Box::leak(Box::new(waker))
}

/// Polls a read of `consumer` with `waker`, once.
fn poll_read(consumer: &mut AsyncConsumer, waker: &Waker) -> Poll<std::io::Result<usize>> {
    let mut byte = [0];
    pin!(consumer.read(&mut byte)).poll(&mut Context::from_waker(waker))
}

/// What panics when it is dropped, so often.
struct Bomb(usize);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

/// Has a handle wait with `waker`, wakes it and another one, and sees that the
/// other is woken, that each still works, and that later waits are woken too.
fn others_are_woken_beside(waker: &Waker) {
    let (mut producer, mut consumer) = pair(4096);
    let (mut other_producer, mut other) = pair(4096);
    for round in 1..=3 {
        let (count, late): (Arc<Count>, Arc<Count>) = (Arc::default(), Arc::default());
        assert!(poll_read(&mut consumer, waker).is_pending());
        assert!(poll_once(other.read(&mut [0]), &count).is_pending());
        block_on(producer.write_all(&[round])).unwrap();
        block_on(other_producer.write_all(&[round])).unwrap();
        until(|| count.get() == 1);
        let mut byte = [0];
        assert_eq!(block_on(other.read(&mut byte)).unwrap(), 1);
        assert_eq!(byte, [round]);
        assert_eq!(block_on(consumer.read(&mut byte)).unwrap(), 1);
        assert_eq!(byte, [round]);
        // With a waker like all others the handle is woken as all others are.
        assert!(poll_once(consumer.read(&mut [0]), &late).is_pending());
        block_on(producer.write_all(&[round])).unwrap();
        until(|| late.get() == 1);
        assert_eq!(block_on(consumer.read(&mut byte)).unwrap(), 1);
    }
}

/// Found from outside: the handle was noted as listed and never was.
#[test]
fn a_panic_of_a_clone_loses_no_wake() {
    alone("foreign::a_panic_of_a_clone_loses_no_wake", || {
        let panics = waker(|call| assert_ne!(call, Call::Clone, "a clone panics"));
        let (mut producer, mut consumer) = pair(4096);
        for round in 1..=3 {
            let polled = catch_unwind(AssertUnwindSafe(|| poll_read(&mut consumer, panics)));
            assert!(polled.is_err(), "the caller of the poll hears of it");
            let count = Arc::default();
            assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
            // And with one wait still armed.
            let polled = catch_unwind(AssertUnwindSafe(|| poll_read(&mut consumer, panics)));
            assert!(polled.is_err());
            let count = Arc::default();
            assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
            block_on(producer.write_all(&[round])).unwrap();
            until(|| count.get() == 1);
            let mut byte = [0];
            assert_eq!(block_on(consumer.read(&mut byte)).unwrap(), 1);
            assert_eq!(byte, [round]);
        }
    });
}

#[test]
fn a_panic_of_a_wake_keeps_nobody_else_waiting() {
    alone(
        "foreign::a_panic_of_a_wake_keeps_nobody_else_waiting",
        || {
            let panics = waker(|call| assert_ne!(call, Call::Wake, "a wake panics"));
            others_are_woken_beside(panics);
        },
    );
}

/// Found from outside: it ended the thread that waits for all.
#[test]
fn a_panic_of_the_drop_of_a_panic_keeps_nobody_else_waiting() {
    alone(
        "foreign::a_panic_of_the_drop_of_a_panic_keeps_nobody_else_waiting",
        || {
            for depth in 1..=3 {
                let panics = waker(move |call| {
                    if call == Call::Wake {
                        panic_any(Bomb(depth));
                    }
                });
                others_are_woken_beside(panics);
            }
        },
    );
}

#[test]
fn a_panic_of_the_drop_of_a_waker_breaks_nothing() {
    alone(
        "foreign::a_panic_of_the_drop_of_a_waker_breaks_nothing",
        || {
            let drops = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&drops);
            let panics = waker(move |call| {
                if call == Call::Drop {
                    counted.fetch_add(1, Ordering::SeqCst);
                    panic_any(Bomb(2));
                }
            });
            others_are_woken_beside(panics);
            let (mut producer, mut consumer) = pair(4096);
            // At the next poll, which reads what is there.
            assert!(poll_read(&mut consumer, panics).is_pending());
            drops.store(0, Ordering::SeqCst);
            block_on(producer.write_all(b"x")).unwrap();
            let read = catch_unwind(AssertUnwindSafe(|| block_on(consumer.read(&mut [0]))));
            assert_eq!(read.unwrap().unwrap(), 1);
            // When the handle is made a blocking one, and when it is dropped:
            // the stream ends in order, and is not broken off.
            let mut consumer = AsyncConsumer::new(consumer.into_inner());
            assert!(poll_read(&mut consumer, panics).is_pending());
            let mut consumer = AsyncConsumer::new(consumer.into_inner());
            assert!(
                pin!(producer.closed())
                    .poll(&mut Context::from_waker(panics))
                    .is_pending()
            );
            assert!(catch_unwind(AssertUnwindSafe(|| drop(producer))).is_ok());
            assert_eq!(block_on(consumer.read(&mut [0])).unwrap(), 0, "the end");
            assert!(drops.load(Ordering::SeqCst) >= 2, "its drop was called");
        },
    );
}

/// A waker that drops a handle, and that polls another: no lock of ours is held
/// while it runs.
#[test]
fn a_waker_may_come_back() {
    alone("foreign::a_waker_may_come_back", || {
        for at in [Call::Clone, Call::Wake, Call::Drop] {
            let (mut producer, mut consumer) = pair(4096);
            let (_kept, mut dropped) = pair(4096);
            let (mut polled_by, polled) = pair(4096);
            let (first, count): (Arc<Count>, Arc<Count>) = (Arc::default(), Arc::default());
            assert!(poll_once(dropped.read(&mut [0]), &first).is_pending());
            let (dropped, polled) = (Mutex::new(Some(dropped)), Arc::new(Mutex::new(polled)));
            let (came, again) = (Arc::new(AtomicBool::new(false)), Arc::clone(&polled));
            let (seen, counts) = (Arc::clone(&came), Arc::clone(&count));
            let comes_back = waker(move |call| {
                if call == at && !came.swap(true, Ordering::SeqCst) {
                    drop(dropped.lock().unwrap().take());
                    let mut polled = again.lock().unwrap();
                    assert!(poll_once(polled.read(&mut [0]), &counts).is_pending());
                }
            });
            assert!(poll_read(&mut consumer, comes_back).is_pending());
            if at == Call::Drop {
                let _ = consumer.get_mut(); // takes the handle back
            } else {
                block_on(producer.write_all(b"x")).unwrap();
            }
            until(|| seen.load(Ordering::SeqCst));
            block_on(polled_by.write_all(b"y")).unwrap();
            until(|| count.get() == 1);
            let mut polled = polled.lock().unwrap();
            assert_eq!(block_on(polled.read(&mut [0])).unwrap(), 1);
        }
    });
}

/// The locks of an executor may be held by threads that the child does not
/// have.
#[test]
fn a_forked_child_calls_no_waker() {
    alone("foreign::a_forked_child_calls_no_waker", || {
        let in_child = Arc::new(AtomicBool::new(false));
        let forked = Arc::clone(&in_child);
        let tells = waker(move |_| {
            if forked.load(Ordering::SeqCst) {
                exit_now(3);
            }
        });
        let (mut producer, consumer) = pair(4096);
        let mut consumer = Some(consumer);
        assert!(poll_read(consumer.as_mut().unwrap(), tells).is_pending());
        for into_inner in [false, true] {
            let mut child = Fork::new(|| {
                in_child.store(true, Ordering::SeqCst);
                let consumer = consumer.take().unwrap();
                if into_inner {
                    drop(consumer.into_inner());
                } else {
                    drop(consumer);
                }
            });
            assert_eq!(child.wait(), End::Exit(0));
        }
        block_on(producer.write_all(b"x")).unwrap();
        let mut consumer = consumer.unwrap();
        assert_eq!(block_on(consumer.read(&mut [0])).unwrap(), 1);
    });
}
