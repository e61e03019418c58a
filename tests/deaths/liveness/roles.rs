//! Each role has one holder, however many processes race for it.
#![allow(unsafe_code)] // forks, namespaces, signals

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{OpenError, Role};

use super::options;
use crate::common::{End, Fork, PATIENCE, TempPath, alone, exit_now};

/// What a racer reports, in one write of a pipe.
#[derive(Clone, Copy, Debug)]
struct Report {
    role: Role,
    ring: u64,
}

/// Eight processes that start together; gives back what the winners report.
fn race(racer: impl Fn(u64) -> Option<Report>) -> Vec<Report> {
    let (start_in, start) = std::io::pipe().unwrap();
    let (mut reports, reports_in) = std::io::pipe().unwrap();
    let racers: Vec<Fork> = (0..8)
        .map(|number| {
            Fork::new(|| {
                // The read ends once the parent lets go of the other end.
                // SAFETY: the descriptor is this process's copy.
                unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&start)) };
                let _ = (&start_in).read(&mut [0]);
                if let Some(report) = racer(number) {
                    let mut bytes = [0; 9];
                    bytes[0] = (report.role == Role::Consumer).into();
                    bytes[1..].copy_from_slice(&report.ring.to_ne_bytes());
                    (&reports_in).write_all(&bytes).unwrap();
                }
            })
        })
        .collect();
    drop((start, reports_in));
    let mut bytes = Vec::new();
    reports.read_to_end(&mut bytes).unwrap();
    for mut racer in racers {
        assert_eq!(racer.wait(), End::Exit(0));
    }
    bytes
        .chunks_exact(9)
        .map(|bytes| Report {
            role: [Role::Producer, Role::Consumer][usize::from(bytes[0])],
            ring: u64::from_ne_bytes(bytes[1..].try_into().unwrap()),
        })
        .collect()
}

fn role_of(number: u64) -> Role {
    [Role::Producer, Role::Consumer][(number % 2) as usize]
}

const ROUNDS: usize = 1000;

#[test]
fn one_id_has_one_producer_and_one_consumer() {
    alone(
        "liveness::roles::one_id_has_one_producer_and_one_consumer",
        || {
            for _ in 0..ROUNDS {
                let ring = options().create_anonymous().unwrap();
                let id = ring.id().unwrap();
                let winners = race(|number| {
                    let role = role_of(number);
                    let ring = options().attach(id).unwrap();
                    let taken = match role {
                        Role::Producer => ring.into_producer().map(std::mem::forget),
                        Role::Consumer => ring.into_consumer().map(std::mem::forget),
                    };
                    match taken {
                        Ok(()) => Some(Report { role, ring: 0 }),
                        Err(OpenError::RoleTaken { .. }) => None,
                        Err(error) => panic!("{error}"),
                    }
                });
                let of = |role| winners.iter().filter(|winner| winner.role == role).count();
                assert_eq!((of(Role::Producer), of(Role::Consumer)), (1, 1));
            }
            println!("racers for one id: {ROUNDS} rounds of 8; one producer and one consumer each");
        },
    );
}

/// Opens `path` until the role is free: the ring before may not be paired yet.
fn open<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> T {
    let start = Instant::now();
    loop {
        match open() {
            Ok(end) => return end,
            Err(OpenError::RoleTaken { .. }) if start.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn each_ring_of_one_path_has_one_producer_and_one_consumer() {
    alone(
        "liveness::roles::each_ring_of_one_path_has_one_producer_and_one_consumer",
        || {
            for round in 0..ROUNDS {
                let path = TempPath::new();
                let reports = race(|number| {
                    let role = role_of(number);
                    let token = number + 1;
                    let ring = match role {
                        Role::Producer => {
                            let mut producer = open(|| options().open_producer(&path));
                            producer.write_all(&token.to_ne_bytes()).unwrap();
                            token
                        }
                        Role::Consumer => {
                            let mut consumer = open(|| options().open_consumer(&path));
                            let mut bytes = Vec::new();
                            consumer.read_to_end(&mut bytes).unwrap();
                            u64::from_ne_bytes(bytes.try_into().unwrap())
                        }
                    };
                    Some(Report { role, ring })
                });
                // Each token was sent by one producer, and received by one
                // consumer, whole and alone.
                let mut tokens = [Role::Producer, Role::Consumer].map(|role| {
                    let of = reports.iter().filter(|report| report.role == role);
                    of.map(|report| report.ring).collect::<Vec<_>>()
                });
                tokens.iter_mut().for_each(|tokens| tokens.sort_unstable());
                assert_eq!(tokens, [[1, 3, 5, 7], [1, 3, 5, 7]], "round {round}");
                assert!(!path.leads_to_a_segment(), "round {round}");
            }
            println!("racers for one path: {ROUNDS} rounds of 8; four pairs each, never mixed");
        },
    );
}

#[test]
fn one_racer_follows_a_dead_holder() {
    alone("liveness::roles::one_racer_follows_a_dead_holder", || {
        let mut persistent = options();
        persistent.persistent(true);
        for round in 0..ROUNDS as u64 {
            let path = TempPath::new();
            let role = role_of(round);
            let claim = || match role {
                Role::Producer => persistent.open_producer(&path).map(std::mem::forget),
                Role::Consumer => persistent.open_consumer(&path).map(std::mem::forget),
            };
            let mut holder = Fork::new(|| {
                claim().unwrap();
                exit_now(0);
            });
            assert_eq!(holder.wait(), End::Exit(0)); // with its role in hand
            let guard = TempPath::new();
            let winners = race(|_| match claim() {
                Ok(()) => {
                    // Whoever has the role has this lock, alone.
                    let alone = std::fs::File::open(&guard).unwrap();
                    alone.try_lock().expect("the role is had by one at a time");
                    std::thread::sleep(Duration::from_millis(2));
                    alone.unlock().unwrap();
                    Some(Report { role, ring: 0 })
                }
                Err(OpenError::RoleTaken { .. }) => None,
                Err(error) => panic!("{error}"),
            });
            assert!(!winners.is_empty(), "round {round}: the dead is followed");
        }
        println!("racers for a dead holder's role: {ROUNDS} rounds of 8; one at a time had it");
    });
}
