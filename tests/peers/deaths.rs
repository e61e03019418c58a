//! SIGKILL of each end, seen by the other in another language.

use crate::common::{TempPath, until};
use crate::cross::made;
use crate::languages::{Peer, Rust, languages, outcome, pairs};

#[test]
fn the_death_of_a_producer_is_seen_after_its_bytes() {
    for (producer, consumer) in pairs() {
        let path = TempPath::new();
        let words = format!("path={} capacity=4096", path.display());
        let mut reads = Peer::new(consumer, &format!("role=consumer {words}"));
        let mut writes = Peer::new(
            producer,
            &format!("role=producer bytes=3000 end=kill {words}"),
        );
        writes.ended();
        assert_eq!(
            reads.result(),
            outcome("died", 3000),
            "{producer:?} to {consumer:?}"
        );
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn the_death_of_a_consumer_is_seen() {
    for (producer, consumer) in pairs() {
        let path = TempPath::new();
        let words = format!("path={} capacity=4096", path.display());
        let mut writes = Peer::new(producer, &format!("role=producer bytes=1000000 {words}"));
        let mut reads = Peer::new(
            consumer,
            &format!("role=consumer bytes=3000 end=kill {words}"),
        );
        reads.ended();
        assert_eq!(writes.said(), "error=died", "{producer:?} to {consumer:?}");
        writes.ended();
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn deaths_are_seen_in_an_anonymous_ring() {
    for (producer, consumer) in pairs() {
        for killed in ["producer", "consumer"] {
            let writes = match killed {
                "producer" => "bytes=100000 end=kill", // more than the ring: the consumer has come
                _ => "bytes=100000",
            };
            let reads = match killed {
                "producer" => "",
                _ => "bytes=3000 end=kill",
            };
            let (mut writes, mut reads) = if producer == Rust {
                let (reads, id) = made(consumer, "consumer", reads);
                let words = format!("role=producer kind=anonymous id={id} {writes}");
                (Peer::new(producer, &words), reads)
            } else {
                let (writes, id) = made(producer, "producer", writes);
                let words = format!("role=consumer kind=anonymous id={id} {reads}");
                (writes, Peer::new(consumer, &words))
            };
            let pair = format!("{producer:?} to {consumer:?}, {killed} killed");
            if killed == "producer" {
                assert_eq!(reads.result(), outcome("died", 100_000), "{pair}");
            } else {
                assert_eq!(writes.said(), "error=died", "{pair}");
            }
            writes.ended();
            reads.ended();
        }
    }
}

#[test]
fn a_consumer_that_leaves_ends_the_writes() {
    for (producer, consumer) in pairs() {
        let path = TempPath::new();
        let words = format!("path={} capacity=4096", path.display());
        let mut writes = Peer::new(producer, &format!("role=producer bytes=1000000 {words}"));
        let mut reads = Peer::new(consumer, &format!("role=consumer bytes=3000 {words}"));
        assert_eq!(reads.result(), outcome("enough", 3000));
        assert_eq!(
            writes.said(),
            "error=closed",
            "{producer:?} to {consumer:?}"
        );
        writes.ended();
    }
}

#[test]
fn the_ring_of_the_dead_is_reclaimed_by_each() {
    for dead in languages() {
        for finder in languages() {
            for role in ["producer", "consumer"] {
                let path = TempPath::new();
                let words = format!("path={} capacity=4096", path.display());
                let mut gone = Peer::new(dead, &format!("role={role} wait=0 end=stay {words}"));
                gone.opened();
                let orphan = path.segment();
                gone.kill();
                assert!(orphan.is_some() && path.segment() == orphan, "{dead:?}");
                let mut waits = Peer::new(finder, &format!("role=consumer {words}"));
                until(|| path.segment().is_some_and(|id| Some(id) != orphan));
                let mut joins = Peer::new(dead, &format!("role=producer bytes=10 {words}"));
                assert_eq!(joins.result(), outcome("wrote", 10));
                let what = format!("{finder:?} finds the ring of a {role} in {dead:?}");
                assert_eq!(waits.result(), outcome("finished", 10), "{what}");
                assert!(!path.leads_to_a_segment(), "{what}");
            }
        }
    }
}

#[test]
fn the_role_of_the_dead_is_taken_by_each() {
    for dead in languages() {
        for next in languages() {
            let path = TempPath::new();
            let words = format!("path={} kind=persistent", path.display());
            Peer::new(dead, &format!("role=producer bytes=900 {words}")).result();
            Peer::new(dead, &format!("role=consumer bytes=300 end=kill {words}")).ended();
            let said = Peer::new(next, &format!("role=consumer start=300 {words}")).result();
            assert!(
                said.starts_with("finished bytes=900"),
                "{next:?} after {dead:?}: {said}"
            );
        }
    }
}
