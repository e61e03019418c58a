//! Living peers are never taken for dead, roles are never had twice, and
//! nothing piles up.
#![allow(unsafe_code)] // forks, namespaces, signals

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{End, Fork, PATIENCE, TempPath, alone, exit_now, is_waited_for, until};
use shmpipe::{Broken, Consumer, OpenError, Options, Producer, Role, sysv};

fn options() -> Options {
    let mut options = Options::new();
    options.capacity(4096).timeout(Some(PATIENCE));
    options
}

// ---- No false death ----

/// Two processes for each processor that do nothing but keep it busy.
fn busy_loops() -> Vec<Fork> {
    let processors = std::thread::available_parallelism().unwrap().get();
    (0..2 * processors)
        .map(|_| {
            Fork::new(|| {
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect()
}

/// What a peer does while it is asked after.
type Part = fn(Producer);

#[test]
fn no_living_peer_is_taken_for_dead() {
    alone("liveness::no_living_peer_is_taken_for_dead", || {
        const CHECKS: u64 = 1_000_000;
        let conditions: [(&str, Part); 5] = [
            ("stopped", idle),
            ("starved", idle),
            ("on another thread, its own has exited", on_another_thread),
            ("its first thread has exited", first_thread_exits),
            ("forking and running programs", forks_and_spawns),
        ];
        let _busy = busy_loops();
        for (what, part) in conditions {
            let mut ring = Some(options().create_anonymous().unwrap());
            let mut child = Fork::new(|| part(ring.take().unwrap().into_producer().unwrap()));
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            consumer.read_exact(&mut [0]).unwrap(); // the child is ready
            if what == "stopped" {
                child.signal(libc::SIGSTOP);
            }
            for check in 0..CHECKS / conditions.len() as u64 {
                assert_eq!(consumer.check_peer(), Ok(()), "{what}, check {check}");
            }
            assert!(child.is_running());
            child.kill();
            let start = Instant::now();
            while consumer.check_peer().is_ok() {
                assert!(start.elapsed() < PATIENCE, "{what}: death not noticed");
            }
        }
        println!("liveness checks of living peers: {CHECKS}; taken for dead: 0");
    });
}

fn ready(producer: &mut Producer) {
    producer.write_all(&[1]).unwrap();
}

fn idle(mut producer: Producer) {
    ready(&mut producer);
    loop {
        std::thread::sleep(PATIENCE);
    }
}

fn on_another_thread(producer: Producer) {
    let first = std::thread::spawn(|| {
        std::thread::spawn(move || idle(producer));
    });
    first.join().unwrap();
    std::thread::sleep(10 * PATIENCE);
}

fn first_thread_exits(producer: Producer) {
    std::thread::spawn(move || idle(producer));
    // Not pthread_exit, which unwinds.
    // SAFETY: ends this thread; what it owns is never used again, for the
    // process ends by a signal.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn forks_and_spawns(mut producer: Producer) {
    ready(&mut producer);
    loop {
        // Its copy of the handle is not dropped: see `exit_now`.
        Fork::new(|| exit_now(0)).wait();
        Command::new("true").status().unwrap();
    }
}

// ---- One holder of each role ----

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
    alone("liveness::one_id_has_one_producer_and_one_consumer", || {
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
    });
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
        "liveness::each_ring_of_one_path_has_one_producer_and_one_consumer",
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
    alone("liveness::one_racer_follows_a_dead_holder", || {
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

// ---- Nothing piles up ----

fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_hundred_thousand_rings_leave_nothing() {
    alone("liveness::a_hundred_thousand_rings_leave_nothing", || {
        const CYCLES: usize = 100_000;
        let path = TempPath::new();
        let mut last = None;
        let mut cycle = |number: usize| {
            if number.is_multiple_of(5) {
                let mut producer = options().wait_for_peer(false).open_producer(&path).unwrap();
                let mut consumer = options().open_consumer(&path).unwrap();
                stream(&mut producer, &mut consumer);
                last = Some(consumer.id().unwrap());
            } else {
                let (mut producer, mut consumer) =
                    options().create_anonymous().unwrap().split().unwrap();
                stream(&mut producer, &mut consumer);
                last = Some(consumer.id().unwrap());
            }
        };
        (0..100).for_each(&mut cycle); // what is allocated once is allocated
        let before = (address_space(), descriptors());
        (0..CYCLES).for_each(&mut cycle);
        assert_eq!((address_space(), descriptors()), before);
        assert!(sysv::stat(last.unwrap()).is_err());
        assert!(!path.leads_to_a_segment());
        println!(
            "{CYCLES} rings made, paired and dropped: address space and descriptors as before"
        );
    });
}

fn stream(producer: &mut Producer, consumer: &mut Consumer) {
    assert_eq!(producer.try_write(b"ring"), Ok(4));
    let mut bytes = [0; 8];
    assert_eq!(consumer.try_read(&mut bytes), Ok(4));
}

// ---- Namespaces and hosts ----

/// Moves this process to namespaces of its own; `false`, with a note, where
/// that is not allowed.
fn unshare(flags: libc::c_int) -> bool {
    let moved = crate::common::unshare(flags);
    if !moved {
        println!("not allowed to make a namespace: nothing was tested");
    }
    moved
}

#[test]
fn a_peer_in_another_pid_namespace_streams_and_its_death_is_noticed() {
    alone(
        "liveness::a_peer_in_another_pid_namespace_streams_and_its_death_is_noticed",
        || {
            if !unshare(libc::CLONE_NEWPID) {
                return;
            }
            let path = TempPath::new();
            // The first child is process 1 of the new namespace.
            let child = Fork::new(|| {
                assert_eq!(std::process::id(), 1);
                let mut producer = options().open_producer(&path).unwrap();
                producer.write_all(&[7; 100_000]).unwrap();
                // The reader lives, though its number means nothing here.
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(100) {
                    producer.check_peer().unwrap();
                }
                idle(producer);
            });
            let mut consumer = options().open_consumer(&path).unwrap();
            let mut bytes = vec![0; 100_000];
            consumer.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [7; 100_000]);
            consumer.read_exact(&mut [0]).unwrap();
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(100) {
                consumer.check_peer().unwrap();
            }
            child.kill();
            let error = consumer.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
            let died = Broken::Died {
                role: Role::Producer,
                pid: 1,
            };
            assert_eq!(broken, Some(&died), "by its number in its own namespace");
        },
    );
}

#[test]
fn another_ipc_namespace_is_named_as_the_cause() {
    alone(
        "liveness::another_ipc_namespace_is_named_as_the_cause",
        || {
            let path = TempPath::new();
            let waiting = Fork::new(|| {
                let _ = options().open_producer(&path);
            });
            until(|| is_waited_for(&path));
            let mut other = Fork::new(|| {
                if !unshare(libc::CLONE_NEWIPC) {
                    return;
                }
                let start = Instant::now();
                let error = options().open_consumer(&path).unwrap_err();
                assert!(matches!(error, OpenError::OtherNamespace { .. }), "{error}");
                assert!(error.to_string().contains("IPC namespace"));
                // The cause ends the wait, not the time limit.
                assert!(start.elapsed() < PATIENCE / 2, "that is a hang");
            });
            assert_eq!(other.wait(), End::Exit(0));
            drop(waiting);
        },
    );
}

#[test]
fn forced_removal_changes_nothing_but_persistence() {
    alone(
        "liveness::forced_removal_changes_nothing_but_persistence",
        || {
            const FORCED: &str = "/proc/sys/kernel/shm_rmid_forced";
            if !unshare(libc::CLONE_NEWIPC) || std::fs::write(FORCED, "1").is_err() {
                println!("kernel.shm_rmid_forced cannot be set: nothing was tested");
                return;
            }
            let path = TempPath::new();
            let mut child = Fork::new(|| {
                let mut producer = options().open_producer(&path).unwrap();
                producer.write_all(&[7; 100_000]).unwrap();
            });
            let mut bytes = Vec::new();
            options()
                .open_consumer(&path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(bytes, [7; 100_000]);
            assert_eq!(child.wait(), End::Exit(0));

            let (mut producer, mut consumer) =
                options().create_anonymous().unwrap().split().unwrap();
            stream(&mut producer, &mut consumer);

            let error = options().persistent(true).open_producer(&path).unwrap_err();
            assert!(matches!(error, OpenError::CannotPersist), "{error}");
        },
    );
}

#[test]
fn removal_in_mid_stream_loses_nothing() {
    alone("liveness::removal_in_mid_stream_loses_nothing", || {
        for persistent in [false, true] {
            let path = TempPath::new();
            let mut options = options();
            options.persistent(persistent);
            let mut child = Fork::new(|| {
                let mut producer = options.open_producer(&path).unwrap();
                producer.write_all(&[7; 1_000_000]).unwrap();
            });
            let mut consumer = options.open_consumer(&path).unwrap();
            consumer.read_exact(&mut [0; 1000]).unwrap();
            let id = consumer.id().unwrap().to_string();
            assert!(
                Command::new("ipcrm")
                    .args(["-m", &id])
                    .status()
                    .unwrap()
                    .success()
            );
            let mut bytes = Vec::new();
            consumer.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, [7; 999_000]);
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}
