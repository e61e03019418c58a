//! Marks (P8, P9): a reader finds each end once, at its place, while one writer follows another.
//!
//! This file has more than 450 lines because all its models share the writers and the reader that
//! its first part sets up.

use loom::thread;

use super::{claimer, explore, ready};
use crate::peer::{self, Claim, ClaimError};
use crate::ring::marks::{self, Acknowledged, Ending, NoPlace};
use crate::ring::{Departures, Reader, Readiness, Writer};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::KNOWS_INLINE;
use crate::segment::record::pid_of;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::LifeCycleKind;
use crate::sync::Ordering;

/// The positions wrap in the middle of each model.
const START: u64 = u64::MAX;
const KIND: LifeCycleKind = LifeCycleKind::Persistent;
/// Processes from this id on count as dead once another claimer comes.
const DEAD: u32 = 100;

/// Claims the producer's role, resuming the stream or not.
fn take_role(region: &HeapRegion, pid: u32, resumes: bool) -> Result<Claim, ClaimError> {
    take_role_with(region, pid, resumes, KNOWS_INLINE)
}

fn take_role_with(
    region: &HeapRegion,
    pid: u32,
    resumes: bool,
    capabilities: u32,
) -> Result<Claim, ClaimError> {
    let me = peer::Claimer {
        resumes,
        capabilities,
        ..claimer(pid)
    };
    let is_dead = |found| pid_of(found) >= DEAD;
    peer::claim_as(me, region.header(), KIND, Role::Producer, is_dead)
}

fn writer(region: &HeapRegion) -> Writer<HeapRegion> {
    Writer::new(region.clone(), true, Departures::Pass).unwrap()
}

fn reader(region: &HeapRegion) -> Reader<HeapRegion> {
    Reader::new(region.clone(), true).unwrap()
}

/// Writes each byte on its own, inline if the reader's delivery hint asks for that.
fn put(writer: &mut Writer<HeapRegion>, bytes: &[u8]) {
    for byte in bytes {
        let byte = std::slice::from_ref(byte);
        if writer.wants_inline() {
            assert!(writer.put_hinted(byte));
        } else {
            assert_eq!(writer.put(byte), Ok(1));
        }
        writer.publish();
    }
}

/// Leaves as a handle does.
fn leave(region: &HeapRegion, claim: &Claim, writer: &mut Writer<HeapRegion>, ending: Ending) {
    let departure = match ending {
        Ending::Finished => Departure::Finished,
        _ => Departure::Aborted,
    };
    peer::leave(region.header(), KIND, claim, departure, || {
        writer.leave_mark(ending)
    })
    .unwrap();
}

/// Claims, writes and leaves. A process id of [`DEAD`] or more dies instead of leaving.
fn stream(region: &HeapRegion, pid: u32, resumes: bool, bytes: &[u8], ending: Ending) {
    let claim = take_role(region, pid, resumes).unwrap();
    let mut writer = writer(region);
    put(&mut writer, bytes);
    if pid < DEAD {
        leave(region, &claim, &mut writer, ending);
    }
}

/// How a reader takes bytes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// On the fast path, or by a copy as `try_read` does.
    Take,
    /// By the bytes that are there, without a look at the end.
    Look,
    /// As single messages, by polls.
    Poll,
}

/// The streams that were read: the bytes and the end of each.
type Streams = Vec<(Vec<u8>, Option<Ending>)>;

/// A reader, and what it has read.
struct Reading {
    reader: Reader<HeapRegion>,
    streams: Streams,
}

impl Reading {
    fn new(reader: Reader<HeapRegion>) -> Reading {
        Reading {
            reader,
            streams: vec![(Vec::new(), None)],
        }
    }

    /// Makes one call as a handle does, of any length. Never returns bytes of two streams.
    fn read(&mut self, way: Way) {
        let reader = &mut self.reader;
        let mut bytes = [0; 4];
        let mut len = 0;
        match way {
            Way::Take if reader.get_known(&mut bytes[..1]) => len = 1,
            Way::Poll if reader.expects_message() => len = reader.poll_message(&mut bytes),
            Way::Look => {
                let available = reader.available(u64::MAX).unwrap();
                if available == 0 {
                    return;
                }
            }
            _ => {}
        }
        if len == 0 {
            len = reader.get(&mut bytes).unwrap();
            reader.release(len as u64);
        }
        let (stream, end) = self.streams.last_mut().unwrap();
        assert!(len == 0 || end.is_none(), "bytes after the end");
        stream.extend(&bytes[..len]);
        if len == 0
            && let Readiness::Ended(ending) = reader.readiness(1).unwrap()
        {
            *end = Some(ending);
        }
    }

    /// Continues with the next stream if this one has ended.
    fn go_on(&mut self) {
        if self.streams.last().unwrap().1.is_some() && self.reader.at_the_end().is_some() {
            assert_eq!(self.reader.next_stream(), Ok(true));
            self.streams.push((Vec::new(), None));
        }
    }

    /// Reads the rest, while nobody writes.
    fn rest(mut self) -> Streams {
        for _ in 0..12 {
            self.read(Way::Take);
            self.go_on();
        }
        self.streams
    }
}

/// Reads in a second thread. Loom remembers only the last access of a word. A load by the first
/// thread would hide orders in which the writer loads the word before and stores it after.
fn read_in_a_thread(reader: Reader<HeapRegion>, way: Way) -> thread::JoinHandle<Reading> {
    thread::spawn(move || {
        let mut reading = Reading::new(reader);
        for _ in 0..3 {
            reading.read(way);
            reading.go_on();
        }
        reading
    })
}

/// Runs streams one after the other while a reader reads them.
fn read_while(
    way: Way,
    prepare: impl Fn(&HeapRegion) + Copy + Send + Sync + 'static,
    write: impl Fn(&HeapRegion) + Copy + Send + Sync + 'static,
    wanted: impl Fn() -> Streams + Send + Sync + 'static,
) {
    explore(20, move || {
        let region = ready(4, START);
        let reader = reader(&region);
        prepare(&region);
        let reading = read_in_a_thread(reader, way);
        write(&region);
        assert_eq!(reading.join().unwrap().rest(), wanted());
    });
}

fn finished(bytes: &[u8]) -> (Vec<u8>, Option<Ending>) {
    (bytes.to_vec(), Some(Ending::Finished))
}

fn none_yet() -> (Vec<u8>, Option<Ending>) {
    (Vec::new(), None)
}

/// P8: a producer finishes, and the next one writes.
pub fn a_mark_is_found_at_its_place() {
    for way in [Way::Take, Way::Look] {
        read_while(
            way,
            |_| (),
            |region| {
                stream(region, 1, false, &[1], Ending::Finished);
                stream(region, 2, false, &[2], Ending::Finished);
            },
            || vec![finished(&[1]), finished(&[2]), none_yet()],
        );
    }
}

/// P8: a mark and the next writer come after the reader has accepted the last tail.
pub fn a_mark_at_a_known_tail_is_found() {
    for way in [Way::Take, Way::Look] {
        explore(20, move || {
            let region = ready(4, START);
            let claim = take_role(&region, 1, false).unwrap();
            let mut first = writer(&region);
            put(&mut first, &[1]);
            let mut reader = reader(&region);
            assert_eq!(reader.available(1), Ok(1));
            let reading = read_in_a_thread(reader, way);
            leave(&region, &claim, &mut first, Ending::Aborted);
            stream(&region, 2, false, &[2], Ending::Finished);
            let aborted = (vec![1], Some(Ending::Aborted));
            let wanted = [aborted, finished(&[2]), none_yet()];
            assert_eq!(reading.join().unwrap().rest(), wanted);
        });
    }
}

/// P8: the stream of a dead writer is broken off by the next one, before its bytes. A writer
/// without a byte leaves no mark.
pub fn the_dead_are_broken_off_before_the_next_bytes() {
    for way in [Way::Take, Way::Look] {
        read_while(
            way,
            |region| stream(region, DEAD, false, &[1], Ending::Finished),
            |region| {
                stream(region, DEAD + 1, false, &[], Ending::Finished);
                stream(region, 2, false, &[2], Ending::Finished);
            },
            || {
                let died = (vec![1], Some(Ending::Died(DEAD)));
                vec![died, finished(&[2]), none_yet()]
            },
        );
    }
}

/// A writer that resumes leaves no mark.
pub fn a_writer_that_resumes_leaves_no_mark() {
    read_while(
        Way::Take,
        |region| stream(region, DEAD, false, &[1], Ending::Finished),
        |region| stream(region, 2, true, &[2], Ending::Finished),
        || vec![finished(&[1, 2]), none_yet()],
    );
}

/// A claimer that dies half way is not taken for the writer of the broken stream. Found when this
/// model was made.
pub fn the_dead_writer_is_named() {
    explore(1, || {
        let region = ready(4, START);
        stream(&region, DEAD, false, &[1], Ending::Finished);
        // Another claimer dies after it has swapped the owner word.
        let owner = &region.header().record(Role::Producer).owner;
        owner.store(u64::from(DEAD + 1) << 42, Ordering::Relaxed); // one thread
        take_role(&region, 1, false).unwrap();
        let died = (vec![1], Some(Ending::Died(DEAD)));
        assert_eq!(Reading::new(reader(&region)).rest(), [died, none_yet()]);
    });
}

/// P8: no inline message is taken across a mark. Found when this model was made. A reader at a mark
/// knew of the next writer's claim, and took that writer's first message. The mark then lay before
/// the reader's head.
pub fn no_message_is_taken_across_a_mark() {
    explore(1, || {
        let region = ready(4, START);
        let claim = take_role(&region, 1, false).unwrap();
        let mut first = writer(&region);
        let mut reading = Reading::new(listener(&region));
        leave(&region, &claim, &mut first, Ending::Finished);
        take_role(&region, 2, false).unwrap();
        let mut second = writer(&region);
        reading.read(Way::Take); // finds the mark and the claim
        let writing = thread::spawn(move || put(&mut second, &[2]));
        for _ in 0..2 {
            reading.read(Way::Poll);
        }
        writing.join().unwrap();
        let streams = reading.rest();
        assert_eq!(streams, [finished(&[]), (vec![2], None)]);
    });
}

/// A reader that has set the delivery hint by the rules.
fn listener(region: &HeapRegion) -> Reader<HeapRegion> {
    let mut reader = reader(region);
    while !reader.expects_message() {
        assert_eq!(reader.available(u64::MAX), Ok(0));
        reader.note_arrival(1, false, true);
    }
    reader
}

/// P6, P7: a writer died between an inline message and its tail, and a writer that knows no inline
/// messages continues. Found by reading. If the next writer, which does know them, claimed before
/// the reader looked, the dead writer's message was taken.
pub fn an_inline_message_is_taken_only_from_a_writer_that_knows_them() {
    for asks_at_once in [false, true] {
        explore(10, move || {
            let region = ready(4, START);
            take_role(&region, DEAD, false).unwrap();
            let mut dead = writer(&region);
            let mut reader = if asks_at_once {
                listener(&region)
            } else {
                reader(&region)
            };
            assert_eq!(dead.put(&[9]), Ok(1));
            let own = region.header().side(Role::Producer);
            own.inline.put(START, &[9]); // dies here
            let reading = thread::spawn(move || {
                let mut bytes = [0; 1];
                if reader.available(u64::MAX).unwrap() > 0 && !asks_at_once {
                    (0..8).for_each(|_| reader.note_arrival(1, false, true)); // sets the hint after that many
                }
                if reader.expects_message() && reader.poll_message(&mut bytes) > 0 {
                    return Some(bytes);
                }
                (reader.get(&mut bytes).unwrap() > 0).then_some(bytes)
            });
            take_role_with(&region, DEAD, true, 0).unwrap();
            // As a writer of another build would: it leaves the inline message alone.
            region.copy_in(START, &[1], 0);
            let after = START.wrapping_add(1);
            own.position.store(after, Ordering::Release); // dies here
            take_role(&region, 1, true).unwrap();
            assert!(reading.join().unwrap().is_none_or(|bytes| bytes == [1]));
        });
    }
}

/// P9: the consumer is done with a place once it has acknowledged. A byte of the ring, a plain
/// cell, stands for the words of the mark: loom never reads the later stores of a word.
pub fn a_place_is_used_again_after_the_reader_has_done_with_it() {
    explore(5, || {
        let region = ready(1, START);
        for pid in [1, 2] {
            stream(&region, pid, false, &[], Ending::Finished);
        }
        let mut reader = reader(&region);
        let reading = thread::spawn(move || {
            let end = reader.readiness(1).unwrap();
            assert_eq!(end, Readiness::Ended(Ending::Finished));
            reader.region().copy_out(START, &mut [0], 0);
            assert_eq!(reader.next_stream(), Ok(true));
        });
        match take_role(&region, 3, false) {
            Ok(_) => region.copy_in(START, &[1], 0),
            Err(denied) => assert_eq!(denied, ClaimError::TooManyEnds { unread: 2 }),
        }
        reading.join().unwrap();
    });
}

/// P9: places are used repeatedly while a reader acknowledges. Claims that find no place leave
/// nothing behind.
pub fn places_are_used_again() {
    explore(20, || {
        let region = ready(4, START);
        stream(&region, 1, false, &[1], Ending::Finished);
        let reading = read_in_a_thread(reader(&region), Way::Take);
        let mut wanted = vec![finished(&[1])];
        for pid in 2..=3 {
            match take_role(&region, pid, false) {
                Ok(claim) => {
                    let mut writer = writer(&region);
                    put(&mut writer, &[pid as u8]);
                    leave(&region, &claim, &mut writer, Ending::Finished);
                    wanted.push(finished(&[pid as u8]));
                }
                Err(denied) => assert_eq!(denied, ClaimError::TooManyEnds { unread: 2 }),
            }
        }
        wanted.push(none_yet());
        assert_eq!(reading.join().unwrap().rest(), wanted);
    });
}

/// A claimer finds no places, while a second claimer does the same or a third process declares the
/// last holder dead. Once there are places, any process can claim the role, even one that cannot
/// prove the death. Found when this model was made: a claimer gave the role back to a dead holder
/// whose death had been declared meanwhile. Nobody could claim the role any more.
pub fn a_role_can_be_claimed_once_there_are_places() {
    for others in [false, true] {
        explore(20, move || {
            let region = ready(4, START);
            stream(&region, 1, false, &[], Ending::Finished);
            stream(&region, DEAD, false, &[], Ending::Finished);
            // The writer left its mark, then died.
            marks::leave(region.header(), 1, START, Ending::Finished);
            let seen = region.header().state();
            let owner = &region.header().record(Role::Producer).owner;
            let owner = owner.load(Ordering::Relaxed); // one thread yet
            let other = region.clone();
            let declaring = thread::spawn(move || {
                if others {
                    assert!(take_role(&other, 3, false).is_err());
                } else {
                    peer::declare_lost(other.header(), seen, Role::Producer, owner);
                }
            });
            assert!(take_role(&region, 2, false).is_err());
            declaring.join().unwrap();
            let mut acknowledged = Acknowledged::adopt(region.header());
            acknowledged.acknowledge(region.header(), START);
            let claim = super::claim(&region, KIND, Role::Producer, 4).unwrap();
            leave(&region, &claim, &mut writer(&region), Ending::Finished);
            let ends = [finished(&[]), finished(&[]), none_yet()];
            assert_eq!(Reading::new(reader(&region)).rest(), ends);
        });
    }
}

/// P5: an acknowledgement wakes openers that wait for places.
pub fn an_acknowledgement_wakes_waiting_openers() {
    for openers in [1, 2] {
        explore(5, move || {
            let region = ready(1, START);
            for pid in [1, 2] {
                stream(&region, pid, false, &[], Ending::Finished);
            }
            let waiting = (0..openers).map(|_| {
                let region = region.clone();
                thread::spawn(move || {
                    let header = region.header();
                    loop {
                        // As in `open/`.
                        let prepared = marks::prepare_wait(header);
                        match marks::check_places(header) {
                            Ok(()) => return,
                            Err(no_place) => assert_eq!(no_place, NoPlace::TooMany(2)),
                        }
                        marks::wait(header, prepared, std::time::Duration::MAX);
                    }
                })
            });
            let waiting: Vec<_> = waiting.collect();
            let mut reader = reader(&region);
            assert_ne!(reader.readiness(1), Ok(Readiness::Empty));
            assert_eq!(reader.next_stream(), Ok(true));
            for opener in waiting {
                opener.join().unwrap();
            }
        });
    }
}

/// P6, P9: a consumer that follows another gets exactly the ends that were not acknowledged.
pub fn the_next_consumer_gets_what_was_not_acknowledged() {
    for acknowledges in [false, true] {
        explore(5, move || {
            let region = ready(4, START);
            stream(&region, 1, false, &[1], Ending::Finished);
            let take = |region: &HeapRegion, pid| super::claim(region, KIND, Role::Consumer, pid);
            let claim = take(&region, 5).unwrap();
            let mut reading = Reading::new(reader(&region));
            let other = region.clone();
            let second = thread::spawn(move || {
                if take(&other, 6).is_ok() {
                    let wanted = if acknowledges {
                        Readiness::Empty
                    } else {
                        Readiness::Ended(Ending::Finished)
                    };
                    assert_eq!(reader(&other).readiness(1), Ok(wanted));
                }
            });
            reading.read(Way::Take);
            reading.read(Way::Take);
            let mut reader = reading.reader;
            assert_eq!(reader.at_the_end(), Some(Ending::Finished));
            let last_act = || {
                if acknowledges {
                    reader.acknowledge();
                }
            };
            peer::leave(region.header(), KIND, &claim, Departure::Finished, last_act).unwrap();
            second.join().unwrap();
        });
    }
}
