//! The thread that waits for all handles: one, for as long as it is needed.

use std::fs;
use std::io::Write;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join_all;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::{Broken, Role, sysv};

use crate::common::offsets::{SIGNALS, SLEEPING};
use crate::common::{End, Fork, alone, exit_now, sleeps, until};
use crate::{Count, broken, pair, poll_once, ring};

/// The threads of this process that wait, by their number.
fn reactors() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| task.unwrap().path())
        .filter(|task| {
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            name.trim() == "shmpipe-waiter"
        })
        .map(|task| task.display().to_string())
        .collect()
}

/// The one that there is, once it has come to have its name.
#[track_caller]
fn reactor() -> String {
    let mut found = Vec::new();
    until(|| {
        found = reactors();
        assert!(found.len() <= 1, "one thread is enough: {found:?}");
        found.len() == 1
    });
    found.remove(0)
}

/// How often the thread has gone to sleep.
fn sleeps_of(task: &str) -> u64 {
    let status = fs::read_to_string(format!("{task}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Waits until the thread has gone to sleep so many times more, as it does each slice.
#[track_caller]
pub(crate) fn sleeps_again(times: u64) {
    let task = reactor();
    let before = sleeps_of(&task);
    until(|| sleeps_of(&task) >= before + times);
}

#[test]
fn one_thread_waits_for_300_rings() {
    alone("reactor::one_thread_waits_for_300_rings", || {
        assert!(reactors().is_empty());
        let (producers, consumers): (Vec<_>, Vec<_>) = (0..300).map(|_| pair(4096)).unzip();
        let mut producers: Vec<_> = producers
            .into_iter()
            .map(AsyncProducer::into_inner)
            .collect();
        assert!(reactors().is_empty(), "nobody has waited");
        let writer = std::thread::spawn(move || {
            let task = reactor();
            for round in 0..20u8 {
                for (number, producer) in (0..).zip(&mut producers) {
                    producer.write_all(&[round, number as u8]).unwrap();
                }
                std::thread::sleep(Duration::from_millis(15));
                assert_eq!(reactor(), task);
            }
            producers
        });
        let reads = (0..)
            .zip(consumers)
            .map(|(number, mut consumer)| async move {
                for round in 0..20 {
                    let mut bytes = [0; 2];
                    consumer.read_exact(&mut bytes).await.unwrap();
                    assert_eq!(bytes, [round, number as u8]);
                }
                consumer
            });
        let consumers = block_on(join_all(reads));
        assert_eq!(consumers.len(), 300);
        drop(writer.join().unwrap());
        drop(consumers);
        until(|| reactors().is_empty());
        // And starts again.
        let (mut producer, mut consumer) = pair(4096);
        let count = Arc::default();
        assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
        reactor();
        block_on(producer.write_all(b"x")).unwrap();
        until(|| count.get() == 1);
    });
}

/// A death among so many rings is found, though not all are asked after at a
/// time.
#[test]
fn a_death_among_100_rings_is_noticed() {
    alone("reactor::a_death_among_100_rings_is_noticed", || {
        let mut last = Some(ring(4096));
        let mut child = Fork::new(|| {
            let producer = last.take().unwrap().into_producer().unwrap();
            let id = producer.id().unwrap();
            until(|| sleeps(id, Role::Consumer)); // the last one to wait
            exit_now(0);
        });
        let mut others: Vec<_> = (0..100).map(|_| pair(4096)).collect();
        let count = Arc::default();
        for (_, consumer) in &mut others {
            assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
        }
        let mut consumer = AsyncConsumer::new(last.take().unwrap().into_consumer().unwrap());
        let error = block_on(consumer.read(&mut [0])).unwrap_err();
        assert!(matches!(broken(&error), Broken::Died { .. }), "{error}");
        assert_eq!(child.wait(), End::Exit(0));
        assert_eq!(count.get(), 0, "a death wakes those whom it concerns");
    });
}

#[test]
fn an_idle_wait_sleeps_its_slices() {
    alone("reactor::an_idle_wait_sleeps_its_slices", || {
        let (_producer, mut consumer) = pair(4096);
        let count = Arc::default();
        assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
        let task = reactor();
        let (start, before) = (Instant::now(), sleeps_of(&task));
        sleeps_again(50);
        let sleeps = sleeps_of(&task) - before;
        let slices = start.elapsed().as_millis() as u64 / 10;
        println!("{sleeps} sleeps in {slices} slices");
        assert!(sleeps <= slices + 10, "{sleeps} in {slices}");
        assert_eq!(count.get(), 0);
    });
}

/// A handle that waited, was dropped, and so let go of its segment at once.
#[test]
fn a_dropped_handle_detaches_at_once() {
    alone("reactor::a_dropped_handle_detaches_at_once", || {
        for _ in 0..100 {
            let mut ring = Some(ring(4096));
            let (mut told, mut tell) = std::io::pipe().unwrap();
            let mut child = Fork::new(|| {
                let producer = ring.take().unwrap().into_producer().unwrap();
                std::io::Read::read_exact(&mut told, &mut [0]).unwrap();
                drop(producer);
            });
            let mut consumer = AsyncConsumer::new(ring.take().unwrap().into_consumer().unwrap());
            let id = consumer.get_ref().id().unwrap();
            until(|| sysv::stat(id).unwrap().attached == 4);
            assert!(poll_once(consumer.read(&mut [0]), &Arc::default()).is_pending());
            drop(consumer);
            assert_eq!(sysv::stat(id).unwrap().attached, 2);
            tell.write_all(&[0]).unwrap();
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}

#[test]
fn a_forked_child_has_a_thread_of_its_own() {
    alone("reactor::a_forked_child_has_a_thread_of_its_own", || {
        // A reactor at work, so that the forks find its locks held.
        let stop = Arc::new(AtomicBool::new(false));
        let (mut producer, mut consumer) = pair(4096);
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                block_on(producer.write_all(b"x")).unwrap();
                std::thread::yield_now();
            }
        });
        let reader = std::thread::spawn(
            move || {
                while block_on(consumer.read(&mut [0])).unwrap() > 0 {}
            },
        );
        let (mut inherited_by, mut inherited) = pair(4096);
        let count: Arc<Count> = Arc::default();
        assert!(poll_once(inherited.read(&mut [0]), &count).is_pending());
        let mut inherited = Some(inherited);
        for _ in 0..100 {
            // The process has several threads, and the child takes no lock of
            // theirs but the allocator's, which the C library looks after.
            let mut child = Fork::new(|| {
                let mut inherited = inherited.take().unwrap();
                let error = block_on(inherited.read(&mut [0])).unwrap_err();
                assert_eq!(broken(&error), Broken::Inherited);
                drop(inherited);
                let (mut producer, mut consumer) = pair(4096);
                let count = Arc::default();
                assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
                reactor();
                block_on(producer.write_all(b"x")).unwrap();
                until(|| count.get() == 1);
                assert_eq!(block_on(consumer.read(&mut [0])).unwrap(), 1);
            });
            assert_eq!(child.wait(), End::Exit(0));
        }
        assert_eq!(count.get(), 0);
        block_on(inherited_by.write_all(b"x")).unwrap();
        until(|| count.get() == 1);
        assert_eq!(
            block_on(inherited.as_mut().unwrap().read(&mut [0])).unwrap(),
            1
        );
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// What a hostile peer does all the time to the word that a consumer sleeps on.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Clear,
    Flip,
    WakeOnly,
}

#[test]
fn a_flood_of_wakes_is_slept_through() {
    alone("reactor::a_flood_of_wakes_is_slept_through", || {
        for flood in [Flood::Clear, Flood::Flip, Flood::WakeOnly] {
            let (mut producer, mut consumer) = pair(4096);
            let id = consumer.get_ref().id().unwrap();
            let child = Fork::new(|| {
                let attached = sysv::attach(id).unwrap();
                let word = NonNull::new(
                    attached
                        .as_ptr()
                        .wrapping_add(SIGNALS[1] + SLEEPING)
                        .cast::<AtomicU32>(),
                );
                // SAFETY: aligned, inside the attachment, which is kept.
                let word = unsafe { word.unwrap().as_ref() };
                loop {
                    match flood {
                        Flood::Clear => word.store(0, Ordering::SeqCst),
                        Flood::Flip => word.store(7, Ordering::SeqCst),
                        Flood::WakeOnly => {}
                    }
                    // SAFETY: FUTEX_WAKE names a word and touches nothing.
                    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 9) };
                    if let Flood::Flip = flood {
                        word.store(0, Ordering::SeqCst);
                    }
                }
            });
            let count: Arc<Count> = Arc::default();
            let (start, mut polls) = (Instant::now(), 0);
            assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
            let task = reactor();
            let before = sleeps_of(&task);
            while start.elapsed() < Duration::from_millis(500) {
                if count.get() > polls {
                    polls = count.get();
                    assert!(poll_once(consumer.read(&mut [0]), &count).is_pending());
                }
                std::thread::yield_now();
            }
            let sleeps = sleeps_of(&task) - before;
            let slices = start.elapsed().as_millis() as u64 / 10 + 1;
            println!("{flood:?}: {sleeps} sleeps and {polls} polls in {slices} slices");
            assert!(polls as u64 <= slices * 20, "{polls} in {slices}");
            assert!(sleeps <= slices * 100, "{sleeps} in {slices}");
            child.kill();
            let mut reader = AsyncProducer::get_mut(&mut producer);
            Write::write_all(&mut reader, b"x").unwrap();
            assert_eq!(block_on(consumer.read(&mut [0])).unwrap(), 1);
        }
    });
}
