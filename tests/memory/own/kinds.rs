//! Kinds of memory, and of processes that share it.

use std::cell::UnsafeCell;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::ptr::NonNull;

use shmpipe::{Broken, Consumer, Occupant, OpenError, Producer, Ring, Role, TryReadError};

use super::{options, room_for};
use crate::common::memory::{Mapping, memfd};
use crate::common::{End, Exec, Fork, alone, check, page, stream, unique};

const BYTES: usize = 300_007;

fn send(mut producer: Producer, seed: u64) {
    for part in stream(seed, 0, BYTES).chunks(777) {
        producer.write_all(part).unwrap();
    }
    producer.close().unwrap();
}

#[track_caller]
fn receive(mut consumer: Consumer, seed: u64) {
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), BYTES);
    check(seed, 0, &bytes);
}

/// Streams between two threads, each with one of the two rings, or both with
/// the one.
#[track_caller]
fn between_threads(one: Ring, other: Option<Ring>) {
    let seed = unique();
    let (producer, consumer) = match other {
        Some(other) => (one.into_producer().unwrap(), other.into_consumer().unwrap()),
        None => one.split().unwrap(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| send(producer, seed));
        receive(consumer, seed);
    });
}

#[test]
fn a_memfd_carries_a_stream_over_a_fork() {
    alone("own::kinds::a_memfd_carries_a_stream_over_a_fork", || {
        let memory = Mapping::new(room_for(4096));
        let ring = memory.init(&crate::common::options()).unwrap();
        assert_eq!(ring.capacity(), page());
        let seed = unique();
        let mut child = Fork::new(|| send(ring.into_producer().unwrap(), seed));
        // The closure, and the parent's copy of the ring with it, is gone.
        let consumer = memory.attach(&crate::common::options()).unwrap();
        receive(consumer.into_consumer().unwrap(), seed);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_memfd_carries_a_stream_to_a_program_that_maps_it() {
    const NAME: &str = "own::kinds::a_memfd_carries_a_stream_to_a_program_that_maps_it";
    if let Some(part) = crate::common::part() {
        let (path, seed) = part.split_once(' ').unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        let memory = Mapping::of(&file, len);
        let ring = memory.attach(&options(1 << 14)).unwrap();
        let mut producer = ring.into_producer().unwrap();
        assert_eq!((producer.id(), producer.key()), (None, None));
        producer.set_timeout(Some(crate::common::PATIENCE));
        return send(producer, seed.parse().unwrap());
    }
    let seed = unique();
    let file = memfd(room_for(1 << 14));
    let memory = Mapping::of(&file, room_for(1 << 14));
    let consumer = memory.init(&crate::common::options()).unwrap();
    let consumer = consumer.into_consumer().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let path = format!("/proc/{}/fd/{fd}", std::process::id());
    let mut child = Exec::new(NAME, &format!("{path} {seed}"));
    crate::common::until(|| consumer.peer() != Occupant::Nobody);
    receive(consumer, seed);
    assert!(child.wait().success());
}

/// A name of POSIX shared memory, which goes with the test.
struct Posix(CString);

impl Posix {
    fn new() -> Posix {
        Posix(CString::new(format!("/shmpipe-test-{:016x}", unique())).unwrap())
    }

    fn open(&self, len: usize) -> File {
        // SAFETY: a string that ends with zero, and integers.
        let fd = unsafe { libc::shm_open(self.0.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: open, new, and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(len as u64).unwrap();
        file
    }
}

impl Drop for Posix {
    fn drop(&mut self) {
        // SAFETY: a string that ends with zero.
        unsafe { libc::shm_unlink(self.0.as_ptr()) };
    }
}

#[test]
fn posix_shared_memory_carries_a_stream_between_two_mappings() {
    let (name, len) = (Posix::new(), room_for(2 * page()));
    let one = Mapping::of(&name.open(len), len);
    let other = Mapping::of(&name.open(len), len);
    drop(name); // what is mapped stays
    assert_ne!(one.start(), other.start());
    let made = one.init(&crate::common::options()).unwrap();
    assert_eq!(made.capacity(), 2 * page());
    between_threads(made, Some(other.attach(&crate::common::options()).unwrap()));
}

#[repr(C, align(65536))]
struct Static {
    before: UnsafeCell<[u8; 4096]>,
    ring: UnsafeCell<[u8; 5 * 65536]>,
    after: UnsafeCell<[u8; 4096]>,
}

// SAFETY: the one test that uses it, uses it in one place at a time.
unsafe impl Sync for Static {}

static STATIC: Static = Static {
    before: UnsafeCell::new([0xa5; 4096]),
    ring: UnsafeCell::new([0; 5 * 65536]),
    after: UnsafeCell::new([0x5a; 4096]),
};

#[test]
fn a_static_carries_a_stream_and_its_neighbours_stay_as_they_were() {
    let memory = NonNull::new(STATIC.ring.get()).unwrap().cast();
    // SAFETY: the static is there for ever, and used here only.
    let ring = unsafe { crate::common::options().create_in(memory, 5 * 65536) }.unwrap();
    assert_eq!(ring.capacity(), 4 * 65536);
    between_threads(ring, None);
    // SAFETY: nobody writes to it.
    let before = unsafe { *STATIC.before.get() };
    assert_eq!(before, [0xa5; 4096]);
    // SAFETY: as above.
    let after = unsafe { *STATIC.after.get() };
    assert_eq!(after, [0x5a; 4096]);
}

#[derive(Clone)]
#[repr(align(256))]
struct Aligned([u8; 256]);

#[test]
fn a_boxed_slice_carries_a_stream_and_the_rest_of_it_stays_as_it_was() {
    let blocks = (page() + 4096) / 256;
    let mut memory: Box<[Aligned]> = vec![Aligned([0x77; 256]); blocks + 2].into();
    let start = NonNull::new(memory.as_mut_ptr()).unwrap().cast::<u8>();
    // SAFETY: one block into the box.
    let inside = unsafe { start.add(256) };
    // Room for 3000 bytes behind the header: 2048 in a ring.
    // SAFETY: the box outlives the ring, and nobody else uses it meanwhile.
    let ring = unsafe { crate::common::options().create_in(inside, page() + 3000) }.unwrap();
    assert_eq!(ring.capacity(), 2048);
    between_threads(ring, None);
    let bytes: Vec<u8> = memory.iter().flat_map(|block| block.0).collect();
    assert!(bytes[..256].iter().all(|&byte| byte == 0x77));
    let end = 256 + page() + 2048;
    assert!(bytes[end..].iter().all(|&byte| byte == 0x77));
    assert!(bytes[256..end].iter().any(|&byte| byte != 0x77));
}

#[test]
fn a_ring_is_made_once_and_attached_after_everybody_has_gone() {
    let file = memfd(room_for(4096));
    let memory = Mapping::of(&file, room_for(4096));
    let mut producer = memory
        .init(&options(4096))
        .and_then(Ring::into_producer)
        .unwrap();
    producer.write_all(&[1; 3000]).unwrap();
    drop((producer, memory));

    for lap in 0..5 {
        let memory = Mapping::of(&file, room_for(4096));
        let (mut producer, mut consumer) = memory.attach(&options(4096)).unwrap().split().unwrap();
        assert_eq!(producer.position(), 3000 * (lap + 1));
        assert_eq!(consumer.position(), 3000 * lap);
        let mut bytes = [0; 3000];
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [lap as u8 + 1; 3000]);
        assert_eq!(consumer.read(&mut bytes).unwrap(), 0); // and acknowledged
        producer.write_all(&[lap as u8 + 2; 3000]).unwrap();
    }
}

#[test]
fn a_ring_made_over_another_one_is_empty() {
    let memory = Mapping::new(room_for(4096));
    let (mut producer, consumer) = memory.init(&options(4096)).unwrap().split().unwrap();
    producer.write_all(b"of the first ring").unwrap();
    producer.abort();
    drop((producer, consumer));
    let (producer, mut consumer) = memory.init(&options(4096)).unwrap().split().unwrap();
    assert_eq!((producer.position(), consumer.position()), (0, 0));
    assert_eq!(consumer.available(), Ok(0));
    assert!(!producer.is_closed() && !consumer.is_closed());
}

#[test]
fn a_role_is_had_by_one_at_a_time() {
    let memory = Mapping::new(room_for(4096));
    let ring = || memory.attach(&crate::common::options()).unwrap();
    let producer = memory
        .init(&crate::common::options())
        .and_then(Ring::into_producer);
    let own = std::process::id();
    for role in [Role::Producer, Role::Consumer] {
        let denied = match role {
            Role::Producer => ring().into_producer().map(drop),
            Role::Consumer => {
                let _consumer = ring().into_consumer().unwrap();
                ring().into_consumer().map(drop)
            }
        };
        let denied = denied.unwrap_err();
        assert!(
            matches!(denied, OpenError::RoleTaken { role: taken, pid, .. } if (taken, pid) == (role, own)),
            "{denied}"
        );
    }
    drop(producer);
    let (producer, consumer) = ring().split().unwrap();
    assert_eq!(producer.peer(), Occupant::Process(own));
    drop(producer);
    assert_eq!(consumer.peer(), Occupant::Nobody);
}

#[test]
fn of_many_claimants_one_has_the_role() {
    let memory = Mapping::new(room_for(4096));
    drop(memory.init(&crate::common::options()).unwrap());
    for _ in 0..200 {
        let barrier = std::sync::Barrier::new(3);
        let claim = || {
            let ring = memory.attach(&crate::common::options()).unwrap();
            barrier.wait();
            let claimed = ring.into_producer();
            barrier.wait(); // nobody leaves before everybody has asked
            match claimed {
                Ok(_) => 1,
                Err(OpenError::RoleTaken { role, .. }) => {
                    assert_eq!(role, Role::Producer);
                    0
                }
                Err(error) => panic!("{error}"),
            }
        };
        let had: u32 = std::thread::scope(|scope| {
            let claimants = [(); 3].map(|()| scope.spawn(claim));
            claimants
                .into_iter()
                .map(|claimant| claimant.join().unwrap())
                .sum()
        });
        assert_eq!(had, 1);
        // There are places for so many ends only.
        let ring = memory.attach(&crate::common::options()).unwrap();
        let mut consumer = ring.into_consumer().unwrap();
        assert_eq!(consumer.try_read(&mut [0]), Ok(0));
    }
}

#[test]
fn a_killed_producer_is_noticed_and_its_role_taken_over() {
    alone(
        "own::kinds::a_killed_producer_is_noticed_and_its_role_taken_over",
        || {
            let memory = Mapping::new(room_for(4096));
            let ring = memory.init(&crate::common::options()).unwrap();
            let mut consumer = memory
                .attach(&crate::common::options())
                .and_then(Ring::into_consumer)
                .unwrap();
            let mut child = Fork::new(|| {
                let mut producer = ring.into_producer().unwrap();
                producer.write_all(b"last words").unwrap();
                loop {
                    std::thread::sleep(crate::common::PATIENCE);
                }
            });
            let mut bytes = [0; 10];
            consumer.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"last words");
            assert_eq!(consumer.check_peer(), Ok(()));
            child.kill();
            let error = consumer.read(&mut bytes).unwrap_err();
            let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
            let (role, pid) = (Role::Producer, child.pid());
            assert_eq!(broken, Some(&Broken::Died { role, pid }));
            child.wait();

            let next = memory
                .attach(crate::common::options().resume(true))
                .unwrap();
            let mut producer = next.into_producer().unwrap();
            assert_eq!(producer.position(), 10);
            producer.write_all(b"goes on at").unwrap();
            consumer.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"goes on at");
        },
    );
}

#[test]
fn a_role_of_the_dead_is_had_without_being_asked_after() {
    alone(
        "own::kinds::a_role_of_the_dead_is_had_without_being_asked_after",
        || {
            let memory = Mapping::new(room_for(4096));
            let ring = memory.init(&crate::common::options()).unwrap();
            let mut child = Fork::new(|| {
                std::mem::forget(ring.into_producer().unwrap());
            });
            assert_eq!(child.wait(), End::Exit(0));
            let ring = memory.attach(&crate::common::options()).unwrap();
            assert!(ring.into_producer().is_ok());
        },
    );
}

#[test]
fn a_forked_copy_touches_nothing() {
    alone("own::kinds::a_forked_copy_touches_nothing", || {
        let memory = Mapping::new(room_for(4096));
        let (mut producer, mut consumer) = memory
            .init(&crate::common::options())
            .unwrap()
            .split()
            .unwrap();
        producer.write_all(b"before").unwrap();
        let bytes = memory.bytes();
        let mut child = Fork::new(|| {
            let inherited = Err(TryReadError::Broken(Broken::Inherited));
            assert_eq!(consumer.try_read(&mut [0]), inherited);
            // SAFETY: the child ends without using it again.
            drop(unsafe { std::ptr::read(&producer) });
            // SAFETY: as above.
            drop(unsafe { std::ptr::read(&consumer) });
        });
        assert_eq!(child.wait(), End::Exit(0));
        assert!(memory.bytes() == bytes);
        let mut read = [0; 6];
        consumer.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"before");
    });
}

#[test]
fn there_is_no_id_no_key_and_no_child() {
    let memory = Mapping::new(room_for(4096));
    let ring = memory.init(&options(4096)).unwrap();
    assert_eq!((ring.id(), ring.key()), (None, None));
    assert!(format!("{ring:?}").contains("None"));
    let mut command = std::process::Command::new("true");
    let spawned = ring.spawn_consumer(&mut command).unwrap_err();
    assert!(matches!(spawned, OpenError::NoSegment), "{spawned}");
    let ring = memory.attach(&crate::common::options()).unwrap();
    let spawned = ring.spawn_producer(&mut command).unwrap_err();
    assert_eq!(io::Error::from(spawned).kind(), io::ErrorKind::InvalidInput);
    // Neither has taken a role.
    let ring = memory.attach(&crate::common::options()).unwrap();
    let (producer, consumer) = ring.split().unwrap();
    assert_eq!((producer.id(), consumer.id()), (None, None));
    assert_eq!((producer.key(), consumer.key()), (None, None));
}
