//! Opening, looking and removing, while somebody writes to the header.

use std::path::Path;
use std::time::{Duration, Instant};

use shmpipe::sysv::{self, SegmentId};
use shmpipe::{OpenError, Options, Producer, Role, Snapshot};

use crate::attacker::{Attack, Prey};
use crate::common::random::any;
use crate::common::{End, Fork, TempPath, alone};
use crate::outcomes::{Outcomes, goes_on, timed};
use crate::{duration, own_namespace, victim};
use fastrand::Rng;

/// The time limit of an open.
const LIMIT: Duration = Duration::from_millis(100);

/// What an open came to; how its error reads must be to the point.
pub(crate) fn judge(outcomes: &mut Outcomes, what: &str, result: Result<(), OpenError>) {
    let name = match result {
        Ok(()) => "opened",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                OpenError::TimedOut { .. } => "timed out",
                OpenError::NotARing { .. } => "not a ring",
                OpenError::Removed { .. } => "removed",
                OpenError::RoleTaken { .. } => "role taken",
                OpenError::KeyCollision { .. } => "another's",
                OpenError::LifeCycleMismatch { .. } => "another life cycle",
                OpenError::CapacityMismatch { .. } => "another capacity",
                OpenError::Corrupted(_) => "corrupted",
                OpenError::NoRing { .. } => "no ring",
                OpenError::TooManyEnds { .. } => "too many ends",
                OpenError::System(error) => panic!("not an answer to an attack: {error}"),
                other => panic!("not an answer to an attack: {other}"),
            }
        }
    };
    outcomes.add(format!("{what}: {name}"));
}

/// Opens each end, and streams for a moment if that succeeds.
fn open(path: &Path, role: Role, options: &Options, random: &mut Rng, seen: &mut Outcomes) {
    let until = Instant::now() + Duration::from_millis(5);
    let mut calls = Outcomes::default();
    let opened = match role {
        Role::Producer => timed("opening", LIMIT, || options.open_producer(path))
            .map(|producer| victim::write(producer, until, random, &mut calls)),
        Role::Consumer => timed("opening", LIMIT, || options.open_consumer(path))
            .map(|consumer| victim::read(consumer, until, random, &mut calls)),
    };
    judge(seen, "open by path", opened);
}

fn attach(id: SegmentId, options: &Options, random: &mut Rng, seen: &mut Outcomes) {
    let until = Instant::now() + Duration::from_millis(5);
    let mut calls = Outcomes::default();
    let ring = timed("attaching", LIMIT, || options.attach(id));
    let end = ring.and_then(|ring| timed("claiming", LIMIT, || ring.into_producer()));
    let attached = end.map(|producer: Producer| victim::write(producer, until, random, &mut calls));
    judge(seen, "attach by id", attached);
}

/// Opens one path in every way, again and again, until `until` and until all that is
/// `wanted` has come of it.
fn open_all(path: &Path, until: Instant, seed: u64, wanted: &[&str]) -> Outcomes {
    let mut random = Rng::with_seed(seed);
    let mut seen = Outcomes::default();
    let key = sysv::Key::from_path(path, sysv::Project::default()).unwrap();
    while goes_on(until, || seen.lack(wanted).is_some()) {
        let mut options = Options::new();
        options
            .timeout(Some(LIMIT))
            .persistent(random.u64(..3) == 0);
        options.wait_for_peer(random.bool());
        options.capacity(any(&mut random, &[4096, 8192]));
        let role = any(&mut random, &[Role::Producer, Role::Consumer]);
        match random.u64(..12) {
            0..=6 => open(path, role, &options, &mut random, &mut seen),
            7 => {
                let looked = timed("looking", LIMIT, || Options::new().snapshot(path));
                judge(&mut seen, "look by path", looked.map(drop));
            }
            8 => {
                let rings = timed("listing", LIMIT, Snapshot::all);
                judge(&mut seen, "list", rings.map(drop));
            }
            9 | 10 => {
                if let Ok(id) = sysv::open(key) {
                    attach(id, &options, &mut random, &mut seen);
                }
            }
            _ => {
                let force = random.bool();
                let removed = timed("removing", LIMIT, || match force {
                    true => Options::new().force_remove(path),
                    false => Options::new().remove(path),
                });
                match removed {
                    Ok(()) => seen.add("remove: removed"),
                    Err(shmpipe::RemoveError::InUse { .. }) => seen.add("remove: in use"),
                    Err(shmpipe::RemoveError::Open(error)) => {
                        judge(&mut seen, "remove", Err(error));
                    }
                    Err(other) => panic!("not an answer to an attack: {other}"),
                }
                // What nobody can use any more makes room for another.
                if let Ok(id) = sysv::open(key)
                    && random.u64(..4) == 0
                {
                    let _ = sysv::remove(id);
                }
            }
        }
    }
    seen
}

/// Attacks whatever the paths lead to, a moment each.
fn attack(paths: [&TempPath; 2]) {
    let keys = paths.map(TempPath::key);
    let mut random = Rng::with_seed(7);
    let attacks = [
        Attack::Header,
        Attack::Plausible,
        Attack::Ends,
        Attack::Flicker,
        Attack::Flicker,
    ];
    loop {
        let key = any(&mut random, &keys);
        let prey = sysv::open(key).ok().and_then(Prey::new);
        let Some(prey) = prey else {
            std::thread::yield_now();
            continue;
        };
        let attack = any(&mut random, &attacks);
        for _ in 0..1 + random.u64(..300) {
            prey.act(attack, &mut random);
        }
        drop(prey);
        std::thread::sleep(Duration::from_micros(random.u64(..3000)));
    }
}

#[test]
fn a_hostile_header_is_refused_in_time() {
    alone("opening::a_hostile_header_is_refused_in_time", || {
        let isolated = own_namespace();
        // One that two victims open, and one that nobody else does.
        let (shared, lonely) = (TempPath::new(), TempPath::new());
        let until = Instant::now() + duration() * 3 / 10;
        let mut attacker = Fork::new(|| attack([&shared, &lonely]));
        let victim = |path: &TempPath, seed, reached: &[&str]| {
            Fork::new(|| {
                let seen = open_all(path, until, seed, reached);
                println!("opened under attack: {seen:#?}");
                assert_eq!(seen.lack(reached), None, "never");
            })
        };
        let reached = [
            "open by path: opened",
            "open by path: not a ring",
            "attach by id: opened",
            "attach by id: not a ring",
            "look by path: opened",
            "look by path: not a ring",
            "remove: removed",
        ];
        let mut victims = [
            victim(&shared, 1, &reached),
            victim(&shared, 2, &reached),
            victim(&lonely, 3, &["open by path: timed out"]),
        ];
        for victim in &mut victims {
            assert_eq!(victim.wait(), End::Exit(0), "the victim's end");
        }
        assert!(attacker.is_running(), "nobody attacked");
        drop(attacker);
        for path in [shared, lonely] {
            if let Some(id) = path.segment() {
                sysv::remove(id).unwrap();
            }
        }
        crate::common::kill::assert_no_segments(isolated);
    });
}
