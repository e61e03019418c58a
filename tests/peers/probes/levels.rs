//! The level of inline messages and asymmetric fences, which the C peer has.

use super::{Place, Subject, persistent, read};
use crate::common::offsets::{
    CAPABILITIES, CLOSED, HEAD, HEADER, SIGNALS, SLEEPING, TAIL, WANTED, WANTS,
};
use crate::common::{poke, stream};
use crate::languages::{C, Peer, Rust, outcome};
use shmpipe::sysv::SegmentId;

/// Where the inline message ends and starts, as positions, and its bytes.
const INLINE_END: usize = 264;
const INLINE_START: usize = 272;
const INLINE_BYTES: usize = 280;
fn half(id: SegmentId, offset: usize) -> u32 {
    (read(id, offset & !7) >> (8 * (offset & 4))) as u32
}

fn bytes(id: SegmentId, offset: usize, len: usize) -> Vec<u8> {
    let words = (offset..offset + len).step_by(8);
    let mut bytes: Vec<u8> = words.flat_map(|at| read(id, at).to_ne_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// Whether a producer puts short messages beside the tail, and only these, and says what it can do.
pub(super) fn puts_inline(peer: &Subject) -> bool {
    if !peer.is(C) {
        return true;
    }
    let path = Place::new();
    let id = persistent(&path); // by the library, which tells what this machine can do
    let (able, hint) = (half(id, CAPABILITIES[0]), SIGNALS[1] + WANTS);
    poke(id, hint, &1_u32.to_ne_bytes());
    let words = format!(
        "role=producer path={} kind=persistent level=full",
        path.display()
    );
    let (len, more) = (101, 110);
    let written = peer.says(&format!("{words} bytes={len}"), &outcome("wrote", len));
    let there = [read(id, INLINE_END), read(id, INLINE_START), read(id, TAIL)] == [len, 0, len]
        && bytes(id, INLINE_BYTES, len as usize) == stream(0x5eed, 0, len as usize)
        && bytes(id, HEADER, len as usize) == stream(0x5eed, 0, len as usize)
        && half(id, CAPABILITIES[0]) == able;
    // The next claim takes the message back, and one byte too many is in the ring alone.
    let written = written
        && there
        && peer.says(&format!("{words} bytes={more}"), &outcome("wrote", more))
        && read(id, INLINE_END) == len ^ 1 << 63
        && [read(id, TAIL), read(id, CLOSED[0])] == [len + more, 0x301];
    // A holder that is awake promises a barrier, if it can.
    let mut holder = peer.peer(&format!("{words} end=stay"));
    let promised = holder.find("peer: wrote").is_some()
        && (able & 4 == 0 || half(id, SIGNALS[0] + SLEEPING) == 2);
    holder.kill();
    written && promised
}

/// Whether a consumer takes a message from beside the tail, if the producer says that it knows such
/// messages, and if not, from the ring.
pub(super) fn takes_inline(peer: &Subject) -> bool {
    if !peer.is(C) {
        return true;
    }
    let (len, good) = (50_u64, stream(0x5eed, 0, 50));
    let bad = vec![b'x'; 50];
    [(7, &good, &bad), (5, &bad, &good)]
        .into_iter()
        .all(|(able, beside, ring): (u32, _, _)| {
            let path = Place::new();
            let words = format!("path={} kind=persistent", path.display());
            let holds = format!("role=producer end=stay capacity=4096 {words}");
            let mut producer = Peer::new(Rust, &holds);
            producer.opened();
            let id = path.segment().unwrap();
            poke(id, CAPABILITIES[0], &able.to_ne_bytes());
            let asks = format!("role=consumer level=full bytes={len} {words}");
            let mut consumer = peer.peer(&asks);
            // Asleep, so it has looked at the producer's record. It asks for inline messages.
            let signals = SIGNALS[1];
            let asleep = peer.sees(|| {
                half(id, signals + SLEEPING) == 1
                    && read(id, signals + WANTED) == 1
                    && half(id, signals + WANTS) == 1
            });
            poke(id, HEADER, ring);
            poke(id, INLINE_START, &0_u64.to_ne_bytes());
            poke(id, INLINE_BYTES, beside);
            poke(id, INLINE_END, &len.to_ne_bytes());
            poke(id, TAIL, &len.to_ne_bytes());
            let said = consumer.find("peer: ");
            consumer.ended();
            producer.kill();
            asleep && said == Some(outcome("enough", len)) && read(id, HEAD) == len
        })
}
