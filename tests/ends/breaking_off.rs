//! A failed writer does not look whole: on any ring, if it says so.

use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use shmpipe::{Options, Producer};

use crate::common::options;
use crate::{Persistent, Told, assert_streams, take};

/// A writer that returns early, by `?`.
fn fails(mut producer: Producer) -> io::Result<()> {
    producer.write_all(b"one half")?;
    Err(io::Error::other("the source is gone"))?;
    producer.close().map_err(io::Error::from)
}

/// What a consumer is told after `act`, on a ring with one stream and on one
/// that persists.
fn told_after(options: &mut Options, act: impl Fn(Producer)) -> Told {
    let (producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
    act(producer);
    let (bytes, how) = take(&mut consumer);
    assert_eq!(bytes, b"one half");

    let mut ring = Persistent::new();
    options.persistent(true);
    ring.options = options.clone();
    options.persistent(false);
    act(ring.producer());
    let streams: [(&[u8], _); 1] = [(b"one half", how)];
    assert_streams(&mut ring.consumer(), &streams);
    how
}

#[test]
fn an_early_return_finishes_the_stream_unless_that_was_said() {
    let early = |producer| drop(fails(producer));
    assert_eq!(told_after(&mut options(), early), Told::Finished);
    let mut options = options();
    options.abort_on_drop(true);
    assert_eq!(told_after(&mut options, early), Told::Aborted);
}

#[test]
fn a_setter_says_it_too_and_takes_it_back() {
    let set = |mut producer: Producer| {
        producer.set_abort_on_drop(true);
        drop(fails(producer));
    };
    assert_eq!(told_after(&mut options(), set), Told::Aborted);
    let taken_back = |mut producer: Producer| {
        producer.set_abort_on_drop(false);
        drop(fails(producer));
    };
    let mut options = options();
    options.abort_on_drop(true);
    assert_eq!(told_after(&mut options, taken_back), Told::Finished);
}

#[test]
fn only_close_finishes_then() {
    let closes = |mut producer: Producer| {
        producer.write_all(b"one half").unwrap();
        producer.close().unwrap();
    };
    let mut options = options();
    options.abort_on_drop(true);
    assert_eq!(told_after(&mut options, closes), Told::Finished);
}

#[test]
fn a_panic_breaks_off() {
    let panics = |mut producer: Producer| {
        let body = AssertUnwindSafe(move || {
            producer.write_all(b"one half").unwrap();
            panic!("on purpose");
        });
        assert!(catch_unwind(body).is_err());
    };
    assert_eq!(told_after(&mut options(), panics), Told::Aborted);
}

#[test]
fn a_panic_in_another_thread_breaks_off_if_that_was_said() {
    let elsewhere = |mut producer: Producer| {
        producer.write_all(b"one half").unwrap();
        // This thread gives up for another's panic, and does not panic itself.
        let other = std::thread::spawn(|| panic!("on purpose"));
        drop(other.join().map(|()| producer.close()));
    };
    let mut options = options();
    options.abort_on_drop(true);
    assert_eq!(told_after(&mut options, elsewhere), Told::Aborted);
}

#[test]
fn what_was_held_back_is_not_in_a_stream_that_was_broken_off() {
    let mut options = options();
    options.batch(100);
    let (mut producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
    producer.write_all(b"held back").unwrap();
    producer.abort();
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);

    let mut ring = Persistent::new();
    ring.options.batch(100);
    ring.abort(b"held back");
    ring.finish(b"published");
    let streams: [(&[u8], _); 2] = [(b"", Told::Aborted), (b"published", Told::Finished)];
    assert_streams(&mut ring.consumer(), &streams);
}

#[cfg(feature = "async")]
mod asynchronous {
    use futures::executor::block_on;
    use futures::io::AsyncWriteExt;
    use shmpipe::asynchronous::AsyncProducer;

    use super::*;

    fn written(producer: Producer) -> AsyncProducer {
        let mut producer = AsyncProducer::new(producer);
        block_on(producer.write_all(b"one half")).unwrap();
        producer
    }

    #[test]
    fn a_task_that_is_dropped_breaks_off() {
        let task = |producer: Producer| {
            let mut task = Box::pin(async {
                let mut producer = written(producer);
                std::future::pending::<()>().await;
                producer.close().await.unwrap();
            });
            let waker = futures::task::noop_waker();
            let polled = task
                .as_mut()
                .poll(&mut std::task::Context::from_waker(&waker));
            assert!(polled.is_pending());
            drop(task);
        };
        assert_eq!(told_after(&mut options(), task), Told::Finished);
        let mut options = options();
        options.abort_on_drop(true);
        assert_eq!(told_after(&mut options, task), Told::Aborted);
    }

    #[test]
    fn a_conversion_keeps_it_and_closing_finishes() {
        let mut options = options();
        options.abort_on_drop(true);
        let back = |producer| drop(written(producer).into_inner());
        assert_eq!(told_after(&mut options, back), Told::Aborted);
        let closed = |producer| block_on(written(producer).close()).unwrap();
        assert_eq!(told_after(&mut options, closed), Told::Finished);
        let set = |producer| written(producer).set_abort_on_drop(false);
        assert_eq!(told_after(&mut options, set), Told::Finished);
    }
}
