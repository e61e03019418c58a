//! Forks a process whose threads are busy. The child has a copy of all locks that they
//! held, and nobody unlocks those. Each child uses the crate, and ends.
//!
//! `SHMPIPE_FORKS=100000` sets the number of children in all, 2,000 by default.
#![allow(unsafe_code)] // fork, mmap, setenv

use std::io::{Read, Write};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{End, Fork, PATIENCE, TempPath, alone, asked_for, options};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer, Ring, TryReadError, TryWriteError};

const CAPACITY: usize = 4096;

/// Children of one process that is busy: as it goes on, others take its place.
const CHILDREN_OF_ONE: u64 = 50;

fn forks() -> u64 {
    asked_for("SHMPIPE_FORKS").unwrap_or(2_000)
}

/// The end of a child, which is to come within `limit`.
#[track_caller]
fn expect_end(child: &mut Fork, limit: Duration) {
    let start = Instant::now();
    while child.is_running() {
        if start.elapsed() > limit {
            let pid = child.pid();
            let place = std::fs::read_to_string(format!("/proc/{pid}/wchan"));
            panic!("a child hangs in {place:?}");
        }
        thread::yield_now();
    }
    assert_eq!(child.wait(), End::Exit(0));
}

/// Memory for one ring, which stays until the process ends.
fn own_memory() -> (NonNull<u8>, usize) {
    let len = 4 * CAPACITY;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let memory = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    (NonNull::new(memory.cast()).unwrap(), len)
}

/// A ring in memory that nobody else uses.
fn ring_in((memory, len): (NonNull<u8>, usize)) -> Ring {
    // SAFETY: mapped and zero for as long as the process lives; each caller has
    // its own, or its own copy.
    unsafe { Options::new().capacity(CAPACITY).create_in(memory, len) }.unwrap()
}

/// Streams some laps of a ring, from one end to the other.
fn stream((mut producer, mut consumer): (Producer, Consumer)) {
    let (mut bytes, mut word) = ([0; 1000], [0; 1000]);
    for round in 0..10 {
        word.fill(round);
        producer.write_all(&word).unwrap();
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, word);
    }
    producer.close().unwrap();
    assert_eq!(consumer.read(&mut bytes).unwrap(), 0);
}

fn small() -> Options {
    let mut options = options();
    options.capacity(CAPACITY);
    options
}

/// Both ends of the ring of `path` and `project`, opened by this process.
fn both_by_path(path: &Path, project: u32) -> Result<(Producer, Consumer), OpenError> {
    let mut options = small();
    options.project(project).wait_for_peer(false);
    let producer = options.open_producer(path)?;
    Ok((producer, options.open_consumer(path)?))
}

/// What the parent has told a process that nobody has told anything.
fn nothing_is_inherited() {
    let taken = Consumer::from_parent();
    assert!(matches!(taken, Err(OpenError::NotHandedOver)), "{taken:?}");
    let taken = Producer::from_parent();
    assert!(matches!(taken, Err(OpenError::NotHandedOver)), "{taken:?}");
}

#[cfg(feature = "async")]
mod asynchronous {
    use futures::executor::block_on;
    use futures::future::join;
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};

    /// Streams more than fits, so that each end waits for the other.
    pub(crate) fn stream(ring: shmpipe::Ring) {
        let (producer, consumer) = ring.split().unwrap();
        let mut producer = AsyncProducer::new(producer);
        let mut consumer = AsyncConsumer::new(consumer);
        let mut bytes = Vec::new();
        let write = async {
            producer.write_all(&[7; 10_000]).await.unwrap();
            producer.close().await.unwrap();
        };
        let ((), read) = block_on(join(write, consumer.read_to_end(&mut bytes)));
        assert_eq!((read.unwrap(), bytes.len()), (10_000, 10_000));
    }
}

/// Forks while the one other thread of a process is in its first use of the
/// crate, which comes once in a process: so each child has a parent of its own.
#[test]
fn a_child_forked_in_a_first_use_ends() {
    alone("forks::a_child_forked_in_a_first_use_ends", || {
        for round in 0..forks() / 2 {
            let mut parent = Fork::new(|| first_use(round));
            expect_end(&mut parent, PATIENCE);
        }
    });
}

/// The life of a process that has not yet used the crate.
fn first_use(round: u64) {
    let (own, of_child) = (own_memory(), own_memory());
    let (ready, go) = (AtomicBool::new(false), AtomicBool::new(false));
    let own = own.0.as_ptr().expose_provenance();
    thread::scope(|scope| {
        scope.spawn(|| {
            let memory = NonNull::new(ptr::with_exposed_provenance_mut(own)).unwrap();
            ready.store(true, Ordering::Release);
            while !go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            let ring = ring_in((memory, of_child.1));
            if round.is_multiple_of(16) {
                stream(ring.split().unwrap()); // takes milliseconds in a process with threads
            }
        });
        while !ready.load(Ordering::Acquire) {
            thread::yield_now();
        }
        go.store(true, Ordering::Release);
        // Somewhere in the first use, which takes some microseconds.
        let start = Instant::now();
        while start.elapsed() < Duration::from_nanos(round % 64 * 500) {}
        let mut child = Fork::new(|| {
            stream(ring_in(of_child).split().unwrap());
            nothing_is_inherited();
        });
        expect_end(&mut child, PATIENCE / 2);
    });
}

/// Forks again and again while threads make rings, stream, open by path, change
/// the environment, start threads, and await.
#[test]
fn a_child_forked_beside_busy_threads_ends() {
    alone("forks::a_child_forked_beside_busy_threads_ends", || {
        let path = TempPath::new();
        let mut done = 0;
        while done < forks() / 2 {
            let mut parent = Fork::new(|| beside_busy_threads(&path));
            expect_end(&mut parent, 2 * PATIENCE);
            done += CHILDREN_OF_ONE;
        }
        assert!(!path.leads_to_a_segment());
    });
}

fn beside_busy_threads(path: &Path) {
    let stop = AtomicBool::new(false);
    let laps = [const { AtomicU32::new(0) }; 5];
    let busy = |number: usize, act: &mut dyn FnMut()| {
        while !stop.load(Ordering::Relaxed) {
            act();
            thread::sleep(Duration::from_micros(200)); // the child needs a processor, too
            laps[number].fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| {
            busy(0, &mut || {
                stream(small().create_anonymous().unwrap().split().unwrap())
            })
        });
        scope.spawn(|| busy(1, &mut || stream(both_by_path(path, 1).unwrap())));
        scope.spawn(|| {
            busy(2, &mut || {
                for _ in 0..1000 {
                    // SAFETY: in this process nobody reads the environment but by `std::env`; the
                    // children do, each of which has a copy and one thread.
                    unsafe { std::env::set_var("SHMPIPE_TEST_BUSY", "busy") };
                    // SAFETY: as above.
                    unsafe { std::env::remove_var("SHMPIPE_TEST_BUSY") };
                }
            });
        });
        scope.spawn(|| busy(3, &mut || thread::spawn(|| ()).join().unwrap()));
        scope.spawn(|| {
            busy(4, &mut || {
                #[cfg(feature = "async")]
                asynchronous::stream(small().create_anonymous().unwrap());
            });
        });
        for number in 0..CHILDREN_OF_ONE {
            // Threads that stream are joined: a thread that waits has a limit.
            let mut inherited = Some(Inherited::new());
            let mut child = Fork::new(|| {
                inherited.take().unwrap().check_inert();
                child_of_the_busy(path, number);
            });
            expect_end(&mut child, PATIENCE / 2);
        }
        while laps.iter().any(|laps| laps.load(Ordering::Relaxed) < 3) {
            thread::yield_now();
        }
    });
}

/// Stops the threads in the end, even if that is a panic.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Uses all of the crate that a child may use first.
fn child_of_the_busy(path: &Path, number: u64) {
    nothing_is_inherited();
    stream(small().create_anonymous().unwrap().split().unwrap());
    if number.is_multiple_of(4) {
        // Of its own project id, but behind the lock of the same file.
        stream(both_by_path(path, 2).unwrap());
        let error = Options::new().attach(shmpipe::sysv::SegmentId::from_raw(i32::MAX).unwrap());
        assert!(error.is_err());
    }
    #[cfg(feature = "async")]
    if number % 4 == 1 {
        asynchronous::stream(small().create_anonymous().unwrap());
    }
}

/// A lock on a file is shared with a child, and a child of a process that ends
/// in the middle of an open would keep the path locked for everybody.
#[test]
fn a_child_keeps_no_file_of_an_open_in_progress() {
    alone(
        "forks::a_child_keeps_no_file_of_an_open_in_progress",
        || {
            let path = TempPath::new();
            let is_open = || {
                let files = std::fs::read_dir("/proc/self/fd").unwrap();
                files
                    .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
                    .any(|target| target == *path)
            };
            let cancel = Arc::new(AtomicBool::new(false));
            thread::scope(|scope| {
                let _stops = Stops(&cancel);
                let mut waiting = small();
                waiting.cancel_on(Arc::clone(&cancel));
                let path: &Path = &path;
                scope.spawn(move || waiting.open_producer(path));
                crate::common::until(|| path_leads_to_a_ring(path));
                assert!(is_open());
                let mut child = Fork::new(|| assert!(!is_open()));
                expect_end(&mut child, PATIENCE / 2);
                assert!(is_open(), "the parent's stays");
            });
            assert!(!is_open());
        },
    );
}

fn path_leads_to_a_ring(path: &Path) -> bool {
    shmpipe::sysv::Key::from_path(path, shmpipe::sysv::Project::default())
        .is_ok_and(|key| shmpipe::sysv::open(key).is_ok())
}

/// What a process has made before the fork.
struct Inherited {
    ring: Ring,
    ends: (Producer, Consumer),
}

impl Inherited {
    fn new() -> Inherited {
        Inherited {
            ring: small().create_anonymous().unwrap(),
            ends: small().create_anonymous().unwrap().split().unwrap(),
        }
    }

    /// A child's copy of the handles does nothing; of the ring it can have an end.
    fn check_inert(self) {
        let (mut producer, mut consumer) = self.ends;
        let written = producer.try_write(b"x");
        assert_eq!(written, Err(TryWriteError::Broken(Broken::Inherited)));
        let read = consumer.try_read(&mut [0]);
        assert_eq!(read, Err(TryReadError::Broken(Broken::Inherited)));
        drop((producer, consumer));
        let mut consumer = self.ring.into_consumer().unwrap();
        assert_eq!(consumer.available(), Ok(0));
    }
}
