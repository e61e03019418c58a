//! Streams and round trips by tasks: each side is one task on tokio's executor of one
//! thread.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use super::delays::{histogram, report};
use super::{Job, Setting, check, follow, measure, sized};
use crate::channel::{ReceiverAsync, SenderAsync};
use crate::clock;
use crate::pattern::{Cursor, Source};

/// The executor of this process. It starts with the first call, which comes after the fork.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_current_thread();
        builder.enable_io().build().expect("an executor")
    })
}

/// The side of the writer, or of the one that answers.
pub(crate) fn write<S, R>(set: &Setting<'_>, mut tx: S, back: Option<R>)
where
    S: SenderAsync,
    R: ReceiverAsync,
{
    let block = set.job.block();
    let Some(mut rx) = back else {
        let source = Source::new(block, 0);
        let mut cursor = Cursor::default();
        follow(
            set,
            &mut tx,
            |_| None,
            |tx, count| {
                runtime().block_on(async {
                    sized!(
                        block,
                        for _ in 0..count {
                            tx.send(source.next(&mut cursor, block)).await;
                        }
                    );
                });
            },
        );
        return;
    };
    let mut buffer = vec![0; block];
    follow(
        set,
        &mut tx,
        |_| None,
        |tx, count| {
            runtime().block_on(async {
                for _ in 0..count {
                    rx.receive(&mut buffer).await;
                    tx.send(&buffer).await;
                }
            });
        },
    );
}

/// The side of the reader, or of the one that asks.
pub(crate) fn read<R, S>(set: &Setting<'_>, mut rx: R, there: Option<S>)
where
    R: ReceiverAsync,
    S: SenderAsync,
{
    match (set.job, there) {
        (Job::RoundTrip { .. }, Some(tx)) => ask(set, &mut rx, tx),
        (Job::Stream { .. }, None) => stream(set, &mut rx),
        (job, _) => unreachable!("{job:?} by tasks"),
    }
}

/// Measures GB/s.
fn stream<R: ReceiverAsync>(set: &Setting<'_>, rx: &mut R) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let mut cursor = Cursor::default();
    let mut buffer = vec![1; block];
    let mut leg = |rx: &mut R, count: u64| {
        runtime().block_on(async {
            sized!(
                block,
                for _ in 0..count {
                    let buffer = &mut buffer[..block];
                    rx.receive(buffer).await;
                    check(&source, &mut cursor, buffer);
                }
            );
        });
    };
    let count = set.warm_up(block, |count| leg(rx, count));
    let took = measure(set, rx, |_| None, count, leg);
    set.report_speed(count, took);
}

/// Measures round trips, in ns.
fn ask<R: ReceiverAsync, S: SenderAsync>(set: &Setting<'_>, rx: &mut R, mut tx: S) {
    let block = set.job.block();
    let source = Source::new(block, 0);
    let (mut there, mut back) = (Cursor::default(), Cursor::default());
    let mut buffer = vec![0; block];
    let mut ticks = histogram();
    let mut leg = |rx: &mut R, count: u64, measured: bool| {
        runtime().block_on(async {
            let mut last = clock::ticks();
            for _ in 0..count {
                tx.send(source.next(&mut there, block)).await;
                rx.receive(&mut buffer).await;
                check(&source, &mut back, &buffer);
                let now = clock::ticks();
                if measured {
                    ticks.saturating_record(now - last);
                }
                last = now;
            }
        });
    };
    let count = set.warm_up(block, |count| leg(rx, count, false));
    measure(set, rx, |_| None, count, |rx, count| leg(rx, count, true));
    report(set, &ticks);
}
