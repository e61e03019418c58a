//! The golden vectors of the format, `tests/vectors/format.json`: made by the library's own code, and
//! compared with the file. `SHMPIPE_VECTORS=write` writes the file anew.
#![cfg(target_endian = "little")] // the vectors are those of a little-endian machine
#![allow(unsafe_code)] // a ring in memory of the test's own

use std::path::Path;
use std::ptr::NonNull;

use memoffset::offset_of;
use serde_json::{Value, json};

use super::*;
use crate::peer::{Claim, Claimer, claim_as, leave as leave_role};
use crate::segment::identity::{BYTE_ORDER, Geometry, LINE, VERSION};
use crate::segment::layout::{
    HEARS_BARRIERS, Header, KNOWS_INLINE, MARKS, Record, Side, Signals, StateLine, WAKES,
};
use crate::segment::mapping::Mapping;
use crate::segment::record::owner_word;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{LifeCycleKind, State};
use crate::sync::{AtomicU32, AtomicU64};
use crate::sys::process::Process;
use crate::sys::sysv::{FileIdentity, Project};

const CAPACITY: usize = 4096;
const BYTES: usize = 8192;
const KINDS: [(&str, LifeCycleKind); 3] = [
    ("anonymous", LifeCycleKind::Anonymous),
    ("named", LifeCycleKind::Named),
    ("persistent", LifeCycleKind::Persistent),
];
const ROLES: [Role; 2] = [Role::Producer, Role::Consumer];

fn hex(word: u64) -> String {
    format!("{word:#018x}")
}

/// Memory for a header and a ring of a page.
#[repr(C, align(4096))]
struct Memory([u8; BYTES]);

/// A ring in memory of its own, whose bytes can be shown.
struct Made {
    base: NonNull<u8>,
    mapping: Mapping,
    kind: LifeCycleKind,
}

impl Made {
    fn new(kind: LifeCycleKind, flags: u32) -> Made {
        let file = FileIdentity {
            dev: 0xfe01,
            ino: 0x1_2345_6789,
            project: Project::new(7).unwrap(),
            birth: 1_700_000_000_123_456_789,
        };
        let file = (kind != LifeCycleKind::Anonymous).then_some(file);
        let geometry = Geometry::new(CAPACITY, kind, 0x0123_4567_89ab_cdef, file, flags);
        // Leaked: a mapping does not own such memory.
        let base = NonNull::from(Box::leak(Box::new(Memory([0; BYTES])))).cast();
        // SAFETY: the memory is aligned, long enough, initialised, and there for ever. Nothing but
        // the mapping and `shown` uses it.
        let mapping = unsafe { Mapping::format_in(base, geometry) };
        if file.is_some() {
            mapping.header().store_path(b"/run/a.ring");
        }
        mapping
            .header()
            .state
            .word
            .store(State::OPEN.0, Ordering::Relaxed); // one thread
        Made {
            base,
            mapping,
            kind,
        }
    }

    fn claim(&self, role: Role, pid: u32) -> Claim {
        let me = Claimer {
            process: process(pid),
            capabilities: WAKES | KNOWS_INLINE | HEARS_BARRIERS,
            views: 2,
            resumes: false,
        };
        claim_as(me, self.mapping.header(), self.kind, role, |_| true).unwrap()
    }

    fn writer(&self) -> Writer<MappedRegion> {
        Writer::new(
            MappedRegion::new(self.mapping.clone()),
            self.kind.persists(),
            Departures::End,
        )
        .unwrap()
    }

    /// Writes three bytes by a new writer, which is returned.
    fn written(&self) -> Writer<MappedRegion> {
        let mut writer = self.writer();
        assert_eq!(writer.put(b"abc"), Ok(3));
        writer.publish();
        writer
    }

    fn leave(&self, claim: &Claim, departure: Departure, last_act: impl FnOnce()) {
        leave_role(self.mapping.header(), self.kind, claim, departure, last_act).unwrap();
    }

    /// The words of the header that are not zero, in memory order, by their offsets.
    fn shown(&self, name: &str) -> Value {
        let words = (0..4096).step_by(8).filter_map(|offset| {
            // SAFETY: the offset is within the memory.
            let word = unsafe { self.base.add(offset) }.cast::<[u8; 8]>();
            // SAFETY: the word is in the memory and aligned, and only this thread uses it.
            let bytes = unsafe { word.read_volatile() };
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (bytes != [0; 8]).then(|| json!([offset, digits]))
        });
        json!({ "name": name, "words": words.collect::<Vec<_>>(), "read": self.read() })
    }

    /// What the library reads in the header.
    fn read(&self) -> String {
        let header = self.mapping.header();
        let (is, state) = (header.identity.load(), header.state());
        let made = eight(&header.side(Role::Producer).signals.marks);
        let last = &header.marks[made.wrapping_sub(1) as usize % MARKS];
        let consumer = &header.side(Role::Consumer).signals;
        let life = format!("{:?}", state.life().unwrap()).to_lowercase();
        [
            format!(
                "kind={} capacity={} nonce={} device={} inode={} project={} flags={} birth={} life={life}",
                is.kind, is.capacity, is.nonce, is.device, is.inode, is.project, is.flags, is.birth
            ),
            read_side(header, state, Role::Producer),
            read_side(header, state, Role::Consumer),
            format!(
                "hint={} places={} last={}:{}",
                four(&consumer.delivery_hint),
                four(&consumer.places),
                eight(&last.position),
                eight(&last.ending)
            ),
        ]
        .join(" ")
    }
}

fn eight(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed) // one thread
}

fn four(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed) // one thread
}

fn read_side(header: &Header, state: State, role: Role) -> String {
    let (record, side) = (header.record(role), header.side(role));
    let (owner, signals) = (eight(&record.owner), &side.signals);
    let tenure = format!("{:?}", state.tenure(role).unwrap()).to_lowercase();
    let closed = how(eight(&signals.closed));
    let is_whole = u32::from(eight(&record.complete) == owner);
    format!(
        "tenure={tenure} generation={} pid={} whole={is_whole} start={} spaces={}/{} views={} capabilities={} \
         position={} closed={closed} sleeping={} wanted={} claims={} marks={}",
        state.generation(role),
        crate::segment::record::pid_of(owner),
        eight(&record.start),
        four(&record.pid_namespace),
        four(&record.time_namespace),
        four(&record.views),
        four(&record.capabilities),
        eight(&side.position),
        four(&signals.sleeping),
        eight(&signals.wanted),
        eight(&signals.claims),
        eight(&signals.marks),
    )
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        start: 0x1_2345_6789,
        pid_namespace: 0xeffc_abcd,
        time_namespace: 0xeffc_0001,
    }
}

/// Whole headers, as the code leaves them.
fn headers() -> Vec<Value> {
    let mut shown = vec![];
    for (name, kind) in KINDS {
        let ring = Made::new(kind, 0);
        shown.push(ring.shown(&format!("{name}, open")));
        let producer = ring.claim(Role::Producer, 1000);
        drop(ring.writer());
        shown.push(ring.shown(&format!("{name}, producer 1000 has claimed")));
        let consumer = ring.claim(Role::Consumer, 2000);
        shown.push(ring.shown(&format!("{name}, consumer 2000 has claimed, too")));
        let mut writer = ring.written();
        ring.leave(&producer, Departure::Finished, || {
            writer.leave_mark(Ending::Finished)
        });
        shown.push(ring.shown(&format!("{name}, 3 bytes written and finished")));
        ring.leave(&consumer, Departure::Aborted, || ());
        shown.push(ring.shown(&format!("{name}, consumer has aborted")));
    }
    let ring = Made::new(LifeCycleKind::Persistent, 3);
    ring.claim(Role::Producer, 1000);
    drop(ring.written());
    ring.claim(Role::Producer, 1001);
    shown.push(ring.shown("persistent, producer 1000 died after 3 bytes, 1001 has claimed"));
    shown
}

fn role(name: Role) -> &'static str {
    match name {
        Role::Producer => "producer",
        Role::Consumer => "consumer",
    }
}

/// The life-cycle word, event by event.
fn transitions() -> Vec<Value> {
    let mut list = vec![];
    let mut add = |kind: &str, event: &str, before: State, after: Option<State>| {
        let after = after.map(|state| hex(state.0));
        list.push(json!({"kind": kind, "event": event, "before": hex(before.0), "after": after}));
    };
    let worn = State(0xffff_0000_0001);
    for (name, kind) in KINDS {
        for who in ROLES {
            let claim = format!("claim {}", role(who));
            let one = State::OPEN.claim(who, kind, false).unwrap();
            add(name, &claim, State::OPEN, Some(one));
            add(name, &claim, one, one.claim(who, kind, false).ok());
            let dead = format!("claim {} from the dead", role(who));
            add(name, &dead, one, one.claim(who, kind, true).ok());
            let two = one.claim(who.peer(), kind, false).unwrap();
            add(name, &format!("claim {}", role(who.peer())), one, Some(two));
            for from in [one, two] {
                let left = from.leave(who, kind);
                add(name, &format!("leave {}", role(who)), from, Some(left));
                add(name, &claim, left, left.claim(who, kind, false).ok());
                add(name, &format!("lose {}", role(who)), from, from.lose(who));
            }
            add(name, &claim, worn, worn.claim(who, kind, false).ok());
            let removed = one.remove();
            add(name, &claim, removed, removed.claim(who, kind, false).ok());
        }
        add(name, "replace", State::OPEN, State::OPEN.replace());
        add(name, "remove", State::OPEN, Some(State::OPEN.remove()));
    }
    list
}

fn owners() -> Vec<Value> {
    let cases = [
        (1, 1, 0, 1),
        (4242, 4_026_531_836, 123_456, 2),
        (4_194_303, u32::MAX, u64::MAX, u16::MAX),
        (77, 0, 0, 3),
    ];
    let owner = |(pid, pid_namespace, start, generation)| {
        let process = Process {
            pid,
            start,
            pid_namespace,
            time_namespace: 0,
        };
        json!({"pid": pid, "pid_namespace": pid_namespace, "start": hex(start), "generation": generation,
               "word": hex(owner_word(&process, generation))})
    };
    cases.map(owner).into()
}

/// How a side has left, by its closed word.
fn how(closed: u64) -> &'static str {
    match Departure::from_word(closed) {
        Ok(Departure::Open) => "open",
        Ok(Departure::Finished) => "finished",
        Ok(Departure::Aborted) => "aborted",
        Err(_) => "corrupt",
    }
}

fn closed_words() -> Vec<Value> {
    let made = [Departure::Finished, Departure::Aborted]
        .into_iter()
        .flat_map(|departure| {
            [1, 2, 255, 256, u64::MAX >> 8].map(|claim| departure.to_word(claim))
        });
    let other = [0, 1, 2, 3, 0x100, 0x103, 0x1ff, u64::MAX];
    let shown = |word| json!({"word": hex(word), "number": hex(word >> 8), "how": how(word)});
    made.chain(other).map(shown).collect()
}

fn endings() -> Vec<Value> {
    let endings = [
        ("finished", Ending::Finished),
        ("aborted", Ending::Aborted),
        ("died", Ending::Died(0)),
        ("died", Ending::Died(4242)),
        ("died", Ending::Died(u32::MAX)),
    ];
    let pid = |ending| match ending {
        Ending::Died(pid) => pid,
        Ending::Finished | Ending::Aborted => 0,
    };
    endings
        .map(|(how, ending)| json!({"how": how, "pid": pid(ending), "word": hex(ending.to_word())}))
        .into()
}

/// Every constant and offset by a name.
fn constants() -> Value {
    let state = offset_of!(Header, state);
    let [producer, consumer] = ROLES.map(|role| {
        let header = Header::default();
        let base = std::ptr::from_ref(&header).addr();
        let place = |address: usize| address - base;
        let record = place(std::ptr::from_ref(header.record(role)).addr());
        (record, place(std::ptr::from_ref(header.side(role)).addr()))
    });
    let side = |(record, side): (usize, usize)| {
        let signals = side + offset_of!(Side, signals);
        json!({
            "owner": record + offset_of!(Record, owner),
            "complete": record + offset_of!(Record, complete),
            "start": record + offset_of!(Record, start),
            "pid_namespace": record + offset_of!(Record, pid_namespace),
            "time_namespace": record + offset_of!(Record, time_namespace),
            "views": record + offset_of!(Record, views),
            "capabilities": record + offset_of!(Record, capabilities),
            "position": side + offset_of!(Side, position),
            "closed": signals + offset_of!(Signals, closed),
            "sleeping": signals + offset_of!(Signals, sleeping),
            "hint": signals + offset_of!(Signals, delivery_hint),
            "wanted": signals + offset_of!(Signals, wanted),
            "claims": signals + offset_of!(Signals, claims),
            "marks": signals + offset_of!(Signals, marks),
            "places": signals + offset_of!(Signals, places),
        })
    };
    json!({
        "version": VERSION, "byte_order": BYTE_ORDER, "line": LINE, "marks": MARKS,
        "state": state + offset_of!(StateLine, word),
        "first_mark": offset_of!(Header, marks), "path": offset_of!(Header, path),
        "inline": producer.1 + offset_of!(Side, inline),
        "ring": size_of::<Header>(),
        "producer": side(producer), "consumer": side(consumer),
    })
}

#[test]
fn the_golden_vectors_are_those_of_the_code() {
    if crate::segment::identity::ring_offset() != 4096 {
        return println!("skipped: the vectors are those of pages of 4096 bytes");
    }
    let made = json!({
        "about": "made by src/ring/tests/vectors.rs; words as hexadecimal numbers, \
                  headers as offsets with eight bytes in memory order, \
                  and what the library reads there",
        "constants": constants(),
        "headers": headers(),
        "transitions": transitions(),
        "owners": owners(),
        "closed": closed_words(),
        "endings": endings(),
    });
    let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/format.json");
    if std::env::var("SHMPIPE_VECTORS").is_ok_and(|value| value == "write") {
        return std::fs::write(path, made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    let differs = kept
        .lines()
        .zip(made.lines())
        .find(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{differs:?}: SHMPIPE_VECTORS=write writes it anew"
    );
}
