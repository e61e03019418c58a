//! Each language with each: orders, life cycles, ends, wraps, many openers, much data.

use std::process::Stdio;

use crate::common::offsets::{STATE, read, set_start};
use crate::common::{TempPath, asked_for, options, poke, until};
use crate::languages::{Language, Peer, Python, Rust, languages, meet, outcome, pairs};
use shmpipe::sysv::SegmentId;

#[test]
fn each_pair_meets_in_both_orders() {
    for pair in pairs() {
        for first in ["producer", "consumer"] {
            meet(pair, first, 300_007, "capacity=4096 block=3000");
        }
    }
}

#[test]
fn a_peer_that_only_polls_is_enough() {
    for pair in pairs() {
        meet(pair, "consumer", 100_000, "capacity=4096 level=polls");
    }
}

/// The C peer puts short messages beside the tail, takes them from there, and leaves fences out. The others
/// are as ever.
#[test]
fn a_peer_of_the_highest_level_meets_each_other() {
    for pair in pairs() {
        for block in [8, 100, 1000] {
            let more = format!("capacity=4096 level=full block={block}");
            meet(pair, "consumer", 40_000, &more);
        }
    }
}

#[test]
fn much_data_arrives_whole() {
    let long = asked_for("SHMPIPE_PEERS").is_some();
    for (producer, consumer) in pairs() {
        let slow = producer == Python || consumer == Python;
        let mib = match (slow, long) {
            (true, false) => 4,
            (true, true) | (false, false) => 64,
            (false, true) => 1024,
        };
        meet(
            (producer, consumer),
            "producer",
            mib << 20,
            "capacity=1048576 timeout=600",
        );
    }
}

/// A ring that `maker` has made, with its end: the maker, and the id of the ring.
pub(crate) fn made(maker: Language, role: &str, more: &str) -> (Peer, SegmentId) {
    let mut maker = Peer::new(
        maker,
        &format!("role={role} kind=anonymous capacity=4096 {more}"),
    );
    let made = maker.find("made: ").unwrap();
    let id = made.split_whitespace().next().unwrap().parse().unwrap();
    (maker, id)
}

#[test]
fn an_anonymous_ring_is_joined_by_its_id() {
    for (producer, consumer) in pairs() {
        for first in ["producer", "consumer"] {
            let (maker, joiner, second) = match first {
                "producer" => (producer, consumer, "consumer"),
                _ => (consumer, producer, "producer"),
            };
            if maker == Rust {
                continue; // see the next test
            }
            let bytes = |role| {
                if role == "producer" {
                    "bytes=50000"
                } else {
                    ""
                }
            };
            let (mut one, id) = made(maker, first, bytes(first));
            let words = format!("role={second} kind=anonymous id={id} {}", bytes(second));
            let mut two = Peer::new(joiner, &words);
            let mut said = [one.result(), two.result()];
            said.sort();
            let expected = [outcome("finished", 50_000), outcome("wrote", 50_000)];
            assert_eq!(
                said, expected,
                "{producer:?} to {consumer:?}, {first} made it"
            );
        }
    }
}

#[test]
fn a_child_in_another_language_takes_its_end() {
    for child in languages().into_iter().filter(|&child| child != Rust) {
        for role in ["producer", "consumer"] {
            let ring = options().capacity(4096).create_anonymous().unwrap();
            let bytes = if role == "producer" {
                "bytes=50000"
            } else {
                ""
            };
            let words = format!("role={role} kind=anonymous id=parent {bytes}");
            let mut command = crate::languages::command(child, &words);
            let command = command.stdout(Stdio::piped());
            let of = |mut started: std::process::Child| {
                let output = started.stdout.take().unwrap();
                Peer::of(output, started, &words)
            };
            if role == "producer" {
                let (mut consumer, started) = ring.spawn_producer(command).unwrap();
                let (mut peer, mut bytes) = (of(started), vec![]);
                std::io::Read::read_to_end(&mut consumer, &mut bytes).unwrap();
                assert_eq!(bytes.len(), 50_000, "{child:?}");
                assert_eq!(peer.result(), outcome("wrote", 50_000), "{child:?}");
            } else {
                let (mut producer, started) = ring.spawn_consumer(command).unwrap();
                let mut peer = of(started);
                let bytes = crate::common::stream(0x5eed, 0, 50_000);
                std::io::Write::write_all(&mut producer, &bytes).unwrap();
                producer.close().unwrap();
                assert_eq!(peer.result(), outcome("finished", 50_000), "{child:?}");
            }
        }
    }
}

#[test]
fn ends_of_streams_are_told_by_each_to_each() {
    for consumer in languages() {
        for producer in languages() {
            let path = TempPath::new();
            let run = |words: &str| {
                let words = format!(
                    "role=producer path={} kind=persistent {words}",
                    path.display()
                );
                Peer::new(producer, &words)
            };
            run("capacity=4096 bytes=3000").result();
            run("bytes=500 end=kill").ended();
            run("bytes=50 end=abort").result();
            run("").result();
            let words = format!(
                "role=consumer path={} kind=persistent streams=4",
                path.display()
            );
            let said = Peer::new(consumer, &words).result();
            let ends = [
                ("finished", 3000),
                ("died", 500),
                ("aborted", 50),
                ("finished", 0),
            ];
            let expected = ends.map(|(how, len)| outcome(how, len)).join("; ");
            assert_eq!(said, expected, "{producer:?} to {consumer:?}");
        }
    }
}

#[test]
fn a_stream_is_resumed_by_each_after_each() {
    for first in languages() {
        for second in languages() {
            let path = TempPath::new();
            let words = format!("role=producer path={} kind=persistent", path.display());
            Peer::new(first, &format!("{words} bytes=500 end=kill")).ended();
            Peer::new(second, &format!("{words} start=500 bytes=900 resume=1")).result();
            let words = format!("role=consumer path={} kind=persistent", path.display());
            let said = Peer::new(Rust, &words).result();
            assert_eq!(said, outcome("finished", 900), "{first:?}, then {second:?}");
        }
    }
}

#[test]
fn places_for_ends_wrap_and_run_out() {
    for language in languages().into_iter().filter(|&language| language != Rust) {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        for _ in 0..126 {
            drop(options.open_producer(&path).unwrap());
        }
        let words = format!("path={} kind=persistent", path.display());
        let refused = Peer::new(language, &format!("role=producer {words} timeout=1")).said();
        assert!(
            refused.starts_with("error=timed out"),
            "{language:?}: {refused}"
        );
        let mut waits = Peer::new(language, &format!("role=producer {words} bytes=7"));
        let read = Peer::new(language, &format!("role=consumer {words} streams=126")).result();
        assert_eq!(read.split("; ").count(), 126, "{language:?}");
        assert_eq!(waits.result(), outcome("wrote", 7), "{language:?}");
        let read = Peer::new(language, &format!("role=consumer {words}")).result();
        assert_eq!(read, outcome("finished", 7), "{language:?}");
    }
}

#[test]
fn positions_wrap() {
    for (producer, consumer) in pairs() {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        let id = options.open_consumer(&path).unwrap().id().unwrap();
        set_start(id, u64::MAX - 10_000);
        let words = format!("path={} kind=persistent", path.display());
        let mut reads = Peer::new(consumer, &format!("role=consumer {words}"));
        let mut writes = Peer::new(producer, &format!("role=producer {words} bytes=100000"));
        assert_eq!(writes.result(), outcome("wrote", 100_000));
        assert_eq!(
            reads.result(),
            outcome("finished", 100_000),
            "{producer:?} to {consumer:?}"
        );
    }
}

#[test]
fn generations_wrap() {
    for (producer, consumer) in pairs() {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        let id = options.open_consumer(&path).unwrap().id().unwrap();
        let last = 1_u64 | 0xffff << 16 | 0xffff << 32;
        poke(id, STATE, &last.to_ne_bytes());
        let words = format!("path={} kind=persistent", path.display());
        let mut reads = Peer::new(consumer, &format!("role=consumer {words}"));
        let mut writes = Peer::new(producer, &format!("role=producer {words} bytes=9000"));
        let pair = format!("{producer:?} to {consumer:?}");
        assert_eq!(writes.result(), outcome("wrote", 9000), "{pair}");
        assert_eq!(reads.result(), outcome("finished", 9000), "{pair}");
        assert_eq!(read(id, STATE), 1 | 1 << 16 | 1 << 32, "{pair}");
    }
}

#[test]
fn twelve_that_open_at_once_become_six_pairs() {
    let all = languages();
    let path = TempPath::new();
    let words = format!("path={} capacity=4096", path.display());
    // While one of a role waits for its peer, the role is taken for the others: they try again.
    let opener = &|number: usize| loop {
        let role = ["role=producer bytes=5000", "role=consumer"][number % 2];
        let mut peer = Peer::new(all[number / 2 % all.len()], &format!("{role} {words}"));
        let said = peer.said();
        peer.ended();
        if said != "error=the role is taken" {
            return said;
        }
    };
    let mut said: Vec<String> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..12)
            .map(|number| scope.spawn(move || opener(number)))
            .collect();
        let said = openers.into_iter().map(|opener| opener.join().unwrap());
        said.collect()
    });
    said.sort();
    assert_eq!(said[..6], vec![outcome("finished", 5000); 6]);
    assert_eq!(said[6..], vec![outcome("wrote", 5000); 6]);
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_ring_of_another_capacity_is_replaced() {
    for (waits, asks) in pairs() {
        let path = TempPath::new();
        let words = format!("path={}", path.display());
        let mut one = Peer::new(waits, &format!("role=consumer {words}"));
        until(|| path.leads_to_a_segment());
        let mut two = Peer::new(
            asks,
            &format!("role=producer bytes=9000 capacity=4096 {words}"),
        );
        assert_eq!(
            two.result(),
            outcome("wrote", 9000),
            "{asks:?} replaces that of {waits:?}"
        );
        assert_eq!(
            one.result(),
            outcome("finished", 9000),
            "{asks:?} replaces that of {waits:?}"
        );
        assert!(!path.leads_to_a_segment());
    }
}
