//! Blocks that are made in the channel's memory, and checked there.

use super::{Setting, follow, measure, sized};
use crate::channel::{Receiver, ReceiverInPlace, Sender, SenderInPlace};
use crate::pattern::{Cursor, Source};

/// The side of the writer.
pub(crate) fn write<S: SenderInPlace, R: Receiver>(set: &Setting<'_>, mut tx: S, _: Option<R>) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    follow(set, &mut tx, S::calls, |tx, count| {
        sized!(
            block,
            tx.send_all_in_place(count, block, |piece| {
                make(&source, &mut cursor, piece, block);
            })
        );
    });
}

/// The side of the reader. Measures GB/s.
pub(crate) fn read<R: ReceiverInPlace, S: Sender>(set: &Setting<'_>, mut rx: R, _: Option<S>) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    let mut leg = |rx: &mut R, count| {
        sized!(
            block,
            rx.receive_all_in_place(count, block, |piece| {
                check(&source, &mut cursor, piece, block);
            })
        );
    };
    let count = set.warm_up(block, |count| leg(&mut rx, count));
    let took = measure(set, &mut rx, R::calls, count, leg);
    set.report_speed(count, took);
}

/// Makes a piece of a block. If the piece is the whole block, the compiler knows its length.
#[inline(always)]
pub(crate) fn make(source: &Source, cursor: &mut Cursor, piece: &mut [u8], block: usize) {
    if piece.len() == block {
        source.make(cursor, &mut piece[..block]);
    } else {
        source.make(cursor, piece);
    }
}

/// Checks a piece of a block, as [`make`] makes it.
#[inline(always)]
pub(crate) fn check(source: &Source, cursor: &mut Cursor, piece: &[u8], block: usize) {
    if piece.len() == block {
        super::check(source, cursor, &piece[..block]);
    } else {
        super::check(source, cursor, piece);
    }
}
