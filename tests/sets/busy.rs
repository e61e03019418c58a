//! Sets that never come to sleep, since some member is always ready, or soon.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmpipe::set::{AsEnd, End, EndMut};
use shmpipe::{
    Broken, Consumer, PeekError, Producer, TryReadError, WaitError, WaitPolicy, WaitSet,
};

use crate::common::{Fork, alone, kill_self, options};
use crate::{is_readable_within, pair, ring};

/// What is to be noticed is noticed within some slices. So long without it is a hang.
const STUCK: Duration = Duration::from_secs(10);

/// A consumer that gets a byte whenever the set has looked at it so many times.
struct Fed {
    consumer: Consumer,
    producer: Option<Producer>,
    looks: u32,
}

impl Fed {
    const LOOKS: u32 = 20;

    fn new(producer: Producer, consumer: Consumer) -> Fed {
        Fed {
            consumer,
            producer: Some(producer),
            looks: 0,
        }
    }

    fn quiet(consumer: Consumer) -> Fed {
        Fed {
            consumer,
            producer: None,
            looks: 0,
        }
    }
}

impl AsEnd for Fed {
    fn as_end(&mut self) -> EndMut<'_> {
        self.looks += 1;
        if let Some(producer) = &mut self.producer
            && self.looks.is_multiple_of(Self::LOOKS)
        {
            let _ = producer.try_write(b"x"); // a full ring is as good
        }
        EndMut::Consumer(&mut self.consumer)
    }
}

/// A consumer whose producer has written some bytes and was killed.
fn bereaved(bytes: &[u8]) -> Consumer {
    let mut ring = Some(ring(4096));
    let mut child = Fork::new(|| {
        let mut producer = ring.take().unwrap().into_producer().unwrap();
        producer.write_all(bytes).unwrap();
        kill_self();
    });
    let consumer = ring.take().unwrap().into_consumer().unwrap();
    child.wait();
    consumer
}

#[test]
fn a_death_is_noticed_while_spins_succeed() {
    alone("busy::a_death_is_noticed_while_spins_succeed", || {
        let dead = bereaved(b"");
        let (producer, consumer) = pair();
        let mut set = WaitSet::new();
        set.set_wait_policy(WaitPolicy::SpinThenPark(Duration::from_millis(9)));
        let fed = set.insert(Fed::new(producer, consumer));
        let dead = set.insert(Fed::quiet(dead));
        let start = Instant::now();
        loop {
            let key = set.wait().unwrap().unwrap();
            if key == dead {
                break;
            }
            assert_eq!(key, fed);
            assert!(start.elapsed() < STUCK, "the death is not noticed");
            set[fed].consumer.try_read(&mut [0; 9]).unwrap();
        }
        let read = set[dead].consumer.try_read(&mut [0; 9]);
        assert!(matches!(
            read,
            Err(TryReadError::Broken(Broken::Died { .. }))
        ));
    });
}

#[test]
fn a_cancel_flag_is_noticed_while_spins_succeed() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = options();
    let ring = options.cancel_on(Arc::clone(&flag)).create_anonymous();
    let (producer, consumer) = ring.unwrap().split().unwrap();
    let mut set = WaitSet::from(Fed::new(producer, consumer));
    set.set_wait_policy(WaitPolicy::SpinThenPark(Duration::from_millis(9)));
    let start = Instant::now();
    flag.store(true, Ordering::Relaxed);
    loop {
        match set.wait() {
            Ok(Some(0)) => set[0].consumer.try_read(&mut [0; 9]).map(drop).unwrap(),
            other => break assert_eq!(other, Err(WaitError::Cancelled)),
        }
        assert!(start.elapsed() < STUCK, "the flag is not noticed");
    }
}

/// A part of a record keeps the member ready. The rest does not come.
fn notices_behind_a_part(mut wait: impl FnMut(&mut WaitSet) -> Option<usize>, lends: bool) {
    let mut set = WaitSet::from(bereaved(b"abc"));
    let _descriptor = lends.then(|| set.poll_fd().unwrap());
    let start = Instant::now();
    loop {
        assert_eq!(wait(&mut set), Some(0));
        match set[0].try_peek(8).map(drop) {
            Err(PeekError::Empty { available: 3, .. }) => {}
            Err(PeekError::Broken(Broken::Died { .. })) => return,
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < STUCK, "the death is not noticed");
    }
}

#[test]
fn a_death_is_noticed_behind_a_part_of_a_record() {
    alone("busy::a_death_is_noticed_behind_a_part_of_a_record", || {
        notices_behind_a_part(|set| set.wait().unwrap(), false);
        notices_behind_a_part(|set| set.try_wait().unwrap(), true);
    });
}

/// Bytes that a batch holds back would never reach the consumer, so no room would come either.
#[test]
fn a_batch_is_published_while_another_member_is_ready() {
    let (mut batching, mut reader) = ring(4096).split().unwrap();
    batching.set_batch(8192);
    batching.try_reserve(4096).unwrap().commit_all();
    let (mut producer, busy) = pair();
    producer.try_write(b"never read").unwrap();
    let mut set = WaitSet::new();
    let batching = set.insert(End::from(batching));
    let busy = set.insert(End::from(busy));
    assert_eq!(set.wait(), Ok(Some(busy)));
    assert_eq!(reader.try_read(&mut [0; 4096]), Ok(4096));
    assert_eq!(set.wait(), Ok(Some(batching)));
}

/// The same with the descriptor, whose tries find the other member.
#[test]
fn a_batch_is_published_while_a_try_finds_another_member() {
    let (mut batching, mut reader) = ring(4096).split().unwrap();
    batching.set_batch(8192);
    batching.try_reserve(4096).unwrap().commit_all();
    let (mut producer, busy) = pair();
    producer.try_write(b"never read").unwrap();
    let mut set = WaitSet::new();
    let batching = set.insert(End::from(batching));
    let busy = set.insert(End::from(busy));
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(Some(busy)));
    assert_eq!(reader.try_read(&mut [0; 4096]), Ok(4096));
    assert!(is_readable_within(&descriptor, 0));
    assert_eq!(set.try_wait(), Ok(Some(batching)));
}
