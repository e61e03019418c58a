//! Runs one measurement: two processes, or two threads, pinned. The distance of their
//! processors is probed before and after.

use std::io;
use std::time::Duration;

use crate::board::{Board, Slot};
use crate::channel::{Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads};
#[cfg(feature = "async")]
use crate::channel::{ReceiverAsync, SenderAsync};
use crate::clock;
use crate::crowd::Crowd;
use crate::job::many::Way;
use crate::job::{self, Job, Setting};
use crate::sys::{self, Shared, Usage};

/// Round trips of the bare line in a probe: a third of a millisecond.
pub(crate) const TRIPS: u64 = 4096;

/// Which processors, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The processors of the reader and the writer; more of them for more pairs.
    pub(crate) cpus: Vec<usize>,
    pub(crate) time: Duration,
    pub(crate) limit: Duration,
}

/// The result of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// High percentiles of a delay.
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) bytes: f64,
    pub(crate) cpu: f64,
    pub(crate) calls: f64,
    pub(crate) waits: f64,
    pub(crate) preemptions: f64,
    /// The fraction of the time that a side waited for its processor; the larger one of
    /// both sides.
    pub(crate) kept_waiting: f64,
    pub(crate) line_before: f64,
    pub(crate) line_after: f64,
}

impl Sample {
    fn of(board: &Board) -> Sample {
        let both = |slot| board.reader.get(slot) + board.writer.get(slot);
        // A figure that is no delay has none of these, and no delay is zero.
        let high = |slot| match board.reader.get(slot) {
            0.0 => f64::NAN,
            value => value,
        };
        Sample {
            value: board.reader.get(Slot::Value),
            p99: high(Slot::P99),
            p999: high(Slot::P999),
            bytes: board.reader.get(Slot::Bytes),
            cpu: both(Slot::Cpu),
            calls: both(Slot::Calls),
            waits: both(Slot::Waits),
            preemptions: both(Slot::Preemptions),
            kept_waiting: board
                .reader
                .get(Slot::KeptWaiting)
                .max(board.writer.get(Slot::KeptWaiting))
                / board.reader.get(Slot::Elapsed),
            line_before: board.reader.get(Slot::LineBefore),
            line_after: board.reader.get(Slot::LineAfter),
        }
    }

    /// A result that is one figure.
    pub(crate) fn bare(value: f64) -> Sample {
        let none = f64::NAN;
        Sample {
            value,
            p99: none,
            p999: none,
            bytes: none,
            cpu: none,
            calls: none,
            waits: none,
            preemptions: none,
            kept_waiting: none,
            line_before: none,
            line_after: none,
        }
    }
}

/// The function that runs a contender.
pub(crate) type Run = fn(&Spec, Job, &Plan, usize) -> Result<Sample, String>;

/// What the two sides of a channel do.
struct Sides<C: Channel> {
    read: fn(&Setting<'_>, C::Receiver, Option<C::Sender>),
    write: fn(&Setting<'_>, C::Sender, Option<C::Receiver>),
}

impl<C: Channel> Sides<C> {
    /// They copy in and out.
    fn copying() -> Self
    where
        C: Channel<Sender: Sender, Receiver: Receiver>,
    {
        Sides {
            read: job::read,
            write: job::write,
        }
    }

    /// They work in the channel's memory.
    fn in_place() -> Self
    where
        C: Channel<Sender: SenderInPlace, Receiver: ReceiverInPlace>,
    {
        Sides {
            read: job::in_place::read,
            write: job::in_place::write,
        }
    }
}

/// Runs `pairs` channels at once, each between two processes.
pub(crate) fn processes<C>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String>
where
    C: Channel<Sender: Sender, Receiver: Receiver>,
{
    between_processes::<C>(&Sides::copying(), spec, job, plan, pairs)
}

/// The same in place.
pub(crate) fn processes_in_place<C>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String>
where
    C: Channel<Sender: SenderInPlace, Receiver: ReceiverInPlace>,
{
    between_processes::<C>(&Sides::in_place(), spec, job, plan, pairs)
}

/// The same by tasks.
#[cfg(feature = "async")]
pub(crate) fn processes_async<C>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String>
where
    C: Channel<Sender: SenderAsync, Receiver: ReceiverAsync>,
{
    let sides = Sides {
        read: job::tasks::read,
        write: job::tasks::write,
    };
    between_processes::<C>(&sides, spec, job, plan, pairs)
}

/// Runs one contender that is many channels, all between the same two processes.
pub(crate) fn processes_many<W: Way>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String> {
    let sides = Sides {
        read: job::many::read,
        write: job::many::write,
    };
    between_processes::<job::many::Many<W>>(&sides, spec, job, plan, pairs)
}

fn between_processes<C: Channel>(
    sides: &Sides<C>,
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String> {
    clock::ns_per_tick(); // once, for all children
    let both = &plan.cpus[..2];
    // Before the channel, which the loops must not hold.
    let _crowd = Crowd::start(job.loops(), both);
    let board = Shared::<Board>::new();
    let open = || C::open(spec).map_err(|error| error.to_string());
    let mut links = Vec::new();
    for _ in 0..pairs {
        let back = if job.needs_a_way_back() {
            Some(open()?)
        } else {
            None
        };
        links.push((Some(open()?), back));
    }
    let mut children = Vec::new();
    for (pair, (link, back)) in links.iter_mut().enumerate() {
        for reads in [true, false] {
            let cpu = plan.cpus[(2 * pair + usize::from(!reads)) % plan.cpus.len()];
            let set = setting(&board, spec, job, plan, pairs, pair, Usage::of_process);
            children.push(sys::fork(|| {
                if job.loops() > 0 {
                    sys::pin_to(both);
                } else {
                    sys::pin(cpu);
                }
                reporting(&board, || {
                    let link = link.take().expect("taken in the child only");
                    let back = back.take();
                    probe(&set, reads, pairs, Slot::LineBefore);
                    if reads {
                        let tx = back.map(C::sender).transpose();
                        let rx = link.receiver();
                        let (tx, rx) = (opened(tx), opened(rx));
                        set.board.meet(set.parties);
                        (sides.read)(&set, rx, tx);
                    } else {
                        let rx = back.map(C::receiver).transpose();
                        let tx = link.sender();
                        let (tx, rx) = (opened(tx), opened(rx));
                        set.board.meet(set.parties);
                        (sides.write)(&set, tx, rx);
                    }
                    probe(&set, reads, pairs, Slot::LineAfter);
                });
            }));
        }
    }
    outcome(&board, &children, job, plan)
}

/// Runs one channel between two threads of one process.
pub(crate) fn threads<C: Threads>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String> {
    between_threads::<C>(&Sides::copying(), spec, job, plan, pairs)
}

/// The same in place.
pub(crate) fn threads_in_place<C>(
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String>
where
    C: Threads + Channel<Sender: SenderInPlace, Receiver: ReceiverInPlace>,
{
    between_threads::<C>(&Sides::in_place(), spec, job, plan, pairs)
}

fn between_threads<C: Threads>(
    sides: &Sides<C>,
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
) -> Result<Sample, String> {
    if pairs != 1 {
        return Err("several rings are measured between processes only".into());
    }
    clock::ns_per_tick();
    let board = Shared::<Board>::new();
    let child = sys::fork(|| {
        reporting(&board, || {
            let set = setting(&board, spec, job, plan, 1, 0, Usage::of_thread);
            let (tx, rx) = opened(C::open(spec)).split();
            let (back, there) = if job.needs_a_way_back() {
                let (there, back) = opened(C::open(spec)).split();
                (Some(back), Some(there))
            } else {
                (None, None)
            };
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    sys::pin(plan.cpus[0]);
                    reporting(&board, || {
                        probe(&set, true, 1, Slot::LineBefore);
                        (sides.read)(&set, rx, there);
                        probe(&set, true, 1, Slot::LineAfter);
                    });
                });
                scope.spawn(|| {
                    sys::pin(plan.cpus[1]);
                    reporting(&board, || {
                        probe(&set, false, 1, Slot::LineBefore);
                        (sides.write)(&set, tx, back);
                        probe(&set, false, 1, Slot::LineAfter);
                    });
                });
            });
        });
    });
    outcome(&board, &[child], job, plan)
}

fn setting<'a>(
    board: &'a Board,
    spec: &Spec,
    job: Job,
    plan: &Plan,
    pairs: usize,
    pair: usize,
    usage: fn() -> Usage,
) -> Setting<'a> {
    Setting {
        board,
        job,
        time: plan.time,
        capacity: spec.capacity * spec.channels,
        parties: 2 * pairs as u64,
        first: pair == 0,
        usage,
    }
}

fn probe(set: &Setting<'_>, reads: bool, pairs: usize, slot: Slot) {
    // Several pairs have no line of their own. Beside busy loops, the sides seldom run at
    // once.
    let line = if pairs > 1 || set.job.loops() > 0 {
        f64::NAN
    } else {
        set.board.bounce(reads, TRIPS)
    };
    if reads {
        set.board.reader.set(slot, line);
    }
}

fn opened<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("does not open: {error}"))
}

/// Records on the board what went wrong.
fn reporting(board: &Board, body: impl FnOnce()) {
    let body = std::panic::AssertUnwindSafe(body);
    if let Err(panic) = std::panic::catch_unwind(body) {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("panicked");
        board.fail(text);
        sys::end(1);
    }
}

fn outcome(
    board: &Board,
    children: &[libc::pid_t],
    job: Job,
    plan: &Plan,
) -> Result<Sample, String> {
    match sys::reap(children, plan.limit + job.at_most()) {
        Ok(()) => Ok(Sample::of(board)),
        Err(how) => Err(board
            .failure()
            .map_or(how.to_string(), |why| format!("{how}: {why}"))),
    }
}
