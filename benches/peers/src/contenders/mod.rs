//! The contenders, one in each file.

#[cfg(feature = "async")]
pub(crate) mod asynchronous;
#[cfg(feature = "rings")]
mod bbqueue;
#[cfg(feature = "messages")]
mod cloudtoid;
#[cfg(feature = "cpp")]
mod cpp;
#[cfg(feature = "rings")]
mod cueue;
mod futex;
mod halves;
#[cfg(feature = "iceoryx2")]
mod iceoryx2;
pub(crate) mod in_place;
pub(crate) mod instructions;
#[cfg(feature = "messages")]
mod ipc_channel;
#[cfg(feature = "messages")]
mod ipc_ring;
#[cfg(feature = "messages")]
mod ipmpsc;
mod mailbox;
pub(crate) mod many;
mod memcpy;
mod mq;
#[cfg(feature = "rings")]
mod ringbuf;
#[cfg(feature = "rings")]
mod ringfire;
mod rtrb;
mod setup;
#[cfg(feature = "rings")]
mod shmem_ipc;
mod shmpipe;
#[cfg(feature = "rings")]
mod shmring;
mod streams;

use crate::figures::Kind;
use crate::job::Job;
use crate::run::{Run, Sample, processes, threads};

#[derive(Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) run: Run,
    /// The largest block that it can send.
    pub(crate) most: usize,
}

const ANY: usize = usize::MAX;

/// Every contender of this build, ours first.
pub(crate) fn all() -> Vec<Contender> {
    let entry = |name, kind, run, most| Contender {
        name,
        kind,
        run,
        most,
    };
    #[allow(unused_mut)] // where no feature is on
    let mut all = vec![
        entry(
            "shmpipe",
            Kind::Ours,
            processes::<shmpipe::Ring> as Run,
            ANY,
        ),
        entry("pipe", Kind::Kernel, processes::<streams::Pipe>, ANY),
        entry(
            "pipe 1 MiB",
            Kind::Kernel,
            processes::<streams::LargePipe>,
            ANY,
        ),
        entry("FIFO", Kind::Kernel, processes::<streams::Fifo>, ANY),
        entry("Unix socket", Kind::Kernel, processes::<streams::Unix>, ANY),
        entry("TCP loopback", Kind::Kernel, processes::<streams::Tcp>, ANY),
        entry("System V mq", Kind::Kernel, processes::<mq::SystemV>, ANY),
        entry("POSIX mq", Kind::Kernel, processes::<mq::Posix>, ANY),
        entry("rtrb", Kind::Threads, threads::<rtrb::Ring>, ANY),
    ];
    #[cfg(feature = "rings")]
    all.extend([
        entry("ringbuf", Kind::Threads, threads::<ringbuf::Ring>, ANY),
        entry("bbqueue", Kind::Threads, threads::<bbqueue::Ring>, ANY),
        entry("cueue", Kind::Crate, processes::<cueue::Ring>, ANY),
        entry("ringfire", Kind::Crate, ringfire::run, 64 << 10),
        entry("shmem-ipc", Kind::Crate, processes::<shmem_ipc::Ring>, ANY),
        entry("shmring", Kind::Crate, processes::<shmring::Ring>, ANY),
    ]);
    #[cfg(feature = "messages")]
    all.extend([
        entry("cloudtoid", Kind::Crate, processes::<cloudtoid::Queue>, ANY),
        entry("ipc_ring", Kind::Crate, processes::<ipc_ring::Ring>, ANY),
        entry("ipmpsc", Kind::Crate, processes::<ipmpsc::Ring>, ANY),
        entry(
            "ipc-channel",
            Kind::Crate,
            processes::<ipc_channel::Bytes>,
            ANY,
        ),
    ]);
    #[cfg(feature = "iceoryx2")]
    all.extend([entry(
        "iceoryx2",
        Kind::Crate,
        processes::<iceoryx2::Service>,
        ANY,
    )]);
    #[cfg(feature = "cpp")]
    all.extend(cpp::all());
    all
}

/// A wake by a futex alone: the least cost of parking.
pub(crate) fn bare_futex() -> Contender {
    Contender {
        name: "bare futex",
        kind: Kind::Limit,
        run: processes::<futex::Word>,
        most: 64,
    }
}

/// One place in each direction: the least cost of a round trip.
pub(crate) fn mailbox() -> Contender {
    Contender {
        name: "a bare place each way",
        kind: Kind::Limit,
        run: processes::<mailbox::Mailbox>,
        most: 1 << 10,
    }
}

/// Every contender whose instructions can be counted.
pub(crate) fn counters() -> impl Iterator<Item = Contender> {
    all().into_iter().filter_map(|contender| {
        let run = instructions::counter(contender.name)?;
        Some(Contender { run, ..contender })
    })
}

/// Those whose instructions in place can be counted.
pub(crate) fn counters_in_place() -> impl Iterator<Item = Contender> {
    in_place::all().into_iter().filter_map(|contender| {
        let run = instructions::counter_in_place(contender.name)?;
        Some(Contender { run, ..contender })
    })
}

/// One core that copies twice, unchecked and checked.
pub(crate) fn copies() -> [Contender; 2] {
    [
        limit("memcpy twice, one core", memcpy::unchecked),
        limit("the same, checked", memcpy::checked),
    ]
}

/// Each side of a ring alone.
pub(crate) fn halves() -> [Contender; 2] {
    [
        limit("the writer's half", halves::writer),
        limit("the reader's half, checked", halves::reader),
    ]
}

/// The work of a slow side, without any channel.
pub(crate) fn slow_work() -> Contender {
    limit("the slow side's work", |_, job, _, _| {
        let Job::Stream {
            block,
            slow: Some(slow),
            ..
        } = job
        else {
            return Err("no side is slow".into());
        };
        let speed = block as f64 / slow.work.as_nanos() as f64;
        Ok(Sample::bare(speed))
    })
}

fn limit(name: &'static str, run: Run) -> Contender {
    Contender {
        name,
        kind: Kind::Limit,
        run,
        most: ANY,
    }
}

/// Making a ring, with and without a path, and the bare system calls of the same work.
pub(crate) fn setups(by_path: bool) -> [Contender; 2] {
    let entry = |name, kind, run| Contender {
        name,
        kind,
        run,
        most: ANY,
    };
    if by_path {
        [
            entry("shmpipe", Kind::Ours, setup::named as Run),
            entry("bare calls", Kind::Limit, setup::bare_named),
        ]
    } else {
        [
            entry("shmpipe", Kind::Ours, setup::anonymous as Run),
            entry("bare calls", Kind::Limit, setup::bare_anonymous),
        ]
    }
}
