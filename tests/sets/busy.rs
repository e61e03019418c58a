//! Sets that never come to sleep, since some member is always ready, or soon.

use shmpipe::WaitSet;
use shmpipe::set::End;

use crate::{is_readable_within, pair, ring};

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
