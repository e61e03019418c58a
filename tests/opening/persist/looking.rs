//! Snapshots and lists.

use std::io::{Read, Write};

use shmpipe::sysv;
use shmpipe::{LifeCycle, Occupant, OpenError, Snapshot};

use super::{persistent, reader, writer};
use crate::common::{Segment, TempPath, alone, move_to_own_ipc_namespace, options, page};

#[test]
fn a_snapshot_tells_what_the_ring_is() {
    alone(
        "persist::looking::a_snapshot_tells_what_the_ring_is",
        || {
            move_to_own_ipc_namespace(); // where nobody else looks at its rings
            let me = Occupant::Process(std::process::id());
            let path = TempPath::new();
            let mut producer = writer(&path);
            producer.write_all(&[0; 100]).unwrap();
            let id = producer.id().unwrap();
            let ring = Snapshot::of(id).unwrap();
            assert_eq!((ring.id, ring.key), (id, Some(path.key())));
            assert_eq!(ring.size, 2 * page());
            assert_eq!(ring.attached, 2, "before the look");
            assert_eq!(ring.capacity, page());
            assert_eq!((ring.fill, ring.written), (100, 100));
            assert_eq!(ring.life_cycle, LifeCycle::Persistent);
            assert_eq!((ring.producer, ring.consumer), (me, Occupant::Nobody));
            assert!(Snapshot::all().unwrap().contains(&ring));

            let mut consumer = reader(&path);
            consumer.read_exact(&mut [0; 40]).unwrap();
            drop(producer);
            let ring = Snapshot::of(id).unwrap();
            assert_eq!((ring.fill, ring.written), (60, 100));
            assert_eq!((ring.producer, ring.consumer), (Occupant::Nobody, me));
            assert_eq!(sysv::stat(id).unwrap().attached, 2, "the look is over");

            let (mut producer, consumer) = shmpipe::pair().unwrap();
            producer.close().unwrap();
            let ring = Snapshot::of(consumer.id().unwrap()).unwrap();
            assert_eq!((ring.key, ring.life_cycle), (None, LifeCycle::Anonymous));
            assert_eq!((ring.producer, ring.consumer), (Occupant::Left, me));

            let named = options()
                .wait_for_peer(false)
                .open_consumer(TempPath::new())
                .unwrap();
            let ring = Snapshot::of(named.id().unwrap()).unwrap();
            assert_eq!(ring.life_cycle, LifeCycle::Named);
        },
    );
}

#[test]
fn what_is_no_ring_is_not_listed() {
    let foreign = Segment::new(None, 3 * page(), 0o600);
    crate::common::poke(foreign.id, 0, b"another program's");
    let all = Snapshot::all().unwrap();
    assert!(all.iter().all(|ring| ring.id != foreign.id));
    let looked = Snapshot::of(foreign.id);
    assert!(matches!(looked, Err(OpenError::NotARing { .. })));
}

#[test]
fn what_has_no_shape_of_a_ring_is_not_even_attached() {
    alone(
        "persist::looking::what_has_no_shape_of_a_ring_is_not_even_attached",
        || {
            // Its own program may go by how often it is attached: PostgreSQL does.
            move_to_own_ipc_namespace();
            let path = TempPath::new();
            let sizes = [56, page(), page() + 1000, 3 * page() + 1, 100 * page()];
            for size in sizes {
                let foreign = Segment::new(Some(path.key()), size, 0o600);
                Snapshot::all().unwrap();
                shmpipe::remove_stale().unwrap();
                assert!(persistent().open_producer(&path).is_err());
                assert!(shmpipe::Options::new().force_remove(&path).is_err());
                assert!(shmpipe::force_remove(foreign.id).is_err());
                let stat = sysv::stat(foreign.id).unwrap();
                assert_eq!((stat.attach_time, stat.last_pid), (0, 0), "{size} bytes");
            }
        },
    );
}
