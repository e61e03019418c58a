//! The two positions and the end of the stream, without waiting.

use loom::thread;

use super::{explore, leave, paired};
use crate::ring::marks::Ending;
use crate::ring::{Departures, Reader, Readiness, Writer};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::snapshot;
use crate::sync::Ordering;

/// The positions wrap in the middle of each model.
const START: u64 = u64::MAX;

fn writer(region: &HeapRegion) -> Writer<HeapRegion> {
    Writer::new(region.clone(), false, Departures::End).unwrap()
}

fn reader(region: &HeapRegion) -> Reader<HeapRegion> {
    Reader::new(region.clone(), false).unwrap()
}

fn put(writer: &mut Writer<HeapRegion>, byte: u8) -> bool {
    let len = writer.put(&[byte]).unwrap();
    if len > 0 {
        writer.publish();
    }
    len > 0
}

fn get(reader: &mut Reader<HeapRegion>) -> Option<u8> {
    let mut byte = [0];
    let len = reader.get(&mut byte).unwrap();
    (len > 0).then(|| {
        reader.release(1);
        byte[0]
    })
}

/// Loads a position without ordering.
fn position(region: &HeapRegion, role: Role) -> u64 {
    let side = region.header().side(role);
    side.position.load(Ordering::Relaxed) // stands for a proof of death
}

/// P1: the bytes before a tail are visible.
pub fn bytes_come_before_the_tail() {
    explore(10, || {
        let region = HeapRegion::new(2, START);
        let mut writer = writer(&region);
        let writing = thread::spawn(move || {
            assert!(put(&mut writer, 1) && put(&mut writer, 2));
        });
        let mut reader = reader(&region);
        let mut next = 1;
        for _ in 0..3 {
            if let Some(byte) = get(&mut reader) {
                assert_eq!(byte, next);
                next += 1;
            }
        }
        writing.join().unwrap();
    });
}

/// P2: a byte is overwritten only after it has been read.
pub fn bytes_are_read_before_their_room_is_used() {
    explore(10, || {
        let region = HeapRegion::new(1, START);
        let mut writer = writer(&region);
        let reading = {
            let mut reader = reader(&region);
            thread::spawn(move || {
                let mut next = 1;
                for _ in 0..3 {
                    if let Some(byte) = get(&mut reader) {
                        assert_eq!(byte, next);
                        next += 1;
                    }
                }
            })
        };
        let mut next = 1;
        for _ in 0..4 {
            next += u8::from(put(&mut writer, next));
        }
        reading.join().unwrap();
    });
}

/// P1, P2: each side accesses bytes in place, in the window that it knows, as grants do.
pub fn bytes_in_place_are_one_sides_at_a_time() {
    explore(10, || {
        let region = HeapRegion::new(2, START);
        let mut writer = writer(&region);
        let writing = thread::spawn(move || {
            let mut next = 1;
            for _ in 0..3 {
                if writer.has_known(1) || writer.room(1).unwrap() > 0 {
                    writer.region().copy_in(writer.tail(), &[next], 0);
                    if !writer.advance_known(1) {
                        writer.advance_hinted(1);
                    }
                    writer.publish();
                    next += 1;
                }
            }
        });
        let mut reader = reader(&region);
        let mut next = 1;
        for _ in 0..3 {
            if reader.has_known(1) || reader.available(1).unwrap() > 0 {
                let mut byte = [0];
                reader.region().copy_out(reader.head(), &mut byte, 0);
                assert_eq!(byte, [next]);
                if !reader.release_known(1) {
                    reader.release(1);
                }
                next += 1;
            }
        }
        writing.join().unwrap();
    });
}

/// P1, P2: a grant of several bytes across the wrap, and one publication of several writes.
pub fn spans_are_whole() {
    explore(10, || {
        let region = HeapRegion::new(4, START);
        let mut writer = writer(&region);
        let writing = thread::spawn(move || {
            assert_eq!(writer.put(&[1, 2]), Ok(2));
            assert_eq!(writer.put(&[3]), Ok(1));
            writer.publish();
            let room = writer.put(&[4, 5, 6]).unwrap();
            writer.publish();
            room
        });
        let mut reader = reader(&region);
        let mut all: Vec<u8> = Vec::new();
        for _ in 0..2 {
            let mut bytes = [0; 4];
            let len = reader.get(&mut bytes).unwrap();
            reader.release(len as u64);
            all.extend(&bytes[..len]);
        }
        let room = writing.join().unwrap();
        assert!((1..=3).contains(&room));
        assert!(
            all.is_empty() || all.len() >= 3,
            "{all:?} was not one publication"
        );
        assert_eq!(all, [1, 2, 3, 4, 5, 6][..all.len()]);
    });
}

/// P4: the last bytes come before the end.
pub fn the_last_bytes_come_before_the_end() {
    for (departure, end) in [
        (Departure::Finished, Readiness::Ended(Ending::Finished)),
        (Departure::Aborted, Readiness::Ended(Ending::Aborted)),
    ] {
        explore(10, move || {
            let (region, producer, _) = paired(2, START);
            let mut writer = writer(&region);
            let mut reader = reader(&region);
            let leaver = region.clone();
            let writing = thread::spawn(move || {
                assert!(put(&mut writer, 1));
                leave(&leaver, &producer, departure).unwrap();
            });
            let mut read = None;
            for _ in 0..3 {
                match reader.readiness(1).unwrap() {
                    Readiness::Ready => read = get(&mut reader),
                    Readiness::Empty => {}
                    last => {
                        assert_eq!(last, end);
                        assert_eq!(read, Some(1), "the end came before the last byte");
                    }
                }
            }
            writing.join().unwrap();
        });
    }
}

/// P4: a reader that finds the writer gone finds everything that the writer published.
pub fn the_last_bytes_come_before_the_writer_has_left() {
    explore(5, || {
        let (region, producer, _) = paired(1, START);
        let mut writer = writer(&region);
        let mut reader = reader(&region);
        let leaver = region.clone();
        let writing = thread::spawn(move || {
            assert!(put(&mut writer, 1));
            leave(&leaver, &producer, Departure::Finished).unwrap();
        });
        if reader.peer_departure().unwrap() == Departure::Finished {
            assert_eq!(reader.available(1), Ok(1));
        }
        writing.join().unwrap();
    });
}

/// P4: a writer that finds the reader gone finds everything that the reader released.
pub fn the_last_room_comes_before_the_reader_has_left() {
    explore(5, || {
        let (region, _, consumer) = paired(1, START);
        let mut writer = writer(&region);
        let mut reader = reader(&region);
        assert!(put(&mut writer, 1));
        let leaver = region.clone();
        let reading = thread::spawn(move || {
            assert_eq!(get(&mut reader), Some(1));
            leave(&leaver, &consumer, Departure::Finished).unwrap();
        });
        if writer.peer_departure().unwrap() == Departure::Finished {
            assert_eq!(writer.unread(), Ok(0));
        }
        reading.join().unwrap();
    });
}

/// P1, P2, for an observer: a snapshot never shows more bytes than fit the ring.
pub fn a_snapshot_shows_one_moment() {
    explore(10, || {
        let region = HeapRegion::new(1, START);
        let mut writer = writer(&region);
        let mut reader = reader(&region);
        let writing = thread::spawn(move || {
            put(&mut writer, 1);
            put(&mut writer, 2);
        });
        let reading = thread::spawn(move || {
            get(&mut reader);
        });
        // The capacity given here would accept a fill of two.
        let (fill, tail) = snapshot::positions(region.header(), 2);
        assert!(fill <= 1, "{fill} bytes before {tail}");
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

/// P1: a writer that succeeds a dead one publishes the dead writer's bytes too.
pub fn a_writer_takes_over() {
    explore(10, || {
        let region = HeapRegion::new(2, START);
        let mut dead = writer(&region);
        let mut reader = reader(&region);
        let dying = thread::spawn(move || assert!(put(&mut dead, 1)));
        let successor = region.clone();
        let succeeding = thread::spawn(move || {
            // The predecessor has died: its last store is visible.
            if position(&successor, Role::Producer) == START.wrapping_add(1) {
                assert!(put(&mut writer(&successor), 2));
            }
        });
        for byte in 1..=2 {
            match get(&mut reader) {
                Some(found) => assert_eq!(found, byte),
                None => break,
            }
        }
        dying.join().unwrap();
        succeeding.join().unwrap();
    });
}

/// P2: a writer that succeeds a dead one finds the room that the reader made.
pub fn a_writer_takes_over_the_room() {
    explore(4, || {
        let region = HeapRegion::new(1, START);
        assert!(put(&mut writer(&region), 1));
        let mut reader = reader(&region);
        let reading = thread::spawn(move || assert_eq!(get(&mut reader), Some(1)));
        put(&mut writer(&region), 2);
        reading.join().unwrap();
    });
}

/// P2: a reader that succeeds a dead one releases the dead reader's bytes too.
pub fn a_reader_takes_over() {
    explore(10, || {
        let region = HeapRegion::new(2, START);
        let mut writer = writer(&region);
        assert!(put(&mut writer, 1) && put(&mut writer, 2));
        let mut dead = reader(&region);
        let dying = thread::spawn(move || assert_eq!(get(&mut dead), Some(1)));
        let successor = region.clone();
        let succeeding = thread::spawn(move || {
            // The predecessor has died: its last store is visible.
            if position(&successor, Role::Consumer) == START.wrapping_add(1) {
                assert_eq!(get(&mut reader(&successor)), Some(2));
            }
        });
        for byte in 3..=4 {
            put(&mut writer, byte);
        }
        dying.join().unwrap();
        succeeding.join().unwrap();
    });
}
