//! Segments that an open finds: of another file, of the dead, spoilt, gone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use shmpipe::error::Rule;
use shmpipe::{Occupant, OpenError, Snapshot};

use super::{is_gone, open_both};
use crate::common::offsets::TAIL;
use crate::common::{
    Fork, TempPath, alone, move_to_own_ipc_namespace, open_each, options, page, poke,
    remove_unused, until,
};

#[test]
fn a_key_that_leads_to_a_ring_of_no_file_is_a_collision() {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096).wait_for_peer(false);
    let mut theirs = options.open_producer_by_key(path.key()).unwrap();
    theirs.write_all(b"theirs").unwrap();
    let file = fs::metadata(&path).unwrap();
    for opened in open_each(&options, &path) {
        assert!(
            matches!(opened, Err(OpenError::KeyCollision { id, owner: (0, 0), asked, .. })
            if id == theirs.id().unwrap() && asked == (file.dev(), file.ino()))
        );
    }
    // By its key it goes on.
    let mut consumer = options.open_consumer_by_key(path.key()).unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 6);
    theirs.close().unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    // Another project id leads elsewhere.
    drop(options.project(2).open_producer(&path).unwrap());
}

#[test]
fn a_ring_whose_creator_was_killed_while_it_waited_is_reclaimed() {
    let test = "open::found::a_ring_whose_creator_was_killed_while_it_waited_is_reclaimed";
    alone(test, || {
        move_to_own_ipc_namespace();
        let path = TempPath::new();
        let mut creator = Fork::new(|| drop(options().open_producer(&path)));
        until(|| {
            Snapshot::all().unwrap().iter().any(|ring| {
                ring.producer == Occupant::Process(creator.pid()) && Some(ring.id) == path.segment()
            })
        });
        let left = path.segment().unwrap();
        creator.kill();
        creator.wait();
        assert!(!is_gone(left), "nobody was there to remove it");
        let snapshot = Snapshot::of(left).unwrap();
        assert_eq!(snapshot.producer, Occupant::Dead(creator.pid()));
        let (mut producer, mut consumer) = open_both(&options(), &path);
        assert!(is_gone(left));
        assert!(!path.leads_to_a_segment());
        producer.write_all(b"x").unwrap();
        consumer.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(page());
    let id = options.open_producer(&path).unwrap().id().unwrap();
    poke(id, TAIL, &(page() as u64 + 1).to_ne_bytes());
    let [producer, consumer] = open_each(&options, &path);
    for (opened, wanted) in [
        (producer, Rule::HeadOutOfRange),
        (consumer, Rule::TailOutOfRange),
    ] {
        assert!(matches!(opened, Err(OpenError::Corrupted(corruption))
            if corruption.rule() == wanted));
    }
    remove_unused(|| shmpipe::Options::new().remove(&path));
}

#[test]
fn an_id_that_names_no_segment_is_removed() {
    let ring = options().create_anonymous().unwrap();
    let id = ring.id().unwrap();
    drop(ring);
    assert!(matches!(options().attach(id), Err(OpenError::Removed { id: gone, .. }) if gone == id));
    let looked = Snapshot::of(id);
    assert!(matches!(looked, Err(OpenError::Removed { id: gone, .. }) if gone == id));
}
