//! `Options::prefault`: every page is there before a role is taken, and none is
//! touched otherwise.
#![allow(unsafe_code)] // getrusage(2)

use std::io::ErrorKind;

use shmpipe::sysv::SysvErrorKind;
use shmpipe::{OpenError, Options};

use crate::common::{End, Fork, TempPath, alone, filter, not_run, options, page};

const CAPACITY: usize = 8 << 20;
/// Of a double view: the header, and the ring twice.
const MAPPED: usize = 2 * CAPACITY;
/// `MADV_POPULATE_WRITE`.
const POPULATE: u32 = 23;

fn prefaulted() -> Options {
    let mut options = options();
    options.capacity(CAPACITY).prefault(true);
    options
}

/// Bytes of segments whose pages this process has at hand.
fn resident() -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut of_segment = false;
    let mut kib = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next().unwrap() {
            "Rss:" if of_segment => kib += words.next().unwrap().parse::<usize>().unwrap(),
            first if !first.ends_with(':') => of_segment = line.contains("/SYSV"),
            _ => {}
        }
    }
    kib << 10
}

fn page_faults() -> i64 {
    // SAFETY: all zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes an rusage, which outlives the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    usage.ru_minflt
}

/// From here on the kernel does not populate, but fails with `errno`.
fn refuse_to_populate(errno: i32) -> bool {
    filter::install(&mut [
        filter::load(filter::CALL),
        filter::unless_equal(libc::SYS_madvise as u32, 3),
        filter::load(filter::low_half(2)),
        filter::unless_equal(POPULATE, 1),
        filter::give(libc::SECCOMP_RET_ERRNO | errno as u32),
        filter::give(libc::SECCOMP_RET_ALLOW),
    ])
}

#[test]
fn a_prefaulted_ring_is_all_there() {
    alone("prefault::a_prefaulted_ring_is_all_there", || {
        let (mut producer, mut consumer) =
            prefaulted().create_anonymous().unwrap().split().unwrap();
        assert!(resident() >= MAPPED, "{}", resident());
        let mut bytes = vec![7; CAPACITY];
        let before = page_faults();
        assert_eq!(producer.try_write(&bytes), Ok(CAPACITY));
        assert_eq!(consumer.try_read(&mut bytes), Ok(CAPACITY));
        let faults = page_faults() - before;
        assert!(faults < 100, "{faults} page faults");
    });
}

#[test]
fn each_side_has_the_pages_that_it_asked_for() {
    alone(
        "prefault::each_side_has_the_pages_that_it_asked_for",
        || {
            let path = TempPath::new();
            let producer = prefaulted()
                .wait_for_peer(false)
                .open_producer(&path)
                .unwrap();
            assert!(resident() >= MAPPED, "{}", resident());
            let mut other = Fork::new(|| {
                let before = resident();
                let _consumer = options().open_consumer(&path).unwrap();
                assert!(resident() - before < CAPACITY / 8);
            });
            assert_eq!(other.wait(), End::Exit(0));
            drop(producer);

            let ring = prefaulted().create_anonymous().unwrap();
            assert!(resident() < CAPACITY / 8, "no role is taken yet");
            let mut ring = Some(ring);
            let mut child = Fork::new(|| {
                let _consumer = ring.take().unwrap().into_consumer().unwrap();
                assert!(resident() >= MAPPED, "{}", resident());
            });
            assert_eq!(child.wait(), End::Exit(0));
        },
    );
}

#[test]
fn a_large_ring_is_not_touched_unasked() {
    alone("prefault::a_large_ring_is_not_touched_unasked", || {
        let (_producer, _consumer) = options()
            .capacity(1 << 30)
            .create_anonymous()
            .unwrap()
            .split()
            .unwrap();
        assert!(resident() <= 16 * page(), "{}", resident());
    });
}

#[test]
fn a_kernel_that_cannot_populate_has_pages_touched() {
    alone(
        "prefault::a_kernel_that_cannot_populate_has_pages_touched",
        || {
            if !refuse_to_populate(libc::EINVAL) {
                return not_run("no system-call filters");
            }
            let (_producer, _consumer) = prefaulted().create_anonymous().unwrap().split().unwrap();
            assert!(resident() >= MAPPED, "{}", resident());
        },
    );
}

#[test]
fn too_little_memory_is_an_error_and_leaves_nothing() {
    alone(
        "prefault::too_little_memory_is_an_error_and_leaves_nothing",
        || {
            if !refuse_to_populate(libc::ENOMEM) {
                return not_run("no system-call filters");
            }
            let no_memory = |error: OpenError| {
                let OpenError::System(system) = &error else {
                    panic!("{error}");
                };
                assert_eq!(system.kind(), SysvErrorKind::OutOfMemory);
                assert!(system.call().contains("MADV_POPULATE_WRITE"), "{error}");
            };
            no_memory(
                prefaulted()
                    .create_anonymous()
                    .unwrap()
                    .split()
                    .unwrap_err(),
            );
            let path = TempPath::new();
            for persistent in [false, true] {
                let mut options = prefaulted();
                let opened = options
                    .persistent(persistent)
                    .wait_for_peer(false)
                    .open_producer(&path);
                no_memory(opened.unwrap_err());
                assert!(!path.leads_to_a_segment());
            }
            assert_eq!(resident(), 0);

            // A ring that somebody else has made stays.
            let mut other = options();
            let _consumer = other
                .capacity(CAPACITY)
                .wait_for_peer(false)
                .open_consumer(&path)
                .unwrap();
            no_memory(prefaulted().open_producer(&path).unwrap_err());
            assert!(path.leads_to_a_segment());
            let error = std::io::Error::from(prefaulted().open_producer(&path).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        },
    );
}
