//! A peer with one wrong number of the format: the library, or a look at the bytes, notices.

use crate::common::offsets::read;
use crate::common::{TempPath, bytes_of, options};
use crate::languages::{C, Peer, Rust, languages, outcome};

/// Every number that the C peer has, with a wrong value.
fn mutants() -> Vec<(String, u64)> {
    let source = include_str!("peer.c");
    let mut found = vec![];
    let (_, rest) = source.split_once("#define CONSTANTS").unwrap();
    let (constants, rest) = rest.split_once("\n/*").unwrap();
    let (_, rest) = rest.split_once("#define WORDS").unwrap();
    let (words, _) = rest.split_once("\n\n").unwrap();
    let wrong = |value: &str| {
        let value = match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
            None => value.parse().unwrap(),
        };
        match value {
            0..8 => value + 5,
            8..64 => value + 4,
            _ => value + 8,
        }
    };
    for part in constants.split("X(").skip(1) {
        let (name, value) = part.split_once(')').unwrap().0.split_once(", ").unwrap();
        found.push((name.to_owned(), wrong(value)));
    }
    for part in words.split("X(").skip(1) {
        let parts: Vec<&str> = part.split_once(')').unwrap().0.split(", ").collect();
        for (role, value) in ["producer", "consumer"].into_iter().zip(&parts[1..]) {
            found.push((format!("{role}_{}", parts[0]), wrong(value)));
        }
    }
    found
}

/// The words that a holder in C writes: at literal offsets, as the page has them.
fn is_as_the_page_says(path: &TempPath, peer: &Peer, role: usize, flags: u32) -> bool {
    let Some(id) = path.segment() else {
        return false;
    };
    let bytes = bytes_of(id);
    let four = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let eight = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let (record, signals) = ([136, 176][role], [384, 640][role]);
    let pid = u64::from(peer.pid());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let start: u64 = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19)?.parse().ok())
        .unwrap_or(0);
    let space = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let link = link.to_str().unwrap().to_owned();
        link[kind.len() + 2..link.len() - 1].parse::<u32>().unwrap()
    };
    let owner = pid << 42 | u64::from(space("pid") & 0x3_ffff) << 24 | (start & 0x3f_ffff) << 2 | 1;
    let state = 1 | 1 << (8 + 4 * role) | 1 << (16 + 16 * role);
    bytes.len() == 8192
        && &bytes[..8] == b"shmpipe\0"
        && [four(8), four(12), four(16), four(20)] == [2, 0x0102_0304, 128, 2]
        && [eight(24), eight(32)] == [4096, 4096]
        && [four(64), four(68)] == [1, flags]
        && eight(56) == std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
        && eight(128) == state
        && [eight(record), eight(record + 8), eight(record + 16)] == [owner, owner, start]
        && [four(record + 24), four(record + 28)] == [space("pid"), space("time")]
        && [four(record + 32), four(record + 36)] == [1, 1]
        && [eight(signals), eight(signals + 24)] == [0, 1]
}

/// The first thing that goes wrong with this peer; `None` if nothing does.
fn fault(mutant: &str) -> Option<&'static str> {
    let wrong = |what, is_right: bool| (!is_right).then_some(what);
    bytes(mutant)
        .or_else(|| wrong("writes", streams(mutant, [C, Rust])))
        .or_else(|| wrong("reads", streams(mutant, [Rust, C])))
        .or_else(|| wrong("ends", ends(mutant)))
        .or_else(|| wrong("sleeps", sleeps(mutant)))
}

fn bytes(mutant: &str) -> Option<&'static str> {
    for (number, role) in ["producer", "consumer"].into_iter().enumerate() {
        let path = TempPath::new();
        let words = format!(
            "role={role} path={} wait=0 capacity=4096 timeout=3 end=stay",
            path.display()
        );
        let mut peer = Peer::new(
            C,
            &format!(
                "{words} {}{mutant}",
                if number == 1 { "bytes=1 " } else { "" }
            ),
        );
        if peer.find("opened").is_none() || !is_as_the_page_says(&path, &peer, number, 3) {
            return Some("bytes");
        }
        peer.kill();
    }
    None
}

/// Whether a mutant joins a ring of the library's, and all bytes arrive.
fn streams(mutant: &str, [producer, consumer]: [crate::languages::Language; 2]) -> bool {
    let path = TempPath::new();
    let words = |language, role| {
        let mutant = if language == C { mutant } else { "" };
        format!(
            "role={role} path={} capacity=4096 timeout=3 {mutant}",
            path.display()
        )
    };
    let (reads, writes) = (words(consumer, "consumer"), words(producer, "producer"));
    let mut reads = Peer::new(consumer, &reads);
    let mut writes = Peer::new(producer, &format!("{writes} bytes=20000 block=3000"));
    writes.find("peer: ") == Some(outcome("wrote", 20_000))
        && reads.find("peer: ") == Some(outcome("finished", 20_000))
}

/// Whether the ends of a mutant's streams are told, and the library's are to a mutant.
fn ends(mutant: &str) -> bool {
    let path = TempPath::new();
    let words = format!("path={} kind=persistent timeout=3", path.display());
    for how in [
        "bytes=10 capacity=4096",
        "bytes=20 end=abort",
        "bytes=30 end=kill",
        "bytes=40",
    ] {
        let mut peer = Peer::new(C, &format!("role=producer {how} {words} {mutant}"));
        if peer.find("peer: wrote").is_none() {
            return false;
        }
        peer.ended();
    }
    let expected = [
        ("finished", 10),
        ("aborted", 20),
        ("died", 30),
        ("finished", 40),
    ];
    let expected = expected.map(|(how, len)| outcome(how, len)).join("; ");
    let Some(id) = path.segment() else {
        return false;
    };
    let made: Vec<u64> = (0..4).map(|mark| read(id, 1024 + 16 * mark)).collect();
    let consumed = |mutant: &str| {
        let words = format!("role=consumer streams=4 end=abort {words} {mutant}");
        let mut peer = Peer::new(C, &words);
        let said = peer.find("peer: ");
        peer.ended();
        said
    };
    if made != [10, 30, 60, 100] || read(id, 416) != 4 || consumed(mutant) != Some(expected) {
        return false;
    }
    // Three were acknowledged, and nobody holds a role: the closed word tells who left last.
    [read(id, 672), read(id, 640), read(id, 136), read(id, 176)] == [3, 0x102, 0, 0]
        && read(id, 128) == 1 | 4 << 16 | 1 << 32
}

/// Whether a mutant that sleeps is woken, and wakes: by the words that it sleeps on.
fn sleeps(mutant: &str) -> bool {
    let path = TempPath::new();
    let mut options = options();
    options.wait_for_peer(false).capacity(4096);
    let mut consumer = options.open_consumer(&path).unwrap();
    let id = consumer.id().unwrap();
    let words = format!(
        "role=producer path={} bytes=5000 timeout=3 {mutant}",
        path.display()
    );
    let mut peer = Peer::new(C, &words);
    // The ring is full, and the producer wants a quarter of it, or the rest.
    let mut slept = false;
    for _ in 0..500 {
        let word = read(id, 392) as u32;
        slept |= word == 1 && read(id, 400) == 904;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let mut bytes = vec![];
    consumer.set_timeout(Some(std::time::Duration::from_secs(3)));
    let read = std::io::Read::read_to_end(&mut consumer, &mut bytes);
    slept && read.is_ok() && bytes.len() == 5000 && peer.find("peer: wrote").is_some()
}

/// Numbers whose mutants need a situation that the runs above do not bring about. The golden vectors, or
/// the tests named here, have them.
const ELSEWHERE: [&str; 0] = [];

#[test]
fn each_wrong_number_is_noticed() {
    if !languages().contains(&C) {
        return;
    }
    assert_eq!(fault(""), None, "the peer as it is");
    let mutants = mutants();
    assert!(mutants.len() > 70, "{}", mutants.len());
    let mut unnoticed = vec![];
    for (name, value) in mutants {
        match fault(&format!("mutant={name}:{value}")) {
            Some(by) => println!("{name:<28} {by}"),
            None => unnoticed.push(name),
        }
    }
    unnoticed.retain(|name| !ELSEWHERE.contains(&name.as_str()));
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
