//! The bytes of a segment, at literal offsets: a change here is a change of
//! the layout's version.
#![allow(missing_docs)]
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] // lines of 128 bytes

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;

use common::{TempPath, alone, bytes_of, options, stream};
use shmpipe::sysv::{self, SegmentId};

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// Where the ring begins.
fn ring_offset() -> usize {
    sysv::page_size().max(4096)
}

fn capacity() -> usize {
    ring_offset()
}

/// Panics unless the bytes from `from` to `to` are zero.
#[track_caller]
fn assert_zero(bytes: &[u8], from: usize, to: usize) {
    let other = bytes[from..to].iter().position(|&byte| byte != 0);
    assert_eq!(other.map(|offset| from + offset), None, "not zero");
}

/// The identity line, but for the nonce.
#[track_caller]
fn assert_identity(bytes: &[u8], kind: u32, file: (u64, u64, u32), flags: u32) {
    assert_eq!(&bytes[..8], b"shmpipe\0");
    assert_eq!(u32_at(bytes, 8), 1, "version");
    assert_eq!(u32_at(bytes, 12), 0x0102_0304, "byte order");
    assert_eq!(u32_at(bytes, 16), 128, "line size");
    assert_eq!(u32_at(bytes, 20), kind, "kind");
    assert_eq!(u64_at(bytes, 24), capacity() as u64, "capacity");
    assert_eq!(u64_at(bytes, 32), ring_offset() as u64, "ring offset");
    assert_ne!(u64_at(bytes, 40), 0, "nonce");
    assert_eq!(u64_at(bytes, 48), file.0, "device");
    assert_eq!(u64_at(bytes, 56), file.1, "inode");
    assert_eq!(u32_at(bytes, 64), file.2, "project");
    assert_eq!(u32_at(bytes, 68), flags, "flags");
    assert_zero(bytes, 72, 128);
}

/// The futex word: awake, with the promise of a barrier where the kernel has them.
fn assert_is_awake(bytes: &[u8], offset: usize) {
    let word = u32_at(bytes, offset);
    assert!(word == 0 || word == 2, "sleeping: {word}");
}

#[test]
fn golden_bytes_of_an_anonymous_ring() {
    let ring = options().capacity(capacity()).anonymous().unwrap();
    let bytes = bytes_of(ring.id().unwrap());
    assert_eq!(bytes.len(), ring_offset() + capacity());
    assert_identity(&bytes, 1, (0, 0, 0), 0);
    assert_eq!(u64_at(&bytes, 128), 1, "life-cycle word: open, nobody");
    assert_zero(&bytes, 136, bytes.len());
}

#[test]
fn golden_bytes_of_a_named_ring_one_side_holds() {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(capacity()).no_wait(true);
    let producer = options.producer(&path).unwrap();
    let bytes = bytes_of(producer.id().unwrap());
    let file = fs::metadata(&path).unwrap();
    // Flags: the capacity was asked for, and nobody was waited for.
    assert_identity(&bytes, 2, (file.dev(), file.ino(), 1), 1 | 2);
    assert_eq!(
        u64_at(&bytes, 128),
        1 | 1 << 8 | 1 << 16,
        "life-cycle word: open, producer held, its first generation"
    );
    // The producer's record: owner, complete, ..., views.
    assert_eq!(u64_at(&bytes, 136) >> 42, u64::from(std::process::id()));
    assert_eq!(u64_at(&bytes, 136), u64_at(&bytes, 144));
    assert_eq!(u32_at(&bytes, 168), 2);
    assert_zero(&bytes, 172, 264);
    assert_eq!(u64_at(&bytes, 264), 1 << 63, "the end of no echo");
    assert_zero(&bytes, 272, 388);
    assert_is_awake(&bytes, 388);
    assert_zero(&bytes, 392, bytes.len());
}

#[test]
fn golden_bytes_of_a_persistent_ring_nobody_holds() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).project(7).capacity(capacity());
    let id = options.consumer(&path).unwrap().id().unwrap();
    let bytes = bytes_of(id);
    shmpipe::remove_path(&path, 7, false).unwrap();
    let file = fs::metadata(&path).unwrap();
    assert_identity(&bytes, 3, (file.dev(), file.ino(), 7), 1);
    assert_eq!(u64_at(&bytes, 128), 1 | 1 << 32, "open, consumer came once");
    assert_eq!(u64_at(&bytes, 136), 0, "no producer");
    assert_eq!(u64_at(&bytes, 176), 0, "no consumer any more");
    assert_zero(&bytes, 256, 640); // tail, the producer's signals, head
    assert_eq!(u32_at(&bytes, 640), 1 << 8 | 1, "closed: first, finished");
    assert_is_awake(&bytes, 644);
    assert_zero(&bytes, 648, bytes.len());
}

#[test]
fn every_ring_has_a_nonce_of_its_own() {
    let nonce = || {
        let ring = options().capacity(capacity()).anonymous().unwrap();
        u64_at(&bytes_of(ring.id().unwrap()), 40)
    };
    assert_ne!(nonce(), nonce());
}

#[test]
fn tail_is_at_256_and_head_at_512() {
    let ring = options().capacity(capacity()).anonymous().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    let id: SegmentId = producer.id().unwrap();
    let positions = || {
        let bytes = bytes_of(id);
        (u64_at(&bytes, 256), u64_at(&bytes, 512))
    };
    assert_eq!(positions(), (0, 0));
    producer.try_write(&[1; 1000]).unwrap();
    assert_eq!(positions(), (1000, 0));
    consumer.try_read(&mut [0; 300]).unwrap();
    assert_eq!(positions(), (1000, 300));
    // Positions count on past the end of the ring.
    for _ in 0..10 {
        consumer.try_read(&mut vec![0; capacity()]).unwrap();
        producer.try_write(&vec![2; capacity()]).unwrap();
    }
    assert_eq!(positions().0, 1000 + 10 * capacity() as u64);
    assert_eq!(positions().0, producer.position());
    assert_eq!(positions().1, consumer.position());
}

#[test]
fn the_closed_words_tell_who_left_and_how() {
    let closed = |leave: fn(shmpipe::Producer, shmpipe::Consumer)| {
        let ring = options().capacity(capacity()).anonymous().unwrap();
        let id = ring.id().unwrap();
        let kept = sysv::attach_read_only(id).unwrap();
        let (producer, consumer) = ring.split().unwrap();
        leave(producer, consumer);
        let bytes = bytes_of(id);
        drop(kept);
        (u32_at(&bytes, 384), u32_at(&bytes, 640))
    };
    // First generation: 1 << 8. Finished is 1, aborted 2.
    assert_eq!(closed(|_, _| {}), (0x101, 0x101));
    assert_eq!(closed(|mut producer, _| producer.abort()), (0x102, 0x101));
}

#[test]
fn the_bytes_lie_at_their_position_modulo_the_capacity() {
    let ring = options().capacity(capacity()).anonymous().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    let (len, at) = (200, capacity() - 96);
    producer.try_write(&vec![0; at]).unwrap();
    consumer.try_read(&mut vec![0; at]).unwrap();
    let bytes = stream(1, 0, len);
    producer.try_write(&bytes).unwrap();

    let segment = bytes_of(producer.id().unwrap());
    let ring = &segment[ring_offset()..];
    assert_eq!(ring[at..], bytes[..96], "up to the end of the ring");
    assert_eq!(ring[..104], bytes[96..], "on from its start");
    assert_zero(&segment, ring_offset() + 104, ring_offset() + at);
    assert_zero(&segment, 768, ring_offset()); // reserved, unused
    let mut read = [0; 200];
    assert_eq!(consumer.try_read(&mut read), Ok(len));
    assert_eq!(read[..], bytes);
}

#[test]
fn a_handle_maps_the_ring_twice_in_a_row() {
    alone("a_handle_maps_the_ring_twice_in_a_row", || {
        let capacity = 4 * capacity();
        let ring = options().capacity(capacity).anonymous().unwrap();
        let id = ring.id().unwrap();
        let stat = sysv::stat(id).unwrap();
        assert_eq!(stat.size, ring_offset() + capacity);
        assert_eq!(stat.attached, 2);
        assert!(stat.marked_for_removal);

        // The kernel shows the id as the inode of the mapped file.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let views: Vec<[usize; 3]> = maps
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| words[4] == id.to_string() && words[5].starts_with("/SYSV"))
            .map(|words| {
                let (from, to) = words[0].split_once('-').unwrap();
                [from, to, words[2]].map(|hex| usize::from_str_radix(hex, 16).unwrap())
            })
            .collect();
        let [[start, middle, 0], [again, end, offset]] = views[..] else {
            panic!("not two views: {views:x?}");
        };
        assert_eq!(middle - start, ring_offset() + capacity);
        assert_eq!(again, middle, "no gap");
        assert_eq!((end - again, offset), (capacity, ring_offset()));
    });
}
