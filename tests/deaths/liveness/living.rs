//! Living peers are never taken for dead.
#![allow(unsafe_code)] // forks, namespaces, signals

use std::io::Read;
use std::process::Command;
use std::time::Instant;

use shmpipe::Producer;

use super::{idle, options, ready};
use crate::common::{Fork, PATIENCE, alone, exit_now};

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
    alone("liveness::living::no_living_peer_is_taken_for_dead", || {
        const CHECKS: u64 = 1_000_000;
        let conditions: [(&str, Part); 5] = [
            ("stopped", idle),
            ("starved", idle),
            ("on another thread, its own has exited", on_another_thread),
            ("its first thread has exited", first_thread_exits),
            ("forking and running programs", forks_and_spawns),
        ];
        for (what, part) in conditions {
            // To a peer that sleeps or is stopped, a busy machine is as any other.
            let is_busy = ["starved", "forking and running programs"].contains(&what);
            let _busy = is_busy.then(busy_loops);
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
