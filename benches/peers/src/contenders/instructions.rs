//! How many instructions a message takes, sent and received by one thread, as
//! valgrind counts them: a figure that no neighbour disturbs.

use std::process::{Command, Stdio};

use crate::channel::{Receiver, Sender, Spec, Threads, Wait};
use crate::job::Job;
use crate::run::{Plan, Run, Sample};
use crate::sys;

/// Messages that are sent before they are received.
const BATCH: u64 = 64;

/// The subcommand of this program that valgrind runs.
pub(crate) const COMMAND: &str = "exchange";

/// A kind of channel, by the name of its type, and what it does there.
type Exchange = (&'static str, fn(usize, u64));

fn exchanges() -> Vec<Exchange> {
    fn exchange_of<C: Threads>() -> Exchange {
        (std::any::type_name::<C>(), exchange::<C>)
    }
    #[allow(unused_mut)] // where no feature is on
    let mut all = vec![
        exchange_of::<super::shmpipe::Ring>(),
        exchange_of::<super::rtrb::Ring>(),
    ];
    #[cfg(feature = "rings")]
    all.extend([
        exchange_of::<super::ringbuf::Ring>(),
        exchange_of::<super::bbqueue::Ring>(),
        exchange_of::<super::cueue::Ring>(),
    ]);
    all
}

/// What counts the instructions of the channel called so, if it can be had in
/// one thread.
pub(crate) fn counter(name: &str) -> Option<Run> {
    match name {
        "shmpipe" => Some(counted::<super::shmpipe::Ring>),
        "rtrb" => Some(counted::<super::rtrb::Ring>),
        #[cfg(feature = "rings")]
        "ringbuf" => Some(counted::<super::ringbuf::Ring>),
        #[cfg(feature = "rings")]
        "bbqueue" => Some(counted::<super::bbqueue::Ring>),
        #[cfg(feature = "rings")]
        "cueue" => Some(counted::<super::cueue::Ring>),
        _ => None,
    }
}

/// Sends and receives messages of `block` bytes, in this thread: the work of
/// [`COMMAND`]. Never returns.
pub(crate) fn exchange_as(channel: &str, block: usize, batches: u64) -> std::io::Result<()> {
    let exchange = exchanges().into_iter().find(|(name, _)| *name == channel);
    let (_, exchange) = exchange.ok_or_else(|| std::io::Error::other("no such channel"))?;
    exchange(block, batches);
    // Without detaching, which valgrind takes amiss of memory that was attached
    // over other memory.
    sys::end(0)
}

fn exchange<C: Threads>(block: usize, batches: u64) {
    let spec = Spec {
        capacity: 1 << 20,
        block,
        wait: Wait::Default,
    };
    let (mut sender, mut receiver) = C::open(&spec).expect("it opens").split();
    let (sent, mut received) = (vec![7; block], vec![0; block]);
    for _ in 0..batches {
        for _ in 0..BATCH {
            sender.send(std::hint::black_box(&sent));
        }
        for _ in 0..BATCH {
            receiver.receive(std::hint::black_box(&mut received));
        }
    }
    assert!(received == sent, "a block came out wrong");
    std::mem::forget((sender, receiver));
}

fn counted<C: Threads>(_: &Spec, job: Job, _: &Plan, _: usize) -> Result<Sample, String> {
    const FEW: u64 = 100;
    const MANY: u64 = 300;
    let channel = std::any::type_name::<C>();
    let [few, many] = [FEW, MANY].map(|batches| collected(channel, job.block(), batches));
    let messages = (MANY - FEW) * BATCH;
    Ok(Sample::bare((many? - few?) as f64 / messages as f64))
}

/// The instructions of a process of its own that does just this.
fn collected(channel: &str, block: usize, batches: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([COMMAND, channel])
        .args([block.to_string(), batches.to_string()])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, count) = text.split_once("Collected : ").ok_or("no count")?;
    let count = count.split_whitespace().next().unwrap_or_default();
    count.parse().map_err(|_| format!("no count: {count}"))
}
