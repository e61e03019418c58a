//! Parking and unparking (P5). A lost wake-up is a deadlock here. No side promises a barrier, and
//! each waker fences, since loom has no membarriers. Promises are tested in
//! `tests/waking/store_buffer.rs`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;

use super::{claim, effort, explore, leave, no_slice, paired, ready};
use crate::peer::Claim;
use crate::ring::{Departures, Reader, Readiness, Writer};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::Signals;
use crate::segment::position;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::{Life, LifeCycleKind};
use crate::sync::{AtomicU32, Ordering, fence};
use crate::sys::futex;
use crate::wait::{self, SpinBudget};

/// The positions wrap in the middle of each model.
const START: u64 = u64::MAX;

/// One side of a ring, acting as its handle would.
struct Side<T> {
    region: HeapRegion,
    claim: Claim,
    half: T,
}

type Writing = Side<Writer<HeapRegion>>;
type Reading = Side<Reader<HeapRegion>>;

fn sides(capacity: usize) -> (Writing, Reading) {
    let (region, producer, consumer) = paired(capacity, START);
    let writing = Side {
        region: region.clone(),
        claim: producer,
        half: Writer::new(region.clone(), false, Departures::End).unwrap(),
    };
    let reading = Side {
        region: region.clone(),
        claim: consumer,
        half: Reader::new(region, false).unwrap(),
    };
    (writing, reading)
}

impl<T> Side<T> {
    fn peer(&self) -> &Signals {
        &self.region.header().side(self.claim.role.peer()).signals
    }

    fn own(&self) -> &Signals {
        &self.region.header().side(self.claim.role).signals
    }

    fn close(self) {
        leave(&self.region, &self.claim, Departure::Finished).unwrap();
    }

    /// Waits as a handle does: sleeps until `ready`.
    fn wait<V>(&mut self, wanted: u64, ready: impl Fn(&mut T) -> Option<V>) -> V {
        wait::wake_always(self.peer());
        let own = &self.region.header().side(self.claim.role).signals;
        let half = &mut self.half;
        let ready = || Ok::<_, Infallible>(ready(half));
        match wait::wait(
            own,
            wanted,
            SpinBudget::None,
            None,
            &mut effort(),
            ready,
            no_slice,
        ) {
            Ok(wait::Waited::Ready(value)) => value,
            _ => unreachable!("time stands still"),
        }
    }
}

impl Writing {
    /// Writes all the bytes, and waits for room. Returns `false` if the reader left.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.half.put(rest).unwrap();
            rest = &rest[len..];
            if len > 0 {
                self.half.publish();
                effort().wake(self.own(), self.peer(), self.half.tail());
                continue;
            }
            let all_free = position::before(self.half.tail(), self.region.capacity());
            let wanted = position::after(all_free, 1);
            let is_left = self.wait(wanted, |writer| {
                let is_left = writer.peer_departure().unwrap() != Departure::Open;
                (is_left || writer.room(1).unwrap() > 0).then_some(is_left)
            });
            if is_left {
                return false;
            }
        }
        true
    }
}

impl Reading {
    /// Waits for `least` bytes and reads them. Returns none at the end of the stream.
    fn read(&mut self, least: usize) -> Vec<u8> {
        let wanted = position::after(self.half.head(), least);
        let readiness = self.wait(wanted, |reader| {
            Some(reader.readiness(least as u64).unwrap()).filter(|now| *now != Readiness::Empty)
        });
        if readiness != Readiness::Ready {
            return Vec::new();
        }
        let mut bytes = vec![0; least];
        assert_eq!(self.half.get(&mut bytes), Ok(least));
        self.half.release(least as u64);
        effort().wake(self.own(), self.peer(), self.half.head());
        bytes
    }
}

/// One reader of several rings, acting as `src/set/sleep.rs` does: it announces each park, fences
/// once, looks at all rings, and sleeps on all words.
fn read_any(readings: &mut [Reading]) -> usize {
    let own = |reading: &Reading| reading.region.clone();
    let regions: Vec<HeapRegion> = readings.iter().map(own).collect();
    let signals = || {
        regions
            .iter()
            .map(|region| &region.header().side(Role::Consumer).signals)
    };
    let find = |readings: &mut [Reading]| {
        let ready = |reading: &mut Reading| reading.half.readiness(1) == Ok(Readiness::Ready);
        readings.iter_mut().position(ready)
    };
    loop {
        if let Some(found) = find(readings) {
            return found;
        }
        for (own, reading) in signals().zip(&*readings) {
            let promised = wait::announce_park(own, position::after(reading.half.head(), 1), false);
            assert!(!promised);
        }
        wait::order_parks(false);
        let found = find(readings);
        if found.is_none() {
            let words: Vec<_> = signals().map(|own| (&own.sleeping, wait::ASLEEP)).collect();
            futex::wait_any(&words);
        }
        for own in signals() {
            wait::cancel_park(own);
        }
        if let Some(found) = found {
            return found;
        }
    }
}

/// A set that sleeps is woken by whichever ring gets a byte. No byte's wake is lost beside that of
/// another ring.
pub fn a_byte_in_either_ring_wakes_a_set() {
    explore(100, || {
        let (mut first, from_first) = sides(1);
        let (mut second, from_second) = sides(1);
        let writers = [
            thread::spawn(move || first.write(&[1])),
            thread::spawn(move || second.write(&[2])),
        ];
        let mut readings = [from_first, from_second];
        let mut sum = 0;
        for _ in 0..2 {
            let found = read_any(&mut readings);
            sum += readings[found].read(1)[0];
        }
        assert_eq!(sum, 3);
        for writer in writers {
            assert!(writer.join().unwrap());
        }
    });
}

/// What the reactor and a handle share, as in `src/reactor`.
struct Slot {
    changes: AtomicU32,
    is_armed: Mutex<bool>,
    /// 1 once the reactor has woken the task, or the handle needs no reactor any more.
    woken: AtomicU32,
}

/// The reactor, for one handle that stays listed: R1 in `src/reactor/mod.rs`. Returns once the
/// handle is woken, or needs no wake.
fn react(slot: &Slot, region: &HeapRegion) {
    let word = &region.header().side(Role::Consumer).signals.sleeping;
    loop {
        let changes = slot.changes.load(Ordering::Acquire); // R1
        let mut is_armed = slot.is_armed.lock().unwrap();
        let value = word.load(Ordering::Acquire); // P5
        if *is_armed && value != wait::ASLEEP {
            *is_armed = false;
            slot.woken.store(1, Ordering::Release); // seen by the handle
            futex::wake(&slot.woken);
        }
        let is_watched = *is_armed || wait::is_watched_unarmed(value);
        drop(is_armed);
        if slot.woken.load(Ordering::Acquire) == 1 {
            return;
        }
        let mut words = vec![(word, value), (&slot.changes, changes)];
        if !is_watched {
            words.remove(0);
        }
        futex::wait_any(&words);
    }
}

/// A listed handle waits in a blocking call, then arms. The reactor may look at any time, and also
/// while the blocking wait sleeps on the word. The wake after the arming is not lost.
pub fn a_wake_after_a_blocking_wait_reaches_the_reactor() {
    explore(10_000, || {
        let (mut writing, mut reading) = sides(1);
        let slot = Arc::new(Slot {
            changes: AtomicU32::new(0),
            is_armed: Mutex::new(false),
            woken: AtomicU32::new(0),
        });
        let (of_reactor, region) = (slot.clone(), reading.region.clone());
        let reactor = thread::spawn(move || react(&of_reactor, &region));
        let writer = thread::spawn(move || writing.write(&[1, 2]));
        assert_eq!(reading.read(1), [1]); // blocks
        let mut is_armed = slot.is_armed.lock().unwrap();
        slot.changes.fetch_add(1, Ordering::AcqRel); // R1
        fence(Ordering::Release); // R1
        let wanted = position::after(reading.half.head(), 1);
        assert!(wait::prepare_park(reading.own(), wanted, false));
        *is_armed = true;
        drop(is_armed);
        if reading.half.readiness(1) == Ok(Readiness::Ready) {
            *slot.is_armed.lock().unwrap() = false;
            wait::cancel_park(reading.own());
            slot.woken.store(1, Ordering::Release); // ends the reactor
            slot.changes.fetch_add(1, Ordering::AcqRel);
            futex::wake(&slot.changes);
        } else {
            while slot.woken.load(Ordering::Acquire) == 0 {
                futex::wait(&slot.woken, 0, Duration::MAX);
            }
        }
        assert_eq!(reading.read(1), [2]);
        assert!(writer.join().unwrap());
        reactor.join().unwrap();
    });
}

/// A sleeping reader is woken by a byte.
pub fn a_byte_wakes_the_reader() {
    explore(20, || {
        let (mut writing, mut reading) = sides(2);
        let writer = thread::spawn(move || writing.write(&[1]));
        assert_eq!(reading.read(1), [1]);
        assert!(writer.join().unwrap());
    });
}

/// A sleeping writer is woken by room.
pub fn room_wakes_the_writer() {
    explore(20, || {
        let (mut writing, mut reading) = sides(1);
        assert!(writing.write(&[1]));
        let writer = thread::spawn(move || writing.write(&[2]));
        assert_eq!(reading.read(1), [1]);
        assert!(writer.join().unwrap());
    });
}

/// A sleeping reader is woken by the end of the stream.
pub fn the_end_wakes_the_reader() {
    explore(20, || {
        let (writing, mut reading) = sides(1);
        let writer = thread::spawn(move || writing.close());
        assert_eq!(reading.read(1), []);
        writer.join().unwrap();
    });
}

/// A sleeping writer is woken when the reader leaves.
pub fn a_leaving_reader_wakes_the_writer() {
    explore(20, || {
        let (mut writing, reading) = sides(1);
        assert!(writing.write(&[1]));
        let reader = thread::spawn(move || reading.close());
        assert!(!writing.write(&[2]));
        reader.join().unwrap();
    });
}

/// A reader that waits for two bytes is woken by the second, not by the first.
pub fn a_wanted_position_is_woken_for() {
    explore(20, || {
        let (mut writing, mut reading) = sides(2);
        let writer = thread::spawn(move || writing.write(&[1]) && writing.write(&[2]));
        assert_eq!(reading.read(2), [1, 2]);
        assert!(writer.join().unwrap());
    });
}

/// A reader waited for two bytes, gave up, and now waits for one. That byte wakes it: the waker
/// never uses the earlier wanted position.
pub fn an_earlier_wanted_position_is_not_used() {
    explore(20, || {
        let (mut writing, mut reading) = sides(2);
        let own = &reading.region.header().side(Role::Consumer).signals;
        wait::prepare_park(own, reading.half.head().wrapping_add(2), false);
        wait::cancel_park(own);
        let writer = thread::spawn(move || writing.write(&[1]));
        assert_eq!(reading.read(1), [1]);
        assert!(writer.join().unwrap());
    });
}

/// Both sides sleep in turn: a stream through one byte of room, to its end.
pub fn a_stream_through_one_byte() {
    explore(100, || {
        let (mut writing, mut reading) = sides(1);
        let writer = thread::spawn(move || {
            assert!(writing.write(&[1, 2]));
            writing.close();
        });
        assert_eq!(reading.read(1), [1]);
        assert_eq!(reading.read(1), [2]);
        assert_eq!(reading.read(1), []);
        writer.join().unwrap();
    });
}

/// A sleep that ends spuriously, as each slice does, loses no wake-up.
pub fn a_sleep_that_ends_early_loses_nothing() {
    explore(20, || {
        let (mut writing, mut reading) = sides(2);
        let sleeper = reading.region.clone();
        let interrupter = thread::spawn(move || {
            futex::wake(&sleeper.header().side(Role::Consumer).signals.sleeping);
        });
        let writer = thread::spawn(move || writing.write(&[1]));
        assert_eq!(reading.read(1), [1]);
        assert!(writer.join().unwrap());
        interrupter.join().unwrap();
    });
}

/// A process that waits for the other side to open is woken when that side opens.
pub fn joining_wakes_a_waiting_opener() {
    explore(10, || {
        let region = ready(1, START);
        claim(&region, LifeCycleKind::Named, Role::Producer, 1).unwrap();
        let other = region.clone();
        let joining = thread::spawn(move || {
            claim(&other, LifeCycleKind::Named, Role::Consumer, 2).unwrap();
            wait::wake_always(&other.header().side(Role::Producer).signals);
        });
        let header = region.header();
        let life = || header.state().life();
        let waited = wait::wait(
            &header.side(Role::Producer).signals,
            u64::MAX, // as `open/` does
            SpinBudget::None,
            None,
            &mut effort(),
            || Ok::<_, Infallible>(life().filter(|&life| life != Life::Open)),
            no_slice,
        );
        assert_eq!(waited, Ok(wait::Waited::Ready(Life::Paired)));
        joining.join().unwrap();
    });
}
