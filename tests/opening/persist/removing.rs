//! Removing: by path, by force, and what is stale.

use std::io::Write;

use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Occupant, OpenError, RemoveError};

use super::{kill_when, read, read_on, reader, write, writer};
use crate::common::{
    End, Fork, Segment, TempPath, alone, move_to_own_ipc_namespace, not_run, options, page,
    remove_unused, until_gone,
};

#[test]
fn a_persistent_ring_is_removed_by_its_path() {
    let path = TempPath::new();
    write(&path, b"gone with it");
    let id = path.segment().unwrap();
    remove_unused(|| shmpipe::Options::new().remove(&path));
    assert!(!path.leads_to_a_segment());
    until_gone(id);
    let again = shmpipe::Options::new().remove(&path);
    assert!(matches!(
        again,
        Err(RemoveError::Open(OpenError::NoRing { .. }))
    ));
    assert_eq!(reader(&path).position(), 0, "a new ring");
}

#[test]
fn a_ring_in_use_is_removed_by_force_only_and_goes_on() {
    let path = TempPath::new();
    let (mut producer, mut consumer) = (writer(&path), reader(&path));
    let id = producer.id().unwrap();
    for refused in [shmpipe::Options::new().remove(&path), shmpipe::remove(id)] {
        assert!(matches!(refused, Err(RemoveError::InUse { id: named, .. }) if named == id));
    }
    shmpipe::Options::new().force_remove(&path).unwrap();
    assert!(!path.leads_to_a_segment());
    producer.write_all(b"still").unwrap();
    producer.close().unwrap();
    assert_eq!(read_on(&mut consumer), b"still");
    drop((producer, consumer));
    until_gone(id);
}

#[test]
fn removing_by_a_path_that_is_missing_names_it() {
    let missing = shmpipe::Options::new()
        .force_remove("/nonexistent/ring")
        .unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/ring"));
    let path = TempPath::new();
    assert!(
        shmpipe::Options::new()
            .project(0)
            .force_remove(&path)
            .is_err()
    );
    assert!(
        shmpipe::Options::new()
            .project(256)
            .force_remove(&path)
            .is_err()
    );
}

fn is_there(id: SegmentId) -> bool {
    sysv::stat(id).is_ok_and(|stat| !stat.marked_for_removal)
}

#[test]
fn only_what_the_dead_left_behind_is_stale() {
    alone(
        "persist::removing::only_what_the_dead_left_behind_is_stale",
        || {
            if !move_to_own_ipc_namespace() {
                return not_run("no IPC namespace of its own can be had");
            }
            assert_eq!(shmpipe::remove_stale().unwrap(), []);
            // Left behind: a ring that nobody joined, and two half-made ones.
            let [path, other_path, kept, used, foreign_path] = [(); 5].map(|()| TempPath::new());
            let mut child = Fork::new(|| drop(options().open_producer(&path)));
            let held = Occupant::Process(child.pid());
            kill_when(&mut child, &path, |ring| ring.producer == held);
            let orphan = path.segment().unwrap();
            let stillborn = Segment::by_the_dead(other_path.key(), 2 * page(), 0o600);
            let before: Vec<_> = sysv::list().unwrap().iter().map(|stat| stat.id).collect();
            let mut creator = Fork::new(|| {
                std::mem::forget(Segment::new(None, 2 * page(), 0o600));
            });
            assert_eq!(creator.wait(), End::Exit(0));
            let now = sysv::list().unwrap();
            let keyless = now.iter().find(|stat| !before.contains(&stat.id));
            let keyless = keyless.unwrap().id;
            // Not: a persistent ring, one in use, another program's.
            write(&kept, b"kept");
            let _in_use = options().wait_for_peer(false).open_producer(&used).unwrap();
            let refused = shmpipe::Options::new().remove(&used);
            assert!(matches!(refused, Err(RemoveError::InUse { .. })));
            let pair = shmpipe::pair().unwrap();
            let foreign = Segment::by_the_dead(foreign_path.key(), 5000, 0o600);

            let mut removed = shmpipe::remove_stale().unwrap();
            removed.sort();
            let mut expected = [orphan, stillborn.id, keyless];
            expected.sort();
            assert_eq!(removed, expected);
            assert!(!expected.into_iter().any(is_there));
            assert!(foreign.is_there());
            assert!(sysv::stat(pair.0.id().unwrap()).is_ok());
            assert!(used.leads_to_a_segment());
            assert_eq!(read(&kept), b"kept");
            assert_eq!(shmpipe::remove_stale().unwrap(), []);
        },
    );
}
