//! Memory that is refused, and left as it was.

use shmpipe::error::{Incompatible, MemoryError, Rule};
use shmpipe::{Broken, OpenError, Ring, TryReadError};

use super::{options, room_for};
use crate::common::memory::Mapping;
use crate::common::offsets::{CLOSED, HEAD, MARKS_MADE, TAIL};
use crate::common::{Segment, page};

/// What was wrong with the memory. It must not have been written to.
#[track_caller]
fn refused(
    memory: &Mapping,
    ring: impl FnOnce(&Mapping) -> Result<Ring, OpenError>,
) -> MemoryError {
    let before = memory.bytes();
    let error = ring(memory).unwrap_err();
    assert!(memory.bytes() == before, "{error}");
    match error {
        OpenError::Memory(error) => error,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn not_a_ring(memory: &Mapping) -> Incompatible {
    match refused(memory, |memory| memory.attach(&crate::common::options())) {
        MemoryError::NotARing(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn too_small_memory() {
    let memory = Mapping::new(2 * page());
    let least = page() + 1;
    for len in [0, 1, 1024, page()] {
        let too_small = MemoryError::TooSmall { len, least };
        // SAFETY: part of the mapping.
        let init = refused(&memory, |memory| unsafe {
            crate::common::options().create_in(memory.start(), len)
        });
        // SAFETY: as above.
        let attach = refused(&memory, |memory| unsafe {
            crate::common::options().attach_in(memory.start(), len)
        });
        assert_eq!((init, attach), (too_small, too_small));
    }
    let init = refused(&memory, |memory| memory.init(&options(page() + 1)));
    let (len, least) = (2 * page(), 3 * page());
    assert_eq!(init, MemoryError::TooSmall { len, least });
    for asked in [0, usize::MAX] {
        let before = memory.bytes();
        let error = memory.init(&options(asked)).unwrap_err();
        assert!(matches!(error, OpenError::Capacity { .. }), "{error}");
        assert!(memory.bytes() == before);
    }
    assert_eq!(memory.init(&options(page())).unwrap().capacity(), page());
}

#[test]
fn misaligned_memory() {
    let memory = Mapping::new(3 * page());
    drop(memory.init(&options(4096)).unwrap());
    for offset in [1, 4, 8, 64] {
        let address = memory.start().addr().get() + offset;
        let init = refused(&memory, |memory| {
            memory.init_at(offset, &crate::common::options())
        });
        // SAFETY: part of the mapping.
        let attach = refused(&memory, |memory| unsafe {
            crate::common::options().attach_in(memory.at(offset), memory.len() - offset)
        });
        for error in [init, attach] {
            assert!(
                matches!(error, MemoryError::Misaligned { address: found, alignment }
                    if found == address && !address.is_multiple_of(alignment)),
                "{error}"
            );
        }
    }
    // Less than a page is enough.
    let ring = memory.init_at(256, &crate::common::options()).unwrap();
    assert_eq!(ring.capacity(), page());
}

#[test]
fn what_is_no_ring() {
    let memory = Mapping::new(2 * page());
    assert_eq!(not_a_ring(&memory), Incompatible::NoMagic); // all zero
    let noise = crate::common::stream(crate::common::unique(), 0, memory.len());
    memory.poke(0, &noise);
    assert_eq!(not_a_ring(&memory), Incompatible::NoMagic);
    let _ = memory.init(&crate::common::options()).unwrap(); // whatever was there
    assert!(memory.attach(&crate::common::options()).is_ok());
}

#[test]
fn headers_that_lie() {
    let memory = Mapping::new(4 * page());
    let page = page() as u64;
    let line = |offset, value: u32| (offset, value.to_ne_bytes().to_vec());
    let word = |offset, value: u64| (offset, value.to_ne_bytes().to_vec());
    let size = |capacity, ring_offset| Incompatible::Size {
        capacity,
        ring_offset,
        segment: 4 * page as usize,
    };
    let state = |found| Incompatible::State { found };
    let lies = [
        (word(0, 0), Incompatible::NoMagic),
        (
            line(8, 1),
            Incompatible::Version {
                found: 1,
                supported: 2,
            },
        ),
        (line(12, 0x0403_0201), Incompatible::ByteOrder),
        (
            line(16, 8),
            Incompatible::LineSize {
                found: 8,
                supported: 128,
            },
        ),
        (line(20, 0), Incompatible::Kind { found: 0 }),
        (line(20, 1), Incompatible::Kind { found: 1 }),
        (line(20, 2), Incompatible::Kind { found: 2 }),
        (line(20, 3), Incompatible::Kind { found: 3 }),
        (line(20, 5), Incompatible::Kind { found: 5 }),
        (word(24, 0), size(0, page)),
        (word(24, 3), size(3, page)),
        (word(24, 4 * page), size(4 * page, page)),
        (word(24, 1 << 63), size(1 << 63, page)),
        (word(32, 0), size(2 * page, 0)),
        (word(32, page + 1), size(2 * page, page + 1)),
        (word(32, u64::MAX), size(2 * page, u64::MAX)),
        (line(76, 1 << 9), Incompatible::Features { unknown: 1 << 9 }),
        (word(128, 0), Incompatible::HalfMade),
        (word(128, 2), state(2)),
        (word(128, 3), state(3)),
        (word(128, 4), state(4)),
        (word(128, 0x77), state(0x77)),
    ];
    for ((offset, bytes), reason) in lies {
        drop(memory.init(&crate::common::options()).unwrap());
        memory.poke(offset, &bytes);
        assert_eq!(not_a_ring(&memory), reason, "at {offset}");
    }
    // A smaller ring than there is room for is a ring.
    drop(memory.init(&crate::common::options()).unwrap());
    memory.poke(24, &8_u64.to_ne_bytes());
    assert_eq!(
        memory.attach(&crate::common::options()).unwrap().capacity(),
        8
    );
}

#[test]
fn a_capacity_that_is_not_the_rings() {
    let memory = Mapping::new(room_for(4096));
    drop(memory.init(&options(1024)).unwrap());
    let before = memory.bytes();
    let error = memory.attach(&options(1025)).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::CapacityMismatch {
                asked: 2048,
                found: 1024,
                ..
            }
        ),
        "{error}"
    );
    assert!(memory.bytes() == before);
    assert_eq!(memory.attach(&options(1000)).unwrap().capacity(), 1024);
}

/// A ring of the caller's memory in a segment is nobody's.
#[test]
fn a_segment_is_no_memory_of_the_callers() {
    let segment = Segment::new(None, 2 * page(), 0o600);
    let attached = shmpipe::sysv::attach(segment.id).unwrap();
    let start = std::ptr::NonNull::new(attached.as_ptr()).unwrap();
    // SAFETY: the attachment outlives the ring, and nobody else has it.
    drop(unsafe { crate::common::options().create_in(start, attached.len()) }.unwrap());
    let kind = |error| {
        matches!(error, OpenError::NotARing { id, reason: Incompatible::Kind { found: 4 }, .. }
            if id == segment.id)
    };
    assert!(kind(
        crate::common::options().attach(segment.id).unwrap_err()
    ));
    assert!(kind(shmpipe::Snapshot::of(segment.id).unwrap_err()));
    assert!(shmpipe::force_remove(segment.id).is_err());
    assert!(segment.is_there());
}

/// Each word that the peer writes, at its worst, between two guard pages.
#[test]
fn a_peer_that_lies_is_found_out() {
    const CAPACITY: usize = 64;
    for (offset, value, rule) in [
        (TAIL, u64::MAX, Rule::TailOutOfRange),
        (TAIL, 65, Rule::TailOutOfRange),
        // More marks than there are places; one that ends in no way known.
        (MARKS_MADE, 128, Rule::MarkCount),
        (MARKS_MADE, 1, Rule::MarkEnding),
    ] {
        let memory = Mapping::new(room_for(CAPACITY));
        let ring = memory.init(&options(CAPACITY)).unwrap();
        let mut consumer = ring.into_consumer().unwrap();
        memory.poke(offset, &value.to_ne_bytes());
        match consumer.try_read(&mut [0; 200]) {
            Err(TryReadError::Broken(Broken::Corrupted(corruption))) => {
                assert_eq!(corruption.rule(), rule);
            }
            other => panic!("{other:?}"),
        }
    }
    for (offset, value, rule) in [
        (HEAD, 65, Rule::HeadOutOfRange),
        (CLOSED[1], 3, Rule::ClosedWord),
    ] {
        let memory = Mapping::new(room_for(CAPACITY));
        let ring = memory.init(&options(CAPACITY)).unwrap();
        let mut producer = ring.into_producer().unwrap();
        memory.poke(offset, &u64::to_ne_bytes(value));
        let broken = match producer.try_reserve(CAPACITY) {
            Err(shmpipe::ReserveError::Broken(broken)) => broken,
            // Known to be free; the lie is met once it is looked at.
            Ok(grant) => {
                grant.commit_all();
                producer.room().unwrap_err()
            }
            Err(other) => panic!("{other}"),
        };
        assert!(
            matches!(broken, Broken::Corrupted(corruption) if corruption.rule() == rule),
            "{broken}"
        );
    }
}
