//! The bytes of a segment, at literal offsets: a change here is a change of
//! the layout's version.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] // lines of 128 bytes

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::offsets::REQUIRED;
use crate::common::{
    End, Fork, TempPath, alone, bytes_of, exit_now, options, remove_unused, stream, unique,
};
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{OpenError, Snapshot};

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
fn assert_identity(bytes: &[u8], kind: u32, file: (u64, u64, u32, u64), flags: u32) {
    assert_eq!(&bytes[..8], b"shmpipe\0");
    assert_eq!(u32_at(bytes, 8), 2, "version");
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
    assert_eq!(u32_at(bytes, 72), 0, "compatible features");
    assert_eq!(u32_at(bytes, 76), 0, "required features");
    assert_eq!(u64_at(bytes, 80), file.3, "birth");
    assert_zero(bytes, 88, 128);
}

/// When a file was made, in nanoseconds; 0 where that is not known.
fn birth(file: &fs::Metadata) -> u64 {
    let age = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    file.created().map_or(0, |time| age(time) as u64)
}

/// The path of the file, then zeros up to the end of the header.
#[track_caller]
fn assert_path(bytes: &[u8], path: &Path) {
    let path = path.as_os_str().as_bytes();
    assert_eq!(&bytes[3072..][..path.len()], path);
    assert_zero(bytes, 3072 + path.len(), 4096);
}

/// What the holder of a role can do: wake by futex, tell inline messages, and
/// be reached by membarrier(2) where the kernel has it.
#[track_caller]
fn assert_able(bytes: &[u8], offset: usize) {
    let able = u32_at(bytes, offset);
    assert!(able == 3 || able == 7, "capabilities: {able}");
}

/// The futex word: awake, with the promise of a barrier where the kernel has them.
fn assert_is_awake(bytes: &[u8], offset: usize) {
    let word = u32_at(bytes, offset);
    assert!(word == 0 || word == 2, "sleeping: {word}");
}

#[test]
fn golden_bytes_of_an_anonymous_ring() {
    let ring = options().capacity(capacity()).create_anonymous().unwrap();
    let bytes = bytes_of(ring.id().unwrap());
    assert_eq!(bytes.len(), ring_offset() + capacity());
    assert_identity(&bytes, 1, (0, 0, 0, 0), 0);
    assert_eq!(u64_at(&bytes, 128), 1, "life-cycle word: open, nobody");
    assert_zero(&bytes, 136, bytes.len());
}

#[test]
fn golden_bytes_of_a_named_ring_one_side_holds() {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(capacity()).wait_for_peer(false);
    let producer = options.open_producer(&path).unwrap();
    let bytes = bytes_of(producer.id().unwrap());
    let file = fs::metadata(&path).unwrap();
    // Flags: the capacity was asked for, and nobody was waited for.
    assert_identity(&bytes, 2, (file.dev(), file.ino(), 1, birth(&file)), 1 | 2);
    assert_eq!(
        u64_at(&bytes, 128),
        1 | 1 << 8 | 1 << 16,
        "life-cycle word: open, producer held, its first generation"
    );
    // The producer's record: owner, complete, ..., views.
    assert_eq!(u64_at(&bytes, 136) >> 42, u64::from(std::process::id()));
    assert_eq!(u64_at(&bytes, 136), u64_at(&bytes, 144));
    assert_eq!(u32_at(&bytes, 168), 2);
    assert_able(&bytes, 172);
    assert_zero(&bytes, 176, 264);
    assert_eq!(u64_at(&bytes, 264), 1 << 63, "the end of no inline message");
    assert_zero(&bytes, 272, 392);
    assert_is_awake(&bytes, 392);
    assert_zero(&bytes, 396, 408);
    assert_eq!(u64_at(&bytes, 408), 1, "claims");
    assert_zero(&bytes, 416, 3072);
    assert_path(&bytes, &path);
    assert_zero(&bytes, 4096, bytes.len());
}

#[test]
fn golden_bytes_of_a_persistent_ring_nobody_holds() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).project(7).capacity(capacity());
    let id = options.open_consumer(&path).unwrap().id().unwrap();
    let bytes = bytes_of(id);
    remove_unused(|| shmpipe::Options::new().project(7).remove(&path));
    let file = fs::metadata(&path).unwrap();
    assert_identity(&bytes, 3, (file.dev(), file.ino(), 7, birth(&file)), 1);
    assert_eq!(u64_at(&bytes, 128), 1 | 1 << 32, "open, consumer came once");
    assert_eq!(u64_at(&bytes, 136), 0, "no producer");
    assert_eq!(u64_at(&bytes, 176), 0, "no consumer any more");
    assert_able(&bytes, 212);
    assert_zero(&bytes, 216, 640); // tail, the producer's signals, head
    assert_eq!(u64_at(&bytes, 640), 1 << 8 | 1, "closed: first, finished");
    assert_is_awake(&bytes, 648);
    assert_zero(&bytes, 652, 664);
    assert_eq!(u64_at(&bytes, 664), 1, "claims");
    assert_zero(&bytes, 672, 3072);
    assert_path(&bytes, &path);
    assert_zero(&bytes, 4096, bytes.len());
}

#[test]
fn golden_bytes_of_marks() {
    alone("layout::golden_bytes_of_marks", || {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(capacity());
        let mut producer = options.open_producer(&path).unwrap();
        let id = producer.id().unwrap();
        producer.write_all(b"one").unwrap();
        producer.close().unwrap();
        let mut producer = options.open_producer(&path).unwrap();
        producer.write_all(b"of two").unwrap();
        producer.abort();
        let mut child = Fork::new(|| {
            let mut producer = options.open_producer(&path).unwrap();
            producer.write_all(b"three").unwrap();
            exit_now(1);
        });
        assert_eq!(child.wait(), End::Exit(1));
        drop(options.open_producer(&path).unwrap());
        let mut consumer = options.open_consumer(&path).unwrap();
        assert_eq!(consumer.read(&mut [0; 100]).unwrap(), 3);
        assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
        consumer.close().unwrap();

        let bytes = bytes_of(id);
        assert_eq!(u64_at(&bytes, 408), 4, "claims");
        assert_eq!(u64_at(&bytes, 416), 4, "marks");
        assert_eq!(u64_at(&bytes, 672), 1, "acknowledged");
        assert_eq!(u32_at(&bytes, 680), 0, "nobody waits for a place");
        // Finished, aborted, died with its process id; an empty one.
        let died = u64::from(child.pid()) << 8 | 3;
        let marks = [(3, 1), (9, 2), (14, died), (14, 1)];
        for (mark, offset) in marks.into_iter().zip((1024..).step_by(16)) {
            assert_eq!((u64_at(&bytes, offset), u64_at(&bytes, offset + 8)), mark);
        }
        assert_zero(&bytes, 1024 + 4 * 16, 3072);
    });
}

#[test]
fn a_path_too_long_is_recorded_up_to_the_end_of_the_header() {
    let folder = std::env::temp_dir().join(format!("shmpipe-test-{:016x}", unique()));
    // As many steps in place as there is room for, and some.
    let mut long = folder.clone();
    fs::create_dir(&folder).unwrap();
    for _ in 0..60 {
        long.push("../");
        long.push(folder.file_name().unwrap());
    }
    let path = TempPath::new_in(&long);
    let written = path.as_os_str().as_bytes().to_owned();
    assert!(written.len() > 1024);
    let opened = options()
        .capacity(capacity())
        .wait_for_peer(false)
        .open_producer(&path);
    let bytes = opened.map(|producer| bytes_of(producer.id().unwrap()));
    drop(path);
    fs::remove_dir(&folder).unwrap();
    match bytes {
        Ok(bytes) => assert_eq!(bytes[3072..4096], written[..1024]),
        // Longer than the kernel takes.
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_not_listed_is_ignored_when_read() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(capacity());
    let id = options.open_consumer(&path).unwrap().id().unwrap();
    // Behind the birth, the records, the signals; lines that are all zero; behind
    // the path; the compatible features.
    let unlisted = [
        (88, 40),
        (216, 40),
        (428, 84),
        (528, 112),
        (684, 84),
        (768, 256),
        (72, 4),
    ];
    for (offset, len) in unlisted {
        crate::common::poke(id, offset, &vec![0xa5; len]);
    }
    crate::common::poke(id, 3072, &[0xff; 1024]); // never believed
    let mut producer = options.open_producer(&path).unwrap();
    let mut consumer = options.open_consumer(&path).unwrap();
    producer.write_all(b"as ever").unwrap();
    producer.close().unwrap();
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "as ever");
    assert_eq!(Snapshot::of(id).unwrap().written, 7);
}

#[test]
fn an_unknown_feature_that_is_required_is_refused_by_name() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(capacity());
    let id = options.open_consumer(&path).unwrap().id().unwrap();
    for unknown in [1_u32, 1 << 31, u32::MAX] {
        crate::common::poke(id, REQUIRED, &unknown.to_ne_bytes());
        for opened in crate::common::open_each(&options, &path) {
            let error = opened.unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, OpenError::NotARing { .. }), "{error}");
            assert!(said.contains("feature"), "{said}");
        }
    }
    crate::common::poke(id, REQUIRED, &[0; 4]);
    assert!(options.open_producer(&path).is_ok());
}

#[test]
fn a_ring_of_version_1_is_refused_by_its_version() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(capacity());
    let id = options.open_consumer(&path).unwrap().id().unwrap();
    crate::common::poke(id, 8, &1_u32.to_ne_bytes());
    for opened in crate::common::open_each(&options, &path) {
        let said = opened.unwrap_err().to_string();
        assert!(said.contains("version 1"), "{said}");
    }
    crate::common::poke(id, 8, &2_u32.to_ne_bytes());
}

#[test]
fn every_ring_has_a_nonce_of_its_own() {
    let nonce = || {
        let ring = options().capacity(capacity()).create_anonymous().unwrap();
        u64_at(&bytes_of(ring.id().unwrap()), 40)
    };
    assert_ne!(nonce(), nonce());
}

#[test]
fn tail_is_at_256_and_head_at_512() {
    let ring = options().capacity(capacity()).create_anonymous().unwrap();
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
        let ring = options().capacity(capacity()).create_anonymous().unwrap();
        let id = ring.id().unwrap();
        let kept = sysv::attach_read_only(id).unwrap();
        let (producer, consumer) = ring.split().unwrap();
        leave(producer, consumer);
        let bytes = bytes_of(id);
        drop(kept);
        (u64_at(&bytes, 384), u64_at(&bytes, 640))
    };
    // First generation: 1 << 8. Finished is 1, aborted 2.
    assert_eq!(closed(|_, _| {}), (0x101, 0x101));
    assert_eq!(closed(|mut producer, _| producer.abort()), (0x102, 0x101));
}

#[test]
fn the_bytes_lie_at_their_position_modulo_the_capacity() {
    let ring = options().capacity(capacity()).create_anonymous().unwrap();
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
    assert_zero(&segment, 768, ring_offset()); // unused, no marks, no path
    let mut read = [0; 200];
    assert_eq!(consumer.try_read(&mut read), Ok(len));
    assert_eq!(read[..], bytes);
}

#[test]
fn a_handle_maps_the_ring_twice_in_a_row() {
    alone("layout::a_handle_maps_the_ring_twice_in_a_row", || {
        let capacity = 4 * capacity();
        let ring = options().capacity(capacity).create_anonymous().unwrap();
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
