//! Streams, their ends, and how rings come and go.

use std::io::Read;

use super::{Place, Subject, life_cycle_word, persistent, read};
use crate::common::offsets::{MARKS_ACKNOWLEDGED, MARKS_MADE, STATE, mark};
use crate::common::{Segment, bytes_of, options, poke};
use crate::languages::{Peer, Rust, outcome};
use shmpipe::sysv;

/// Whether the peer joins the library in a ring, and all bytes arrive.
pub(super) fn streams(peer: &Subject, writes: bool) -> bool {
    let path = Place::new();
    let reading = format!("role=consumer path={} capacity=4096", path.display());
    let writing = format!(
        "role=producer path={} capacity=4096 bytes=20000 block=3000",
        path.display()
    );
    let library = |words: &str| Peer::new(Rust, &format!("{words} timeout={}", peer.patience));
    let mut ends = match writes {
        true => [library(&reading), peer.peer(&writing)],
        false => [peer.peer(&reading), library(&writing)],
    };
    ends[1].find("peer: ") == Some(outcome("wrote", 20_000))
        && ends[0].find("peer: ") == Some(outcome("finished", 20_000))
}

/// Whether the peer marks the ends of its streams, and finds them again.
pub(super) fn ends(peer: &Subject) -> bool {
    let path = Place::new();
    let words = format!("path={} kind=persistent", path.display());
    let ways = [
        "bytes=10 capacity=4096",
        "bytes=20 end=abort",
        "bytes=30 end=kill",
        "bytes=40",
    ];
    for how in ways {
        let mut producer = peer.peer(&format!("role=producer {how} {words}"));
        if producer.find("peer: wrote").is_none() {
            return false;
        }
        producer.ended();
    }
    let Some(id) = path.segment() else {
        return false;
    };
    let made: Vec<u64> = (0..4).map(|number| read(id, mark(number))).collect();
    let hows = (0..4).map(|number| read(id, mark(number) + 8) & 0xff);
    let hows: Vec<u64> = hows.collect();
    if hows != [1, 2, 3, 1] || made != [10, 30, 60, 100] || read(id, 416) != 4 {
        return false;
    }
    let expected = [
        ("finished", 10),
        ("aborted", 20),
        ("died", 30),
        ("finished", 40),
    ];
    let expected = expected.map(|(how, len)| outcome(how, len)).join("; ");
    let words = format!("role=consumer streams=4 end=abort {words}");
    let mut consumer = peer.peer(&words);
    let said = consumer.find("peer: ");
    consumer.ended();
    // Three were acknowledged, and nobody holds a role: the closed word tells who left last.
    said == Some(expected)
        && [read(id, 672), read(id, 640), read(id, 136), read(id, 176)] == [3, 0x102, 0, 0]
        && read(id, STATE) == 1 | 4 << 16 | 1 << 32
}

/// Whether the library joins an anonymous ring of the peer, and sees it leave.
pub(super) fn anonymous(peer: &Subject) -> bool {
    let words = "role=producer kind=anonymous capacity=4096 bytes=5000";
    let mut producer = peer.peer(words);
    let Some(made) = producer.find("made: ") else {
        return false;
    };
    let (id, nonce) = made.split_once(' ').unwrap();
    let id = id.parse().unwrap();
    // The ring holds less than the stream, so the peer waits for the library.
    let Ok(Ok(mut consumer)) = options().attach(id).map(|ring| ring.into_consumer()) else {
        return false;
    };
    consumer.set_timeout(peer.limit());
    let mut bytes = vec![];
    consumer.read_to_end(&mut bytes).is_ok()
        && bytes.len() == 5000
        && format!("{:016x}", read(id, 40)) == nonce
        && peer.sees(|| read(id, STATE) & 0xf00 == 0x200)
}

/// Whether the peer replaces a ring that waits, and says so in its life-cycle word.
pub(super) fn replaces(peer: &Subject) -> bool {
    let path = Place::new();
    let words = format!("role=consumer path={}", path.display());
    let mut waits = Peer::new(Rust, &format!("{words} timeout={}", peer.patience));
    if !peer.sees(|| life_cycle_word(&path) == 0x1_0000_1001) {
        return false;
    }
    let id = path.segment().unwrap();
    let Ok(_kept) = sysv::attach_read_only(id) else {
        return false;
    };
    let words = format!("role=producer capacity=4096 path={}", path.display());
    let said = peer.peer(&words).find("peer: wrote");
    let replaced = read(id, STATE) & 0xff == 3;
    waits.kill();
    said.is_some() && replaced
}

/// Whether the peer declares a dead producer lost, and clears what the last consumer left.
pub(super) fn deaths(peer: &Subject) -> bool {
    let path = Place::new();
    let words = format!("path={} kind=persistent", path.display());
    let dies = format!("role=producer {words} capacity=4096 bytes=10 end=kill");
    Peer::new(Rust, &dies).ended();
    let Some(id) = path.segment() else {
        return false;
    };
    let hint = 652;
    poke(id, hint, &[1]);
    peer.says(&format!("role=consumer {words}"), &outcome("died", 10))
        && read(id, STATE) & 0xf00 == 0x300
        && bytes_of(id)[hint] == 0
}

/// Whether the peer counts the places for ends as the library does.
pub(super) fn places(peer: &Subject) -> bool {
    let path = Place::new();
    let id = persistent(&path);
    // As if 200 streams had been made, and the last 125 of them were unread but for one.
    for (word, value) in [(MARKS_MADE, 200_u64), (MARKS_ACKNOWLEDGED, 75)] {
        poke(id, word, &value.to_ne_bytes());
    }
    let words = format!("role=producer path={} kind=persistent", path.display());
    let mut writes = peer.peer(&format!("{words} bytes=10"));
    if writes.find("peer: wrote").is_none() {
        return false;
    }
    writes.ended();
    // Mark 200 lies in place 72. Now all places are taken.
    if read(id, MARKS_MADE) != 201 || read(id, 1024 + 16 * 72) != 10 {
        return false;
    }
    let mut waits = peer.peer(&words);
    let waiting = peer.sees(|| read(id, 680) & 1 == 1);
    waits.kill();
    waiting
}

/// Whether the peer takes away what a dead creator left half made.
pub(super) fn half_made(peer: &Subject) -> bool {
    let path = Place::new();
    let _left = Segment::by_the_dead(path.key(), 8192, 0o600);
    let words = format!("role=producer path={} wait=0", path.display());
    peer.peer(&words).find("peer: wrote").is_some()
}
