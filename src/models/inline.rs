//! Inline messages (P7), for a reader whose delivery hint asks for them. A reader that finds no
//! inline message reads the ring.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::thread;

use super::{claim, explore};
use crate::ring::{Departures, Reader, Writer};
use crate::role::Role;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::LifeCycleKind;
use crate::sync::Ordering;

/// The positions wrap in the middle of each model.
const START: u64 = u64::MAX;

fn writer(region: &HeapRegion) -> Writer<HeapRegion> {
    Writer::new(region.clone(), false, Departures::End).unwrap()
}

/// A reader that has set the delivery hint by the rules.
fn listener(region: &HeapRegion) -> Reader<HeapRegion> {
    crate::open::publish(region.header());
    claim(region, LifeCycleKind::Named, Role::Producer, 1).unwrap(); // by a writer that knows inline messages
    let mut reader = Reader::new(region.clone(), false).unwrap();
    let own = &region.header().side(Role::Consumer).signals;
    while own.delivery_hint.load(Ordering::Relaxed) == 0 {
        reader.note_arrival(1, false, true); // one thread yet
    }
    reader
}

/// Sends a message, inline if the reader's delivery hint asks for that.
fn send(writer: &mut Writer<HeapRegion>, message: &[u8]) {
    assert!(writer.put_hinted(message));
    writer.publish();
}

/// Counts how the messages of all explored orders arrived.
#[derive(Clone, Default)]
struct Ways {
    polled: Arc<AtomicUsize>,
    read: Arc<AtomicUsize>,
}

impl Ways {
    /// Takes at most `most` bytes, as the handle does: by polls for a message if one may come,
    /// otherwise by an ordinary read.
    fn take(&self, reader: &mut Reader<HeapRegion>, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let mut len = 0;
        if reader.expects_message() {
            len = reader.poll_message(&mut bytes);
        }
        if len > 0 {
            self.polled.fetch_add(1, Ordering::Relaxed); // outside the model
        } else {
            len = reader.get(&mut bytes).unwrap();
            reader.release(len as u64);
            self.read.fetch_add(usize::from(len > 0), Ordering::Relaxed); // as above
        }
        bytes.truncate(len);
        bytes
    }

    /// Checks that messages arrived by polls and by ordinary reads.
    fn assert_both(&self) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed); // outside the model
        let (polled, read) = (of(&self.polled), of(&self.read));
        println!("{polled} polled, {read} read");
        assert!(polled > 0 && read > 0);
    }
}

/// Sends messages of `len` bytes, each of one value, to a reader with a delivery hint.
fn stream(len: usize, capacity: usize, messages: u8) {
    let ways = Ways::default();
    let of_this = ways.clone();
    explore(100, move || {
        let region = HeapRegion::new(capacity, START);
        let mut reader = listener(&region);
        let mut writer = writer(&region);
        let writing = thread::spawn(move || {
            for byte in 1..=messages {
                send(&mut writer, &vec![byte; len]);
            }
        });
        let mut all = Vec::new();
        for _ in 0..messages {
            all.extend(of_this.take(&mut reader, len));
        }
        for (at, &byte) in all.iter().enumerate() {
            assert_eq!(usize::from(byte), at / len + 1, "{all:?} is torn");
        }
        writing.join().unwrap();
    });
    ways.assert_both();
}

/// P7: an inline message has no byte of a later one.
pub fn an_inline_message_is_whole() {
    stream(1, 4, 2);
}

/// P7: an inline message of two words, the second one not full, has no byte of a later one.
pub fn a_long_inline_message_is_whole() {
    stream(9, 32, 2);
}

/// P7: a reader that finds two messages, or half of one, does not mistake the inline message for
/// them.
pub fn what_is_not_one_message_comes_from_the_ring() {
    let ways = Ways::default();
    let of_this = ways.clone();
    explore(100, move || {
        let region = HeapRegion::new(8, START);
        let mut reader = listener(&region);
        let mut writer = writer(&region);
        let writing = thread::spawn(move || {
            send(&mut writer, &[1, 2]);
            send(&mut writer, &[3, 4]);
        });
        let mut all = of_this.take(&mut reader, 4);
        all.extend(of_this.take(&mut reader, 1));
        all.extend(of_this.take(&mut reader, 4));
        assert_eq!(all, [1, 2, 3, 4][..all.len()]);
        writing.join().unwrap();
    });
    ways.assert_both();
}

/// P7: a writer died between an inline message and its publication. Its successor publishes other
/// bytes up to the same tail, inline or not. The dead writer's message is never read.
pub fn the_inline_message_of_a_dead_writer_is_not_read() {
    let ways = Ways::default();
    for is_inline in [false, true] {
        let of_this = ways.clone();
        explore(20, move || {
            let region = HeapRegion::new(4, START);
            let mut reader = listener(&region);
            let mut dead = writer(&region);
            send(&mut dead, &[1]);
            assert!(dead.put_hinted(&[9]));
            let listening = {
                let ways = of_this.clone();
                thread::spawn(move || {
                    let mut all = ways.take(&mut reader, 1);
                    all.extend(ways.take(&mut reader, 1));
                    assert_eq!(all, [1, 2][..all.len()]);
                })
            };
            let mut successor = writer(&region);
            if is_inline {
                send(&mut successor, &[2]);
            } else {
                assert_eq!(successor.put(&[2]), Ok(1));
                successor.publish();
            }
            listening.join().unwrap();
        });
    }
    ways.assert_both();
}
