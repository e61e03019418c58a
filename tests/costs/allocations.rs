//! That the calls of a stream allocate nothing, but where a wait of 10 ms or
//! more asks whether the peer lives.
#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{Consumer, Options, Producer, WaitPolicy};

struct Counting;

thread_local! {
    /// Allocations of this thread since it began.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is; what is done
// besides, to a `Cell` without a destructor, allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `body` allocated.
fn allocations(body: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    body();
    COUNT.get() - before
}

fn pair(policy: WaitPolicy) -> (Producer, Consumer) {
    let mut options = Options::new();
    options
        .capacity(4096)
        .timeout(Some(Duration::from_secs(60)))
        .wait_policy(policy);
    options.create_anonymous().unwrap().split().unwrap()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn calls_that_do_not_wait_allocate_nothing() {
    let (mut producer, mut consumer) = pair(WaitPolicy::default());
    let count = allocations(|| {
        let mut bytes = [7; 512];
        for _ in 0..1000 {
            assert_eq!(producer.try_write(&bytes), Ok(512));
            producer.try_reserve(300).unwrap().commit_all();
            producer.try_reserve_up_to(9).unwrap().commit(3);
            producer.write_all(&bytes[..7]).unwrap();
            producer.flush().unwrap();
            let deadline = Instant::now() + Duration::from_secs(1);
            producer.write_all_deadline(b"x", deadline).unwrap();
            assert!(producer.room().unwrap() > 0);
            assert_eq!(consumer.available(), Ok(823));
            assert_eq!(consumer.try_read(&mut bytes), Ok(512));
            consumer.try_peek(300).unwrap().consume_all();
            consumer.try_peek_up_to(3).unwrap().consume(3);
            consumer.read_exact(&mut bytes[..7]).unwrap();
            consumer
                .read_exact_deadline(&mut bytes[..1], deadline)
                .unwrap();
            assert!(consumer.try_read(&mut bytes).is_err()); // empty
            assert!(consumer.try_peek(1).is_err());
        }
    });
    assert_eq!(count, 0);
}

/// A wait asks for its peer each 10 ms, which allocates a few times (`/proc` is
/// read).
fn allowed(elapsed: Duration) -> u64 {
    8 * (elapsed.as_millis() as u64 / 10)
}

#[test]
fn calls_that_sleep_allocate_only_to_ask_for_the_peer() {
    const ROUNDS: u64 = 2000;
    let since = Instant::now();
    let (mut out, mut request) = pair(WaitPolicy::Park);
    let (mut reply, mut back) = pair(WaitPolicy::Park);
    let echo = std::thread::spawn(move || {
        allocations(|| {
            let mut bytes = [0; 64];
            for _ in 0..ROUNDS {
                request.read_exact(&mut bytes).unwrap();
                reply.write_all(&bytes).unwrap();
            }
            // More than the ring holds: the writer sleeps too.
            let all = [3; 64 << 10];
            reply.write_all(&all).unwrap();
        })
    });
    let mut all = vec![0; 64 << 10];
    let count = allocations(|| {
        let mut bytes = [0; 64];
        for round in 0..ROUNDS {
            out.write_all(&[round as u8; 64]).unwrap();
            back.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [round as u8; 64]);
        }
        back.read_exact(&mut all).unwrap();
    });
    assert!(back.stats().sleeps > 0, "{:?}", back.stats());
    let echoed = echo.join().unwrap();
    let allowed = allowed(since.elapsed());
    assert!(count <= allowed && echoed <= allowed, "{count}, {echoed}");
}
