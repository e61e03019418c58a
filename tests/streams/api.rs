//! Whether each documented sentence about the handles holds.
#![allow(unsafe_code)] // pre_exec

use std::fmt::Debug;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{
    End, Fork, PATIENCE, TempPath, alone, check, once_asleep, options, stream, until,
};
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{
    Broken, CloseError, Consumer, OpenError, Options, Producer, Ring, Role, TryReadError,
    TryWriteError, WaitError,
};

const CAPACITY: usize = 4096;

fn anonymous() -> Ring {
    options().capacity(CAPACITY).create_anonymous().unwrap()
}

fn split() -> (Producer, Consumer) {
    anonymous().split().unwrap()
}

fn attached(id: SegmentId) -> u64 {
    sysv::stat(id).map_or(0, |stat| stat.attached)
}

/// The [`Broken`] inside an error, which must have `kind`.
#[track_caller]
fn broken<T: Debug>(result: io::Result<T>, kind: ErrorKind) -> Broken {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let inside = error.get_ref().expect("an error of ours");
    inside.downcast_ref::<Broken>().unwrap().clone()
}

// ---- How much ----

#[test]
fn try_write_takes_what_fits_and_says_how_much() {
    let (mut producer, mut consumer) = split();
    assert_eq!(producer.try_write(&[1; 4000]), Ok(4000));
    assert_eq!(producer.try_write(&[2; 4000]), Ok(96));
    assert_eq!(producer.try_write(&[3]), Err(TryWriteError::Full));
    assert_eq!(consumer.try_read(&mut [0; 10]), Ok(10));
    assert_eq!(producer.try_write(&[4; 11]), Ok(10));
    assert_eq!(producer.try_write(&[5]), Err(TryWriteError::Full));
}

#[test]
fn try_read_gives_what_is_there_and_says_how_much() {
    let (mut producer, mut consumer) = split();
    let mut bytes = [0; 8];
    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
    producer.try_write(b"abcde").unwrap();
    assert_eq!(consumer.try_read(&mut bytes[..2]), Ok(2));
    assert_eq!(consumer.try_read(&mut bytes[2..]), Ok(3));
    assert_eq!(&bytes, b"abcde\0\0\0");
    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
}

#[test]
fn a_ring_is_filled_to_the_last_byte() {
    let (mut producer, mut consumer) = split();
    let full = stream(1, 0, CAPACITY);
    for _ in 0..3 {
        assert_eq!(producer.try_write(&full), Ok(CAPACITY));
        assert_eq!(producer.try_write(&[0]), Err(TryWriteError::Full));
        let mut bytes = vec![0; CAPACITY];
        assert_eq!(consumer.try_read(&mut bytes), Ok(CAPACITY));
        assert_eq!(bytes, full);
        assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    }
}

#[test]
fn a_span_over_the_end_of_the_ring_is_one_read() {
    let (mut producer, mut consumer) = split();
    let mut bytes = vec![0; CAPACITY];
    for position in (0..200_000).step_by(1999) {
        assert_eq!(producer.position(), position);
        producer.try_write(&stream(2, position, 1999)).unwrap();
        assert_eq!(consumer.try_read(&mut bytes), Ok(1999));
        check(2, position, &bytes[..1999]);
    }
}

#[test]
fn a_large_try_write_fills_a_large_ring_at_once() {
    let ring = options().capacity(1 << 20).create_anonymous().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    let bytes = stream(3, 0, (1 << 20) + 1);
    assert_eq!(producer.try_write(&bytes), Ok(1 << 20));
    let mut read = vec![0; 1 << 20];
    assert_eq!(consumer.try_read(&mut read), Ok(1 << 20));
    check(3, 0, &read);
}

#[test]
fn capacities_are_rounded_up_to_a_power_of_two_of_at_least_a_page() {
    let page = sysv::page_size().max(4096);
    let capacity = |asked| {
        options()
            .capacity(asked)
            .create_anonymous()
            .unwrap()
            .capacity()
    };
    assert_eq!(capacity(1), page);
    assert_eq!(capacity(page), page);
    assert_eq!(capacity(page + 1), 2 * page);
    assert_eq!(capacity(3 * page), 4 * page);
    let default = options().create_anonymous().unwrap();
    assert_eq!(default.capacity(), shmpipe::DEFAULT_CAPACITY);
    assert_eq!(shmpipe::DEFAULT_CAPACITY, 4 << 20);
}

#[test]
fn nothing_to_write_or_read_is_zero_and_changes_nothing() {
    let (mut producer, mut consumer) = split();
    let nothing = |producer: &mut Producer, consumer: &mut Consumer, position| {
        assert_eq!(producer.try_write(&[]), Ok(0));
        assert_eq!(producer.write(&[]).unwrap(), 0);
        assert_eq!(consumer.try_read(&mut []), Ok(0));
        assert_eq!(consumer.read(&mut []).unwrap(), 0);
        assert_eq!((producer.position(), consumer.position()), position);
        let stats = (producer.stats(), consumer.stats());
        assert_eq!(stats, Default::default(), "no system call");
    };
    nothing(&mut producer, &mut consumer, (0, 0)); // empty
    producer.try_write(&[1; CAPACITY]).unwrap();
    nothing(&mut producer, &mut consumer, (4096, 0)); // full
    consumer.close().unwrap();
    // The peer has left: still no bytes, so still no error.
    assert_eq!(producer.try_write(&[]), Ok(0));
    assert_eq!(producer.write(&[]).unwrap(), 0);

    let (mut producer, mut consumer) = split();
    producer.try_write(b"x").unwrap();
    producer.abort();
    assert_eq!(consumer.try_read(&mut []), Ok(0));
    assert_eq!(consumer.try_read(&mut [0; 2]), Ok(1));
    assert_eq!(consumer.try_read(&mut []), Ok(0)); // not the end of the stream
    assert!(consumer.try_read(&mut [0]).is_err());
}

#[test]
fn positions_count_the_bytes_since_the_ring_was_made() {
    let (mut producer, mut consumer) = split();
    assert_eq!((producer.position(), consumer.position()), (0, 0));
    for turn in 1..=20 {
        producer.write_all(&[0; 3000]).unwrap();
        assert_eq!(producer.position(), 3000 * turn);
        consumer.read_exact(&mut [0; 3000]).unwrap();
        assert_eq!(consumer.position(), 3000 * turn);
    }
}

// ---- The end of the stream ----

#[test]
fn close_and_drop_finish_the_stream() {
    let finish: [fn(Producer); 2] = [|mut producer| producer.close().unwrap(), drop];
    for finish in finish {
        let (mut producer, mut consumer) = split();
        producer.write_all(b"the last bytes").unwrap();
        finish(producer);
        let mut bytes = [0; 8];
        assert_eq!(consumer.read(&mut bytes).unwrap(), 8);
        assert_eq!(consumer.read(&mut bytes).unwrap(), 6);
        for _ in 0..3 {
            assert_eq!(consumer.read(&mut bytes).unwrap(), 0);
            assert_eq!(consumer.try_read(&mut bytes), Ok(0));
        }
    }
}

#[test]
fn abort_and_a_panic_break_the_stream_off() {
    let break_off: [fn(Producer); 2] = [
        |mut producer| producer.abort(),
        |producer| {
            let panicking = thread::spawn(move || {
                let _producer = producer;
                std::panic::resume_unwind(Box::new("without a message"));
            });
            panicking.join().unwrap_err();
        },
    ];
    for break_off in break_off {
        let (mut producer, mut consumer) = split();
        producer.write_all(b"published").unwrap();
        break_off(producer);
        let mut bytes = Vec::new();
        for _ in 0..2 {
            let result = consumer.read_to_end(&mut bytes);
            let broken = broken(result, ErrorKind::ConnectionAborted);
            assert_eq!(broken, Broken::ProducerAborted);
            let again = consumer.try_read(&mut [0]);
            assert_eq!(again, Err(Broken::ProducerAborted.into()));
        }
        assert_eq!(bytes, b"published");
    }
}

#[test]
fn abort_after_close_changes_nothing() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    producer.abort();
    assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_writer_learns_that_the_reader_has_left() {
    let leave: [fn(Consumer); 2] = [|mut consumer| consumer.close().unwrap(), drop];
    for leave in leave {
        let (mut producer, consumer) = split();
        producer.write_all(b"unread").unwrap();
        leave(consumer);
        for _ in 0..2 {
            let result = producer.write(b"x");
            assert_eq!(
                broken(result, ErrorKind::BrokenPipe),
                Broken::ConsumerClosed
            );
            let result = producer.try_write(b"x");
            assert_eq!(result, Err(Broken::ConsumerClosed.into()));
            assert_eq!(producer.check_peer(), Err(Broken::ConsumerClosed));
        }
        assert_eq!(producer.position(), 6);
        producer.close().unwrap();
    }
}

#[test]
fn a_writer_that_waits_learns_that_the_reader_has_left() {
    let (mut producer, consumer) = split();
    assert_eq!(producer.try_write(&[1; CAPACITY]), Ok(CAPACITY));
    let (result, ()) = once_asleep(|| producer.write(b"x"), |_| drop(consumer));
    assert_eq!(
        broken(result, ErrorKind::BrokenPipe),
        Broken::ConsumerClosed
    );
}

#[test]
fn a_large_write_ends_when_the_reader_leaves_and_says_how_much() {
    // Small rings block in between; in large ones the reader leaves while the
    // bytes are copied in.
    for capacity in [CAPACITY, 16 << 20] {
        let bytes = stream(4, 0, 16 << 20);
        for _ in 0..5 {
            let ring = options().capacity(capacity).create_anonymous().unwrap();
            let (mut producer, mut consumer) = ring.split().unwrap();
            let reading = thread::spawn(move || {
                let mut bytes = vec![0; 10_000];
                consumer.read_exact(&mut bytes).unwrap();
                check(4, 0, &bytes);
            });
            let written = producer.write(&bytes).unwrap();
            let possible = 10_000..=10_000 + capacity;
            assert!(possible.contains(&written), "{written} bytes");
            assert_eq!(producer.position(), written as u64);
            reading.join().unwrap();
            let result = producer.write(b"x");
            assert_eq!(
                broken(result, ErrorKind::BrokenPipe),
                Broken::ConsumerClosed
            );
        }
    }
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end() {
    for aborted in [false, true] {
        let (mut producer, mut consumer) = split();
        let (result, ()) = once_asleep(
            || consumer.read(&mut [0]),
            |_| match aborted {
                true => producer.abort(),
                false => producer.close().unwrap(),
            },
        );
        if aborted {
            broken(result, ErrorKind::ConnectionAborted);
        } else {
            assert_eq!(result.unwrap(), 0);
        }
    }
}

#[test]
fn a_closed_handle_says_so() {
    let closed = || Broken::Closed;
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    assert_eq!(producer.try_write(b"x"), Err(closed().into()));
    assert_eq!(producer.try_write(b""), Err(closed().into()));
    assert_eq!(producer.check_peer(), Err(closed()));
    assert_eq!(producer.close(), Ok(()));
    for result in [
        producer.write(b"x").map(drop),
        producer.write(b"").map(drop),
        producer.flush(),
    ] {
        assert_eq!(broken(result, ErrorKind::NotConnected), closed());
    }
    consumer.close().unwrap();
    assert_eq!(consumer.try_read(&mut [0]), Err(closed().into()));
    assert_eq!(consumer.check_peer(), Err(closed()));
    assert_eq!(consumer.close(), Ok(()));
    let result = consumer.read(&mut [0]);
    assert_eq!(broken(result, ErrorKind::NotConnected), closed());
}

// ---- Limits on waiting ----

#[test]
fn a_read_times_out_and_loses_nothing() {
    let (mut producer, mut consumer) = split();
    assert_eq!(consumer.timeout(), Some(PATIENCE));
    consumer.set_timeout(Some(Duration::from_millis(20)));
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    producer.write_all(b"abc").unwrap();
    let mut bytes = [0; 4];
    let error = consumer.read_exact(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!((&bytes, consumer.position()), (b"abc\0", 3));
    consumer.set_timeout(None);
    assert_eq!(consumer.timeout(), None);
    producer.write_all(b"d").unwrap();
    assert_eq!(consumer.read(&mut bytes).unwrap(), 1);
}

#[test]
fn a_write_times_out_says_how_much_and_loses_nothing() {
    let (mut producer, mut consumer) = split();
    producer.set_timeout(Some(Duration::from_millis(20)));
    let bytes = stream(5, 0, 5000);
    assert_eq!(producer.write(&bytes).unwrap(), CAPACITY);
    let error = producer.write(&bytes[CAPACITY..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(producer.position(), CAPACITY as u64);
    consumer.read_exact(&mut [0; 1000]).unwrap();
    producer.write_all(&bytes[CAPACITY..]).unwrap();
    producer.close().unwrap();
    let mut rest = Vec::new();
    consumer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 4000);
    check(5, 1000, &rest);
}

#[track_caller]
fn assert_cancelled(error: &io::Error) {
    assert_eq!(WaitError::find(error), Some(&WaitError::Cancelled));
    assert_eq!(Broken::find(error), None, "it is not final");
    assert_eq!(error.kind(), ErrorKind::Other); // an `Interrupted` would be tried again
}

#[test]
fn a_cancel_flag_ends_waiting_but_not_the_stream() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = options();
    options.capacity(CAPACITY).cancel_on(flag.clone());
    let (mut producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
    let (read, ()) = once_asleep(
        || consumer.read(&mut [0]),
        |_| flag.store(true, Ordering::Relaxed),
    );
    assert_cancelled(&read.unwrap_err());
    // What does not wait goes on.
    assert_eq!(producer.write(&[1; CAPACITY + 1]).unwrap(), CAPACITY);
    assert_cancelled(&producer.write(&[1]).unwrap_err());
    assert_eq!(consumer.read(&mut [0; CAPACITY]).unwrap(), CAPACITY);
    flag.store(false, Ordering::Relaxed);
    producer.write_all(b"x").unwrap();
    assert_eq!(consumer.read(&mut [0]).unwrap(), 1);
}

// ---- As std's readers and writers ----

#[test]
fn the_handles_work_with_the_tools_of_std() {
    let text = "first\nsecond\n\nlast";
    let (mut producer, consumer) = split();
    io::copy(&mut text.as_bytes(), &mut producer).unwrap();
    producer.flush().unwrap();
    producer.close().unwrap();
    let lines: io::Result<Vec<String>> = BufReader::new(consumer).lines().collect();
    assert_eq!(lines.unwrap(), ["first", "second", "", "last"]);

    let (mut producer, mut consumer) = split();
    let copying = thread::spawn(move || io::copy(&mut io::repeat(7).take(100_000), &mut producer));
    let mut head = [0; 10];
    consumer.read_exact(&mut head).unwrap();
    let mut tail = Vec::new();
    assert_eq!(consumer.read_to_end(&mut tail).unwrap(), 99_990);
    assert!(head.iter().chain(&tail).all(|&byte| byte == 7));
    assert_eq!(copying.join().unwrap().unwrap(), 100_000);
    let error = consumer.read_exact(&mut head).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn handles_can_be_sent_to_other_threads() {
    fn assert_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let _ring = assert_send(anonymous());
    let (producer, consumer) = split();
    let (mut producer, mut consumer) = (assert_send(producer), assert_send(consumer));
    for turn in 0..3 {
        producer = thread::spawn(move || producer.write_all(&[turn]).map(|()| producer))
            .join()
            .unwrap()
            .unwrap();
        consumer = thread::spawn(move || {
            let mut byte = [9];
            consumer.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [turn]);
            consumer
        })
        .join()
        .unwrap();
    }
}

#[test]
fn handles_and_errors_can_be_shown() {
    let ring = anonymous();
    assert!(format!("{ring:?}").contains("4096"));
    let (mut producer, mut consumer) = ring.split().unwrap();
    assert!(format!("{producer:?}").starts_with("Producer"));
    assert!(format!("{consumer:?}").starts_with("Consumer"));
    assert!(format!("{:?}", options()).contains("capacity"));
    assert!(format!("{:?}", producer.stats()).contains("sleeps"));
    for text in [
        consumer.try_read(&mut [0]).unwrap_err().to_string(),
        TryWriteError::Full.to_string(),
        Broken::Closed.to_string(),
        OpenError::Cancelled.to_string(),
    ] {
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
    producer.close().unwrap();
    consumer.close().unwrap();
    let _ = (format!("{producer:?}"), format!("{consumer:?}"));
}

// ---- Roles ----

#[test]
fn a_ring_dropped_without_a_role_leaves_nothing() {
    let ring = anonymous();
    let id = ring.id().unwrap();
    assert!(sysv::stat(id).is_ok_and(|stat| stat.marked_for_removal && stat.key_raw == 0));
    drop(ring);
    assert!(sysv::stat(id).is_err());
}

#[test]
fn a_role_is_had_once() {
    let ring = anonymous();
    let id = ring.id().unwrap();
    let again = || options().attach(id).unwrap();
    let me = std::process::id();
    let taken = |result: Result<(), OpenError>, wanted| match result {
        Err(OpenError::RoleTaken { role, pid, .. }) => assert_eq!((role, pid), (wanted, me)),
        other => panic!("{other:?}"),
    };
    let (third, fourth) = (again(), again());
    let producer = ring.into_producer().unwrap();
    taken(third.into_producer().map(drop), Role::Producer);
    let consumer = fourth.into_consumer().unwrap();
    let (sixth, seventh, eighth) = (again(), again(), again());
    taken(again().into_consumer().map(drop), Role::Consumer);
    taken(again().split().map(drop), Role::Producer);
    // Nor after its holder has left.
    drop(producer);
    taken(sixth.into_producer().map(drop), Role::Producer);
    drop(consumer);
    taken(seventh.into_consumer().map(drop), Role::Consumer);
    drop(eighth);
    assert!(matches!(options().attach(id), Err(OpenError::Removed { id: gone, .. }) if gone == id));
}

#[test]
fn who_comes_after_the_end_reads_it_all() {
    let ring = anonymous();
    let late = options().attach(ring.id().unwrap()).unwrap();
    let mut producer = ring.into_producer().unwrap();
    producer.write_all(b"early").unwrap();
    producer.close().unwrap();
    drop(producer);
    let mut text = String::new();
    let mut consumer = late.into_consumer().unwrap();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "early");
}

#[test]
fn a_peer_that_lives_or_finished_is_no_error() {
    let (mut producer, mut consumer) = split();
    assert_eq!(producer.check_peer(), Ok(()));
    assert_eq!(consumer.check_peer(), Ok(()));
    producer.close().unwrap();
    assert_eq!(consumer.check_peer(), Ok(()));

    // One that may still come is none either.
    let ring = anonymous();
    let other = options().attach(ring.id().unwrap()).unwrap();
    let mut producer = ring.into_producer().unwrap();
    assert_eq!(producer.check_peer(), Ok(()));
    drop(other);
}

#[test]
fn nobody_else_can_come_to_a_ring_that_was_not_handed_on() {
    alone(
        "api::nobody_else_can_come_to_a_ring_that_was_not_handed_on",
        || {
            let never = |role| Broken::NeverCame { role };
            let mut consumer = anonymous().into_consumer().unwrap();
            let result = consumer.read(&mut [0]);
            assert_eq!(broken(result, ErrorKind::BrokenPipe), never(Role::Producer));
            assert_eq!(consumer.check_peer(), Err(never(Role::Producer)));

            let mut producer = anonymous().into_producer().unwrap();
            assert_eq!(producer.write(&[1; 5000]).unwrap(), CAPACITY);
            let result = producer.write(&[1]);
            assert_eq!(broken(result, ErrorKind::BrokenPipe), never(Role::Consumer));
        },
    );
}

// ---- Fork and exec ----

#[test]
fn a_forked_copy_of_a_handle_is_inert() {
    alone("api::a_forked_copy_of_a_handle_is_inert", || {
        let (mut producer, mut consumer) = split();
        let id = producer.id().unwrap();
        producer.write_all(b"before").unwrap();
        assert_eq!(attached(id), 2);
        let mut handles = Some((producer, consumer));
        let mut child = Fork::new(|| {
            let (mut producer, mut consumer) = handles.take().unwrap();
            let inherited = || Broken::Inherited;
            assert_eq!(producer.try_write(b"x"), Err(inherited().into()));
            assert_eq!(producer.try_write(b""), Err(inherited().into()));
            assert_eq!(consumer.try_read(&mut [0]), Err(inherited().into()));
            assert_eq!(producer.check_peer(), Err(inherited()));
            assert_eq!(consumer.check_peer(), Err(inherited()));
            assert_eq!(producer.close(), Err(CloseError::Broken(inherited())));
            assert_eq!(consumer.close(), Err(CloseError::Broken(inherited())));
            let result = producer.write(b"x");
            assert_eq!(broken(result, ErrorKind::NotConnected), inherited());
            let result = consumer.read(&mut [0]);
            assert_eq!(broken(result, ErrorKind::NotConnected), inherited());
            producer.abort();
            drop((producer, consumer));
        });
        (producer, consumer) = handles.take().unwrap();
        assert_eq!(child.wait(), End::Exit(0));
        assert_eq!(attached(id), 2);

        producer.write_all(b" and after").unwrap();
        producer.close().unwrap();
        let mut text = String::new();
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before and after");
        drop((producer, consumer));
        assert_eq!(attached(id), 0);
    });
}

#[test]
fn commands_run_while_handles_live() {
    alone("api::commands_run_while_handles_live", || {
        let path = TempPath::new();
        let (mut producer, mut consumer) = split();
        let mut waiting = Options::new();
        waiting.wait_for_peer(false).capacity(CAPACITY);
        let named = waiting.open_producer(&path).unwrap();
        let ids = [producer.id().unwrap(), named.id().unwrap()];
        let run = |command: &mut Command| assert!(command.status().unwrap().success());
        run(&mut Command::new("true"));
        let mut forking = Command::new("true");
        // SAFETY: the closure does nothing; that it is there makes std fork,
        // rather than spawn.
        unsafe { forking.pre_exec(|| Ok(())) };
        run(&mut forking);
        let mut sleeping = Command::new("sleep").arg("60").spawn().unwrap();
        until(|| ids.map(attached) == [2, 2]);
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();

        assert_eq!(ids.map(attached), [2, 2]);
        producer.write_all(b"still here").unwrap();
        assert_eq!(consumer.read(&mut [0; 20]).unwrap(), 10);
        assert_eq!(consumer.check_peer(), Ok(()));
        assert_eq!(producer.check_peer(), Ok(()));
        assert!(path.leads_to_a_segment());
        drop(named);
        assert!(!path.leads_to_a_segment());
    });
}

#[test]
fn a_producer_that_did_not_wait_reports_what_nobody_will_read() {
    let path = TempPath::new();
    let mut options = options();
    options.wait_for_peer(false);
    let mut producer = options.open_producer(&path).unwrap();
    producer.write_all(b"12345").unwrap();
    assert_eq!(producer.close(), Err(CloseError::NeverCame { unread: 5 }));
    assert!(!path.leads_to_a_segment());
    // Nothing written, nothing lost; and with a reader all is well.
    options.open_producer(&path).unwrap().close().unwrap();
    let mut producer = options.open_producer(&path).unwrap();
    producer.write_all(b"12345").unwrap();
    let mut consumer = options.open_consumer(&path).unwrap();
    producer.close().unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 5);
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    assert!(!path.leads_to_a_segment());
}

// ---- Names and texts ----

#[test]
fn roles_are_read_and_occupants_and_life_cycles_are_shown() {
    for role in [Role::Producer, Role::Consumer] {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    for wrong in ["", "Producer", "producer ", "both"] {
        assert_eq!(wrong.parse::<Role>(), Err(shmpipe::error::InvalidRole));
    }
    let (producer, consumer) = split();
    let pid = std::process::id();
    assert_eq!(producer.peer().to_string(), format!("process {pid}"));
    let ring = shmpipe::Snapshot::of(producer.id().unwrap()).unwrap();
    assert_eq!(ring.life_cycle.to_string(), "anonymous");
    drop(consumer);
    assert_eq!(producer.peer().to_string(), "left");
}

/// An id for logs expects nobody: where the only one who could come has gone, that
/// is still noticed.
#[test]
fn an_id_for_logs_hands_nothing_over() {
    let ring = options().create_anonymous().unwrap();
    let id = ring.id_for_log();
    let mut consumer = ring.into_consumer().unwrap();
    assert_eq!(consumer.id_for_log(), id);
    consumer.set_timeout(Some(PATIENCE));
    let error = consumer.read(&mut [0]).unwrap_err();
    let role = Role::Producer;
    assert_eq!(Broken::find(&error), Some(&Broken::NeverCame { role }));
}
