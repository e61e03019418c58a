//! What a program does with the library, while its system calls fail.

use std::alloc::{Layout, alloc_zeroed};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use shmpipe::Snapshot;

use crate::common::{End, Fork, check, exit_now, page, stream};
use crate::scenario::{Done, KEPT, PLAIN, SEED, STREAM, Scenario, bytes, options, shown};
use crate::supervisor::scratch;
use crate::sweep::LONG;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "producer",
        target: produce,
        peer: Some(|path, limit| consume(path, limit, &mut 0)),
        ..PLAIN
    },
    Scenario {
        name: "consumer",
        target: consume,
        peer: Some(|path, limit| produce(path, limit, &mut 0)),
        ..PLAIN
    },
    Scenario {
        name: "reclaim",
        prepare: orphan,
        target: produce,
        peer: Some(|path, limit| consume(path, limit, &mut 0)),
        ..PLAIN
    },
    Scenario {
        name: "keep",
        target: keep,
        after: |path, moved, all| kept_from(path, 0, moved, all),
        keeps: true,
        ..PLAIN
    },
    Scenario {
        name: "fetch",
        prepare: |path| keep(path, LONG, &mut 0).unwrap(),
        target: fetch,
        after: |path, moved, _| kept_from(path, moved, KEPT as u64, true),
        keeps: true,
        ..PLAIN
    },
    Scenario {
        name: "split",
        target: split,
        ..PLAIN
    },
    Scenario {
        name: "fork",
        target: fork,
        ..PLAIN
    },
    Scenario {
        name: "descriptors",
        target: descriptors,
        ..PLAIN
    },
    Scenario {
        name: "own-memory",
        target: own_memory,
        ..PLAIN
    },
    Scenario {
        name: "look-and-remove",
        prepare: |path| keep(path, LONG, &mut 0).unwrap(),
        target: look_and_remove,
        after: |path, _, all| match shmpipe::Options::new().force_remove(path) {
            Ok(()) if all => Err("the ring was not removed".to_owned()),
            _ => Ok(()),
        },
        keeps: true,
        ..PLAIN
    },
    Scenario {
        name: "remove-stale",
        prepare: orphan,
        target: |_, _, moved| {
            let removed = shmpipe::remove_stale().map_err(shown)?;
            *moved = removed.len() as u64;
            Ok(())
        },
        after: |_, moved, all| match all && moved != 1 {
            true => Err("done, and the orphan is there".to_owned()),
            false => Ok(()),
        },
        keeps: true,
        ..PLAIN
    },
    #[cfg(feature = "async")]
    Scenario {
        name: "tasks",
        target: crate::tasks::produce,
        peer: Some(|path, limit| consume(path, limit, &mut 0)),
        ..PLAIN
    },
];

fn produce(path: &Path, limit: Duration, moved: &mut u64) -> Done {
    let mut producer = options(limit).open_producer(path).map_err(shown)?;
    for piece in bytes().chunks(1500) {
        if let Err(error) = producer.write_all(piece) {
            producer.abort(); // what was written is not all
            return Err(shown(error));
        }
        *moved += piece.len() as u64;
    }
    producer.close().map_err(shown)
}

fn consume(path: &Path, limit: Duration, moved: &mut u64) -> Done {
    let mut consumer = options(limit).open_consumer(path).map_err(shown)?;
    read_on(&mut consumer, moved, STREAM)?;
    consumer.close().map_err(shown)
}

/// Reads to the end. Panics if a byte is wrong, or the end comes early.
fn read_on(from: &mut impl Read, moved: &mut u64, all: usize) -> Done {
    let mut piece = [0; 700];
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => {
                check(SEED, *moved, &piece[..len]);
                *moved += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(shown(error)),
        }
    }
    assert_eq!(*moved, all as u64, "the stream ended early, or late");
    Ok(())
}

/// Leaves a ring that nobody joined, by a process that has ended.
fn orphan(path: &Path) {
    let mut opener = Fork::new(|| {
        let opened = options(LONG)
            .wait_for_peer(false)
            .open_producer(path)
            .unwrap();
        assert!(opened.id().is_some());
        exit_now(0); // without a drop
    });
    assert_eq!(opener.wait(), End::Exit(0));
}

fn keep(path: &Path, limit: Duration, moved: &mut u64) -> Done {
    let options = options(limit).persistent(true).clone();
    let mut producer = options.open_producer(path).map_err(shown)?;
    for piece in stream(SEED, 0, KEPT).chunks(1000) {
        if let Err(error) = producer.write_all(piece) {
            producer.abort();
            return Err(shown(error));
        }
        *moved += piece.len() as u64;
    }
    producer.close().map_err(shown)
}

fn fetch(path: &Path, limit: Duration, moved: &mut u64) -> Done {
    let options = options(limit).persistent(true).clone();
    let mut consumer = options.open_consumer(path).map_err(shown)?;
    read_on(&mut consumer, moved, KEPT)?;
    consumer.close().map_err(shown)
}

/// Panics unless a persistent ring holds what follows the byte `first`, up to
/// `end`; more only if the target does not know how much it has written.
fn kept_from(path: &Path, first: u64, end: u64, all: bool) -> Done {
    let mut options = options(Duration::ZERO);
    let mut consumer = match options
        .timeout(Some(LONG))
        .persistent(true)
        .open_consumer(path)
    {
        Ok(consumer) => consumer,
        Err(error) => return Err(format!("afterwards: {error}")),
    };
    let (mut rest, mut piece) = (Vec::new(), [0; 700]);
    while let Ok(len @ 1..) = consumer.try_read(&mut piece) {
        rest.extend_from_slice(&piece[..len]);
    }
    let exact = first + rest.len() as u64 == end;
    if rest != stream(SEED, first, rest.len())
        || (all && !exact)
        || first + (rest.len() as u64) < end
    {
        let len = rest.len();
        return Err(format!(
            "{len} bytes are kept from {first} on, not up to {end}"
        ));
    }
    Ok(())
}

fn split(_: &Path, limit: Duration, moved: &mut u64) -> Done {
    let mut options = options(limit);
    let ring = options.prefault(true).create_anonymous().map_err(shown)?;
    let (mut producer, mut consumer) = ring.split().map_err(shown)?;
    let mut piece = [0; 3000];
    for all in bytes().chunks(3000) {
        producer.write_all(all).map_err(shown)?;
        consumer
            .read_exact(&mut piece[..all.len()])
            .map_err(shown)?;
        check(SEED, *moved, &piece[..all.len()]);
        *moved += all.len() as u64;
        producer.check_peer().map_err(shown)?;
        consumer.check_peer().map_err(shown)?;
    }
    // Nobody comes: the wait ends by its limit, and asks the kernel meanwhile.
    let soon = Instant::now() + Duration::from_millis(30);
    match consumer.read_deadline(&mut piece, soon) {
        Err(partial) if matches!(partial.cause, shmpipe::WaitError::TimedOut) => {}
        other => return Err(format!("{other:?}")),
    }
    drop(producer);
    assert_eq!(consumer.read(&mut piece).map_err(shown)?, 0);
    consumer.close().map_err(shown)
}

/// Producer and consumer are both targets.
fn fork(_: &Path, limit: Duration, moved: &mut u64) -> Done {
    let mut ring = Some(options(limit).create_anonymous().map_err(shown)?);
    let mut child = Fork::new(|| {
        let ring = ring.take().unwrap();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut consumer = ring.into_consumer().map_err(shown)?;
            read_on(&mut consumer, &mut 0, STREAM)?;
            consumer.close().map_err(shown)
        }));
        exit_now(done.map_or(101, |done| i32::from(done.is_err())));
    });
    let producer = ring.take().unwrap().into_producer();
    let done = producer.map_err(shown).and_then(|mut producer| {
        for piece in bytes().chunks(1500) {
            if let Err(error) = producer.write_all(piece) {
                producer.abort();
                return Err(shown(error));
            }
            *moved += piece.len() as u64;
        }
        producer.close().map_err(shown)
    });
    match child.wait() {
        End::Exit(0) => done,
        End::Exit(1) => Err("the child failed".to_owned()),
        end => panic!("the child: {end:?}"),
    }
}

fn descriptors(_: &Path, limit: Duration, moved: &mut u64) -> Done {
    let ring = options(limit).create_anonymous().map_err(shown)?;
    through_descriptors(ring, moved)
}

/// Through read(2) and write(2), or readv(2) and writev(2) where the ring's
/// end comes in between.
fn own_memory(_: &Path, limit: Duration, moved: &mut u64) -> Done {
    let layout = Layout::from_size_align(3 * page(), page()).unwrap();
    // SAFETY: the layout is not empty. Never freed: the process ends soon.
    let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or("no memory")?;
    // SAFETY: the memory is ours, initialised, and given to nobody else.
    let ring = unsafe { options(limit).create_in(memory, layout.size()) };
    through_descriptors(ring.map_err(shown)?, moved)
}

fn through_descriptors(ring: shmpipe::Ring, moved: &mut u64) -> Done {
    let (mut producer, mut consumer) = ring.split().map_err(shown)?;
    let source = scratch(&bytes());
    // Read by recvfrom(2), which is not swept: that end is the test's.
    let (mut reader, writer) = UnixStream::pair().map_err(shown)?;
    let soon = || Instant::now() + LONG;
    let mut piece = [0; 3000];
    while *moved < STREAM as u64 {
        let filled = match *moved % 2 {
            0 => producer.fill_from(&source, 2999),
            _ => producer.fill_from_deadline(&source, 2999, soon()),
        };
        let mut left = filled.map_err(shown)?;
        while left > 0 {
            let drained = match left % 2 {
                0 => consumer.drain_to(&writer, 3000),
                _ => consumer.drain_to_deadline(&writer, 3000, soon()),
            };
            let len = drained.map_err(shown)?;
            reader.read_exact(&mut piece[..len]).map_err(shown)?;
            check(SEED, *moved, &piece[..len]);
            (*moved, left) = (*moved + len as u64, left - len);
        }
    }
    producer.close().map_err(shown)?;
    consumer.close().map_err(shown)
}

fn look_and_remove(path: &Path, _: Duration, _: &mut u64) -> Done {
    let all = Snapshot::all().map_err(shown)?;
    let one = shmpipe::Options::new().snapshot(path).map_err(shown)?;
    assert!(all.len() <= 1);
    assert_eq!(one.written, KEPT as u64);
    shmpipe::Options::new().remove(path).map_err(shown)
}
