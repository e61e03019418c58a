//! The header that a peer makes, and those that it refuses.

use std::os::unix::fs::MetadataExt;

use super::{Place, Subject, persistent, read};
use crate::common::offsets::{REQUIRED, STATE, mark};
use crate::common::{bytes_of, poke};
use crate::languages::{Peer, Python};
use shmpipe::sysv;

/// The birth of a file, if the file system tells; 0 in the C peer, which may leave the word alone.
fn birth(subject: &Subject, file: &std::fs::Metadata) -> u64 {
    let age = file.created().ok().filter(|_| subject.is(Python));
    let age = age.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    age.map_or(0, |age| age.as_nanos() as u64)
}

/// Where the optional features are.
const OPTIONAL: usize = 72;

/// The header of a new ring of one page with one holder, at literal offsets, as the page has it.
fn expected_bytes(subject: &Subject, peer: &Peer, role: usize, path: &str) -> Vec<u8> {
    let pid = u64::from(peer.pid());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next();
    let start = fields.and_then(|rest| rest.split_whitespace().nth(19)?.parse().ok());
    let start: u64 = start.unwrap_or(0);
    let space = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        let digits = link.to_str().unwrap_or("").split(['[', ']']).nth(1);
        digits.and_then(|id| id.parse::<u32>().ok()).unwrap_or(0)
    };
    let file = std::fs::metadata(path).unwrap();
    let owner = pid << 42 | u64::from(space("pid") & 0x3_ffff) << 24 | (start & 0x3f_ffff) << 2 | 1;
    let state = 1 | 1 << (8 + 4 * role) | 1 << (16 + 16 * role);
    let (record, signals) = ([136, 176][role], [384, 640][role]);
    let mut bytes = vec![0; 8192];
    bytes[..8].copy_from_slice(b"shmpipe\0");
    let fours = [
        (8, 2),
        (12, 0x0102_0304),
        (16, 128),
        (20, 2),
        (64, 1),
        (68, 3),
        (record + 24, space("pid")),
        (record + 28, space("time")),
        (record + 32, 1),
        (record + 36, 1),
    ];
    for (at, word) in fours {
        bytes[at..at + 4].copy_from_slice(&u32::to_ne_bytes(word));
    }
    let eights = [
        (24, 4096),
        (32, 4096),
        (48, file.dev()),
        (56, file.ino()),
        (80, birth(subject, &file)),
        (128, state),
        (record, owner),
        (record + 8, owner),
        (record + 16, start),
        (signals + 24, 1),
    ];
    for (at, word) in eights {
        bytes[at..at + 8].copy_from_slice(&u64::to_ne_bytes(word));
    }
    bytes[3072..4096].copy_from_slice(&path.as_bytes()[..1024]);
    bytes
}

/// Every byte of a ring that a peer has made and holds, but for its random number.
pub(super) fn bytes(peer: &Subject, role: usize) -> bool {
    let path = Place::new();
    // Longer than the header has room for.
    let long = format!("/{}{}", "./".repeat(520), path.display());
    let words = [
        "role=producer bytes=0",
        "role=consumer bytes=1", // it sleeps until it is killed
    ][role];
    let words = format!("{words} path={long} wait=0 capacity=4096 end=stay");
    let mut holder = peer.peer(&words);
    if holder.find("opened").is_none() {
        return false;
    }
    let Some(id) = path.segment() else {
        return false;
    };
    let mut bytes = bytes_of(id);
    let mut expected = expected_bytes(peer, &holder, role, &long);
    let mode = sysv::stat(id).is_ok_and(|stat| stat.mode.bits() == 0o600);
    holder.kill();
    for unlike in [40..48, 648..652, 656..664] {
        let end = bytes.len().min(unlike.end);
        bytes[unlike.start..end].fill(0);
        expected[unlike].fill(0);
    }
    mode && bytes == expected
}

pub(super) fn usual_capacity(peer: &Subject) -> bool {
    let path = Place::new();
    let words = format!("role=producer path={} wait=0 end=stay", path.display());
    let mut holder = peer.peer(&words);
    let opened = holder.find("opened").is_some();
    let is = path.segment().is_some_and(|id| {
        let size = sysv::stat(id).map_or(0, |stat| stat.size);
        size == 4096 + (4 << 20) && read(id, 24) == 4 << 20 && read(id, 64) >> 32 == 2
    });
    holder.kill();
    opened && is
}

/// Whether the peer refuses an unknown feature, and an unknown life. Features that are optional are none
/// of its business, and are left as they are.
pub(super) fn refusals(peer: &Subject) -> bool {
    let forged: [(&str, usize, u8); 2] = [
        ("error=not a ring: unknown features", REQUIRED, 1),
        ("error=not a ring: state", STATE, 0x81),
    ];
    let refuses = forged.into_iter().all(|(expected, offset, byte)| {
        let path = Place::new();
        let id = persistent(&path);
        poke(id, offset, &[byte]);
        let words = format!("role=consumer path={} kind=persistent", path.display());
        let said = peer.peer(&words).find("peer: ");
        said.is_some_and(|said| said.starts_with(expected))
    });
    let path = Place::new();
    let id = persistent(&path);
    poke(id, OPTIONAL, &[0xff; 4]);
    let words = format!("role=producer path={} kind=persistent", path.display());
    refuses
        && peer.peer(&words).find("peer: wrote").is_some()
        && read(id, OPTIONAL) as u32 == u32::MAX
}

/// Whether the peer finds a tenure, and a record of an end, that cannot be.
pub(super) fn lies(peer: &Subject) -> bool {
    let path = Place::new();
    let id = persistent(&path);
    let words = format!("path={} kind=persistent", path.display());
    poke(id, mark(0) + 8, &(3_u64 | 1 << 40).to_ne_bytes());
    let read_on = format!("role=consumer {words}");
    let mut reads = peer.peer(&read_on);
    let said = reads.find("peer: ").unwrap_or_default();
    reads.ended();
    if !said.starts_with("error=MarkEnding") {
        return false;
    }
    let path = Place::new();
    let id = persistent(&path);
    let words = format!("path={} kind=persistent", path.display());
    poke(id, STATE, &(read(id, STATE) | 9 << 12).to_ne_bytes());
    peer.says(
        &format!("role=producer {words} bytes=5000"),
        "error=StateWord",
    )
}
