//! What wakes a task: bytes, room, a departure, a death, a flag; and which task.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Broken, CloseError, PeekError, ReserveError, Ring, Role, WaitError};

use crate::common::{
    End, Exec, Fork, Task, alone, exit_now, kill_self, once_asleep, options, part, until,
};
use crate::{broken, pair, poll_once, reactor, ring};

/// What the other process does with its end, once this one waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Close,
    Abort,
    Exit,
    Kill,
}

fn end_as(ending: Ending, role: Role, ring: Ring) {
    let end = || {
        Task::parent().until_asleep();
        match ending {
            Ending::Kill => kill_self(),
            Ending::Exit => exit_now(0),
            Ending::Close | Ending::Abort => {}
        }
    };
    match role {
        Role::Producer => {
            let mut producer = ring.into_producer().unwrap();
            end();
            if ending == Ending::Abort {
                producer.abort();
            }
        }
        Role::Consumer => {
            let _consumer = ring.into_consumer().unwrap();
            end();
        }
    }
}

/// Has `wait` wait for a peer that ends so, and gives its error.
fn peer_ends(role: Role, ending: Ending, wait: impl FnOnce(Ring)) {
    let mut ring = Some(ring(4096));
    let mut child = Fork::new(|| end_as(ending, role, ring.take().unwrap()));
    wait(ring.take().unwrap());
    let end = match ending {
        Ending::Kill => End::Signal(libc::SIGKILL),
        _ => End::Exit(0),
    };
    assert_eq!(child.wait(), end);
}

#[track_caller]
fn assert_died(error: &std::io::Error, role: Role) {
    let broken = broken(error);
    assert!(
        matches!(broken, Broken::Died { role: who, .. } if who == role),
        "{broken}"
    );
}

#[test]
fn an_end_of_the_producer_ends_a_read() {
    alone("waking::an_end_of_the_producer_ends_a_read", || {
        for ending in [Ending::Close, Ending::Abort, Ending::Exit, Ending::Kill] {
            peer_ends(Role::Producer, ending, |ring| {
                let mut consumer = AsyncConsumer::new(ring.into_consumer().unwrap());
                let read = block_on(consumer.read(&mut [0]));
                match ending {
                    Ending::Close => assert_eq!(read.unwrap(), 0),
                    Ending::Abort => {
                        assert_eq!(broken(&read.unwrap_err()), Broken::ProducerAborted);
                    }
                    Ending::Exit | Ending::Kill => {
                        assert_died(&read.unwrap_err(), Role::Producer);
                        // For good, and at once.
                        let again = block_on(consumer.read(&mut [0]));
                        assert_died(&again.unwrap_err(), Role::Producer);
                    }
                }
            });
        }
    });
}

#[test]
fn an_end_of_the_consumer_ends_a_write_and_closed() {
    alone(
        "waking::an_end_of_the_consumer_ends_a_write_and_closed",
        || {
            for ending in [Ending::Close, Ending::Exit, Ending::Kill] {
                for waits_for_room in [true, false] {
                    peer_ends(Role::Consumer, ending, |ring| {
                        let mut producer = AsyncProducer::new(ring.into_producer().unwrap());
                        let error = if waits_for_room {
                            block_on(producer.write_all(&[7; 10_000])).unwrap_err()
                        } else {
                            block_on(producer.closed())
                        };
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                        match ending {
                            Ending::Close => assert_eq!(broken(&error), Broken::ConsumerClosed),
                            _ => assert_died(&error, Role::Consumer),
                        }
                    });
                }
            }
        },
    );
}

#[test]
fn bytes_before_a_death_come_before_its_error() {
    alone("waking::bytes_before_a_death_come_before_its_error", || {
        let mut ring = Some(ring(4096));
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            Task::parent().until_asleep();
            producer.write_all(b"last words").unwrap();
            exit_now(0);
        });
        let mut consumer = AsyncConsumer::new(ring.take().unwrap().into_consumer().unwrap());
        let mut bytes = Vec::new();
        let error = block_on(consumer.read_to_end(&mut bytes)).unwrap_err();
        assert_eq!(bytes, b"last words");
        assert_died(&error, Role::Producer);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_peer_that_never_comes_ends_a_wait() {
    alone("waking::a_peer_that_never_comes_ends_a_wait", || {
        let mut consumer = AsyncConsumer::new(ring(4096).into_consumer().unwrap());
        let error = block_on(consumer.read(&mut [0])).unwrap_err();
        let role = Role::Producer;
        assert_eq!(broken(&error), Broken::NeverCame { role });
    });
}

#[test]
fn a_cancel_flag_ends_a_wait() {
    let flag = Arc::new(AtomicBool::new(false));
    let ring = options()
        .cancel_on(Arc::clone(&flag))
        .create_anonymous()
        .unwrap();
    let (_producer, consumer) = ring.split().unwrap();
    let mut consumer = AsyncConsumer::new(consumer);
    let (read, ()) = once_asleep(
        || block_on(consumer.read(&mut [0])),
        |_| flag.store(true, Ordering::SeqCst),
    );
    let error = read.unwrap_err();
    assert_eq!(WaitError::find(&error), Some(&WaitError::Cancelled));
}

#[test]
fn the_last_waker_is_woken() {
    let (mut producer, mut consumer) = pair(4096);
    let (first, last) = (Arc::default(), Arc::default());
    assert!(poll_once(consumer.read(&mut [0]), &first).is_pending());
    assert!(poll_once(consumer.read(&mut [0]), &last).is_pending());
    block_on(producer.write_all(b"x")).unwrap();
    until(|| last.get() == 1);
    assert_eq!(first.get(), 0);
    assert!(poll_once(consumer.read(&mut [0]), &last).is_ready());
}

#[test]
fn a_call_that_waits_is_polled_when_there_is_something_only() {
    alone(
        "waking::a_call_that_waits_is_polled_when_there_is_something_only",
        || {
            let (mut producer, mut consumer) = pair(4096);
            let count = Arc::default();
            assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
            reactor::sleeps_again(15);
            assert_eq!(count.get(), 0);
            block_on(producer.write_all(b"x")).unwrap();
            until(|| count.get() == 1);
        },
    );
}

#[test]
fn a_panic_in_a_waker_is_its_own() {
    #[derive(Default)]
    struct Panics(AtomicBool);
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            panic!("on purpose");
        }
    }
    let (mut producer, mut consumer) = pair(4096);
    let panics = Arc::new(Panics::default());
    let waker = std::task::Waker::from(Arc::clone(&panics));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(consumer.poll_readable(&mut context, 1).is_pending());
    block_on(producer.write_all(b"x")).unwrap();
    until(|| panics.0.load(Ordering::SeqCst));
    assert_eq!(block_on(consumer.read(&mut [0])).unwrap(), 1);
    // There is still somebody to wake others.
    let count = Arc::default();
    assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
    block_on(producer.write_all(b"x")).unwrap();
    until(|| count.get() == 1);
}

#[test]
fn readable_and_writable_wait_for_as_much_as_is_asked_for() {
    alone(
        "waking::readable_and_writable_wait_for_as_much_as_is_asked_for",
        || {
            let (mut producer, mut consumer) = pair(4096);
            let count = Arc::default();
            assert!(poll_once(consumer.readable(10), &count).is_pending());
            block_on(producer.write_all(b"12345")).unwrap();
            reactor::sleeps_again(3);
            assert_eq!(count.get(), 0, "five bytes are not ten");
            block_on(producer.write_all(b"67890")).unwrap();
            until(|| count.get() == 1);
            block_on(consumer.readable(10)).unwrap();
            assert_eq!(consumer.get_mut().try_peek(10).unwrap().len(), 10);
            let error = block_on(consumer.readable(5000)).unwrap_err();
            let (wanted, capacity) = (5000, 4096);
            let inner = error.get_ref().unwrap().downcast_ref();
            assert_eq!(inner, Some(&PeekError::TooLong { wanted, capacity }));

            assert!(poll_once(producer.writable(4090), &count).is_pending());
            consumer.get_mut().try_peek(4).unwrap().consume_all();
            until(|| count.get() == 2);
            block_on(producer.writable(4090)).unwrap();
            producer.get_mut().try_reserve(4090).unwrap().commit_all();
            let error = block_on(producer.writable(5000)).unwrap_err();
            let inner = error.get_ref().unwrap().downcast_ref();
            assert_eq!(inner, Some(&ReserveError::TooLong { wanted, capacity }));

            producer.get_mut().close().unwrap();
            block_on(consumer.readable(4096)).unwrap();
            consumer.get_mut().try_peek(4000).unwrap().consume_all();
            let error = block_on(consumer.readable(97)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        },
    );
}

#[test]
fn parts_are_written_and_read_in_one() {
    let (mut producer, mut consumer) = pair(4096);
    let count = Arc::default();
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    assert!(poll_once(consumer.read_vectored(&mut parts), &count).is_pending());
    let (mut first, mut second) = ([0; 3], [0; 4000]);
    let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    let parts_in = [IoSlice::new(&[1; 1000]), IoSlice::new(&[2; 4000])];
    assert_eq!(block_on(producer.write_vectored(&parts_in)).unwrap(), 4096);
    assert!(poll_once(producer.write_vectored(&parts_in), &count).is_pending());
    assert_eq!(block_on(producer.write_vectored(&[])).unwrap(), 0);
    assert_eq!(block_on(consumer.read_vectored(&mut parts)).unwrap(), 4003);
    assert_eq!((first, second[996], second[997]), ([1; 3], 1, 2));
    assert_eq!(block_on(producer.write_vectored(&parts_in)).unwrap(), 4003);
    block_on(producer.close()).unwrap();
    let mut rest = Vec::new();
    assert_eq!(block_on(consumer.read_to_end(&mut rest)).unwrap(), 4096);
    let mut none = [IoSliceMut::new(&mut first)];
    assert_eq!(block_on(consumer.read_vectored(&mut none)).unwrap(), 0);
}

#[test]
fn a_wait_for_room_and_a_flush_publish_a_batch() {
    let (mut producer, mut consumer) = pair(4096);
    producer.get_mut().set_batch(8192);
    let count = Arc::default();
    block_on(producer.write_all(b"held back")).unwrap();
    assert_eq!(consumer.get_mut().available().unwrap(), 0);
    block_on(producer.flush()).unwrap();
    assert_eq!(consumer.get_mut().available().unwrap(), 9);
    block_on(producer.write_all(&[7; 4087])).unwrap();
    assert!(poll_once(producer.write(b"x"), &count).is_pending());
    assert_eq!(consumer.get_mut().available().unwrap(), 4096);
}

/// A wait for the departure leaves a peer that reads and stays alone.
#[test]
fn closed_is_not_woken_by_room() {
    alone("waking::closed_is_not_woken_by_room", || {
        let (mut producer, mut consumer) = pair(4096);
        block_on(producer.write_all(&[7; 4096])).unwrap();
        let count = Arc::default();
        assert!(poll_once(producer.closed(), &count).is_pending());
        block_on(consumer.read_exact(&mut [0; 4096])).unwrap();
        reactor::sleeps_again(3);
        assert_eq!(count.get(), 0);
        assert_eq!(consumer.get_ref().stats().wakes, 0);
        drop(consumer);
        until(|| count.get() == 1);
        let Poll::Ready(error) = poll_once(producer.closed(), &count) else {
            panic!("the consumer has left");
        };
        assert_eq!(broken(&error), Broken::ConsumerClosed);
        block_on(producer.close()).unwrap();
        assert_eq!(broken(&block_on(producer.closed())), Broken::Closed);
    });
}

/// The blocking calls work in between, and after.
#[test]
fn a_handle_comes_back_whole() {
    let (producer, mut consumer) = pair(4096);
    let mut producer = producer.into_inner();
    let count = Arc::default();
    assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
    producer.write_all(b"one").unwrap();
    let mut bytes = [0; 3];
    consumer.get_mut().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one");
    assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
    let mut consumer = consumer.into_inner();
    let (read, ()) = once_asleep(
        || consumer.read_exact(&mut bytes),
        |_| producer.write_all(b"two").unwrap(),
    );
    read.unwrap();
    assert_eq!(&bytes, b"two");
}

#[test]
fn close_waits_for_a_spawned_child_without_blocking() {
    const NAME: &str = "waking::close_waits_for_a_spawned_child_without_blocking";
    if let Some(part) = part() {
        assert_eq!(part, "late");
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).unwrap(); // until the parent waits
        let mut consumer = shmpipe::Consumer::from_parent().unwrap();
        consumer.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"for the child");
        return;
    }
    let mut command = Exec::command(NAME, "late");
    let (producer, mut child) = ring(4096)
        .spawn_consumer(command.stdin(Stdio::piped()))
        .unwrap();
    let gate = child.stdin.take();
    let mut child = Exec::from(child);
    let mut producer = AsyncProducer::new(producer);
    block_on(producer.write_all(b"for the child")).unwrap();
    assert!(poll_once(producer.close(), &Arc::default()).is_pending());
    let (closed, ()) = once_asleep(|| block_on(producer.close()), |_| drop(gate));
    closed.unwrap();
    assert!(child.wait().success());

    let mut command = std::process::Command::new("true");
    let (producer, child) = ring(4096).spawn_consumer(&mut command).unwrap();
    let mut producer = AsyncProducer::new(producer);
    let _child = Exec::from(child);
    block_on(producer.write_all(b"nobody's")).unwrap();
    let error = block_on(producer.close()).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref();
    assert_eq!(inner, Some(&CloseError::NeverCame { unread: 8 }));
}

/// Found by reading: closing a handle that had aborted was a success.
#[test]
fn closing_after_an_abort_says_so() {
    let (mut producer, _consumer) = shmpipe::pair().unwrap();
    producer.abort();
    let mut producer = AsyncProducer::new(producer);
    let error = block_on(producer.close()).unwrap_err();
    assert_eq!(Broken::find(&error), Some(&Broken::Closed));
    let mut producer = AsyncProducer::new(shmpipe::pair().unwrap().0);
    for _ in 0..2 {
        block_on(producer.close()).unwrap(); // the second has no effect
    }
}
