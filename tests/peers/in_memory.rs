//! A ring in the caller's memory, here a file that is mapped, between the library and the C peer. The
//! Python peer has no such rings.

use std::fs::File;
use std::io::{Read, Write};

use crate::common::memory::Mapping;
use crate::common::offsets::{OWNERS, STATE};
use crate::common::{TempPath, options, stream};
use crate::languages::{C, Peer, languages, outcome};
use crate::probes::Subject;
use shmpipe::Broken;

/// Bytes of the file: a page of the header, the ring, and some more.
const LEN: usize = 3 * 4096;

/// A file, mapped here.
fn mapped() -> (TempPath, Mapping) {
    let path = TempPath::new();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    file.set_len(LEN as u64).unwrap();
    let memory = Mapping::of(&file, LEN);
    (path, memory)
}

fn word(memory: &Mapping, offset: usize) -> u64 {
    u64::from_ne_bytes(memory.bytes()[offset..offset + 8].try_into().unwrap())
}

/// Whether the peer joins a ring of the library's in memory, and makes one that the library joins.
pub(crate) fn shares(peer: &Subject) -> bool {
    if !peer.is(C) {
        return true;
    }
    // The library makes the ring and reads. The peer writes more than the ring holds.
    let (path, memory) = mapped();
    let shown = path.display();
    let ring = memory.init(options().capacity(2048)).unwrap();
    let mut consumer = ring.into_consumer().unwrap();
    consumer.set_timeout(peer.limit());
    let mut producer = peer.peer(&format!(
        "role=producer kind=memory path={shown} bytes=5000"
    ));
    let mut bytes = vec![];
    let read = consumer.read_to_end(&mut bytes).is_ok() && bytes == stream(0x5eed, 0, 5000);
    if !read || producer.find("peer: ") != Some(outcome("wrote", 5000)) {
        return false;
    }
    producer.ended();
    // It has left: the role is free, and no attachment was counted.
    if word(&memory, OWNERS[0]) != 0 || word(&memory, OWNERS[0] + 32) as u32 != 0 {
        return false;
    }
    // Its death is seen, and its role can be taken again.
    let words = format!("role=producer kind=memory path={shown} bytes=7 end=kill");
    if consumer.next_stream() != Ok(true) || peer.peer(&words).find("peer: wrote").is_none() {
        return false;
    }
    let died = consumer.read_to_end(&mut vec![]);
    if !died.is_err_and(|error| matches!(Broken::find(&error), Some(Broken::Died { .. }))) {
        return false;
    }
    drop(consumer);

    // The peer makes the ring anew, over the old one, and reads.
    let words = format!("role=consumer kind=memory path={shown} capacity=2048");
    let mut consumer = peer.peer(&words);
    if consumer.find("opened").is_none() || word(&memory, STATE) != 0x1_0000_1001 {
        return false;
    }
    let Ok(Ok(mut producer)) = memory.attach(&options()).map(|ring| ring.into_producer()) else {
        return false;
    };
    producer.set_timeout(peer.limit());
    let written = producer.write_all(&stream(0x5eed, 0, 5000)).is_ok() && producer.close().is_ok();
    written && consumer.find("peer: ") == Some(outcome("finished", 5000))
}

#[test]
fn a_ring_in_memory_is_shared_with_c() {
    if languages().contains(&C) {
        assert!(shares(&Subject::new(C, None)));
    }
}

/// The C peer on both sides, in both orders. A role of the dead is taken in memory, too.
#[test]
fn two_c_peers_share_a_ring_in_memory() {
    if !languages().contains(&C) {
        return;
    }
    let start = |words: &str| Peer::new(C, words);
    for first in ["producer", "consumer"] {
        let (path, _memory) = mapped();
        let words = format!("kind=memory path={}", path.display());
        let producer = format!("role=producer bytes=100000 {words}");
        let consumer = format!("role=consumer {words}");
        let (one, two) = match first {
            "producer" => (&producer, &consumer),
            _ => (&consumer, &producer),
        };
        let mut one = start(&format!("{one} capacity=4096"));
        one.opened();
        let mut two = start(two);
        let mut said = [one.result(), two.result()];
        said.sort();
        let expected = [outcome("finished", 100_000), outcome("wrote", 100_000)];
        assert_eq!(said, expected, "{first} made it");
        // Marks and positions are those of a persistent ring.
        start(&format!("role=producer bytes=30 end=kill {words}")).ended();
        start(&format!("role=producer bytes=5 {words}")).result();
        let said = start(&format!("role=consumer streams=2 {words}")).result();
        let expected = [outcome("died", 30), outcome("finished", 5)].join("; ");
        assert_eq!(said, expected, "{first} made it");
    }
}
