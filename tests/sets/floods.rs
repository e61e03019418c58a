//! Peers that wake for nothing. A wait keeps its deadline, costs no more than its slices, and
//! serves the other members.

use std::io::Write;
use std::time::{Duration, Instant};

use shmpipe::{Role, WaitError, WaitPolicy, WaitSet};

use crate::common::{Fork, Task, alone};
use crate::{Flood, pair, ring, sleeps_of};

#[test]
fn a_wait_among_floods_keeps_its_deadline_and_its_slices() {
    alone(
        "floods::a_wait_among_floods_keeps_its_deadline_and_its_slices",
        || {
            for members in [1, 3] {
                for flood in Flood::ALL {
                    let (_producer, consumer) = pair();
                    let id = consumer.id().unwrap();
                    let child = Fork::new(|| flood.run(id, Role::Consumer));
                    let mut set = WaitSet::from(consumer);
                    set.set_wait_policy(WaitPolicy::Park);
                    let mut producers = Vec::new();
                    for _ in 1..members {
                        let (producer, consumer) = pair();
                        producers.push(producer);
                        set.insert(consumer);
                    }
                    let (start, before) = (Instant::now(), sleeps_of("/proc/thread-self/status"));
                    let time = Duration::from_millis(400);
                    assert_eq!(set.wait_deadline(start + time), Err(WaitError::TimedOut));
                    assert!(start.elapsed() < 50 * time, "{:?}", start.elapsed());
                    let sleeps = sleeps_of("/proc/thread-self/status") - before;
                    let slices = start.elapsed().as_millis() as u64 / 10 + 1;
                    println!("{members} members, {flood:?}: {sleeps} sleeps in {slices} slices");
                    assert!(sleeps <= slices * 30, "{sleeps} in {slices}");
                    child.kill();
                }
            }
        },
    );
}

/// The others are woken as ever, or found a millisecond later where nobody is known to flood.
#[test]
fn members_beside_a_flood_are_served() {
    alone("floods::members_beside_a_flood_are_served", || {
        for flood in Flood::ALL {
            let (_producer, consumer) = pair();
            let id = consumer.id().unwrap();
            let flooding = Fork::new(|| flood.run(id, Role::Consumer));
            let mut set = WaitSet::from(consumer);
            set.set_wait_policy(WaitPolicy::Park);
            let mut ring = Some(ring(4096));
            let mut writing = Fork::new(|| {
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                for round in 0..100_u8 {
                    producer.write_all(&[round]).unwrap();
                    if round % 20 == 0 {
                        Task::parent().until_asleep_or_spinning();
                    }
                }
                producer.close().unwrap();
            });
            let key = set.insert(ring.take().unwrap().into_consumer().unwrap());
            let mut received: Vec<u8> = Vec::new();
            loop {
                assert_eq!(set.wait(), Ok(Some(key)), "the flood brings nothing");
                let mut bytes = [0; 64];
                match set[key].try_read(&mut bytes).unwrap() {
                    0 => break,
                    len => received.extend(&bytes[..len]),
                }
            }
            assert!(received.iter().copied().eq(0..100));
            writing.wait();
            flooding.kill();
        }
    });
}
