//! The instructions of a message that one thread sends and receives, as valgrind counts
//! them. No neighbour disturbs this figure.
#![allow(unsafe_code)] // words that are read and written as they stand

use std::hint::black_box;
use std::process::{Command, Stdio};

use crate::channel::{
    Channel, Receiver, ReceiverInPlace, Sender, SenderInPlace, Spec, Threads, Wait,
};
use crate::job::{Job, sized};
use crate::run::{Plan, Run, Sample};
use crate::sys;

/// Messages that are sent before they are received.
const BATCH: u64 = 64;

/// The subcommand of this program that runs under valgrind.
pub(crate) const COMMAND: &str = "exchange";

/// A contender that works within one thread.
struct Countable {
    name: &'static str,
    /// The name of the channel's type.
    channel: &'static str,
    run: Run,
    exchange: fn(usize, u64),
}

impl Countable {
    fn of<C: Threads>(name: &'static str) -> Countable {
        Countable {
            name,
            channel: std::any::type_name::<C>(),
            run: counted::<C>,
            exchange: exchange::<C>,
        }
    }

    fn in_place<C>(name: &'static str) -> Countable
    where
        C: Threads + Channel<Sender: SenderInPlace, Receiver: ReceiverInPlace>,
    {
        Countable {
            name,
            channel: std::any::type_name::<InPlace<C>>(),
            run: counted::<InPlace<C>>,
            exchange: exchange_in_place::<C>,
        }
    }

    /// Those that lend their memory.
    fn all_in_place() -> [Countable; 2] {
        [
            Countable::in_place::<super::shmpipe::Ring>("shmpipe"),
            Countable::in_place::<super::rtrb::Ring>("rtrb"),
        ]
    }

    fn all() -> Vec<Countable> {
        #[allow(unused_mut)] // where no feature is on
        let mut all = vec![
            Countable::of::<super::shmpipe::Ring>("shmpipe"),
            Countable::of::<super::rtrb::Ring>("rtrb"),
        ];
        #[cfg(feature = "rings")]
        all.extend([
            Countable::of::<super::ringbuf::Ring>("ringbuf"),
            Countable::of::<super::bbqueue::Ring>("bbqueue"),
            Countable::of::<super::cueue::Ring>("cueue"),
        ]);
        #[cfg(feature = "cpp")]
        {
            use super::cpp::{AtomicQueue, Boost, Queue, ReaderWriterQueue};

            all.extend([
                Countable::of::<Queue<Boost>>("boost spsc_queue, C++"),
                Countable::of::<Queue<AtomicQueue>>("atomic_queue, C++"),
                Countable::of::<Queue<ReaderWriterQueue>>("ReaderWriterQueue, C++"),
            ]);
        }
        all
    }
}

/// Names the channel `C` whose memory is lent.
struct InPlace<C>(std::marker::PhantomData<C>);

/// The counter for the contender of that name, if it works within one thread.
pub(crate) fn counter(name: &str) -> Option<Run> {
    let mut all = Countable::all().into_iter();
    all.find(|one| one.name == name).map(|one| one.run)
}

/// The same for its memory in place.
pub(crate) fn counter_in_place(name: &str) -> Option<Run> {
    let mut all = Countable::all_in_place().into_iter();
    all.find(|one| one.name == name).map(|one| one.run)
}

/// Sends and receives messages of `block` bytes in this thread: the work of [`COMMAND`].
/// Never returns.
pub(crate) fn exchange_as(channel: &str, block: usize, batches: u64) -> std::io::Result<()> {
    let mut all = Countable::all()
        .into_iter()
        .chain(Countable::all_in_place());
    let one = all.find(|one| one.channel == channel);
    let one = one.ok_or_else(|| std::io::Error::other("no such channel"))?;
    (one.exchange)(block, batches);
    // Ends without detaching: valgrind fails at memory that was attached over other memory.
    sys::end(0)
}

fn exchange<C: Threads>(block: usize, batches: u64) {
    let (mut sender, mut receiver) = ends::<C>(block);
    let (sent, mut received) = (vec![7; block], vec![0; block]);
    sized!(
        block,
        for _ in 0..batches {
            for _ in 0..BATCH {
                sender.send(&black_box(&sent)[..block]);
            }
            for _ in 0..BATCH {
                receiver.receive(&mut black_box(&mut received)[..block]);
            }
        }
    );
    assert!(received == sent, "a block came out wrong");
    std::mem::forget((sender, receiver));
}

/// The same in place: the payload is written and read by words of eight bytes.
fn exchange_in_place<C>(block: usize, batches: u64)
where
    C: Threads + Channel<Sender: SenderInPlace, Receiver: ReceiverInPlace>,
{
    let (mut sender, mut receiver) = ends::<C>(block);
    let mut differ = 0;
    sized!(
        block,
        for word in 0..batches {
            let word = black_box(word);
            for _ in 0..BATCH {
                sender.send_in_place(block, |piece| write_words(&mut piece[..block], word));
            }
            for _ in 0..BATCH {
                receiver.receive_in_place(block, |piece| {
                    differ |= differ_from(&piece[..block], word);
                });
            }
        }
    );
    assert!(differ == 0, "a block came out wrong");
    std::mem::forget((sender, receiver));
}

/// A word that need not be aligned.
#[repr(C, packed)]
struct Word(u64);

/// Makes every word of `bytes` the same. The compiler must not join the words.
#[inline(always)]
fn write_words(bytes: &mut [u8], word: u64) {
    for place in bytes.as_chunks_mut::<8>().0 {
        // SAFETY: eight bytes, which need not be aligned.
        unsafe { place.as_mut_ptr().cast::<Word>().write_volatile(Word(word)) };
    }
}

/// Zero if every word of `bytes` is `word`. The compiler must not join the words.
#[inline(always)]
fn differ_from(bytes: &[u8], word: u64) -> u64 {
    let mut differ = 0;
    for place in bytes.as_chunks::<8>().0 {
        // SAFETY: eight bytes, which need not be aligned.
        let Word(found) = unsafe { place.as_ptr().cast::<Word>().read_volatile() };
        differ |= found ^ word;
    }
    differ
}

/// A ring in this thread.
fn ends<C: Threads>(block: usize) -> (C::Sender, C::Receiver) {
    let spec = Spec {
        capacity: 1 << 20,
        block,
        wait: Wait::Default,
        channels: 1,
    };
    C::open(&spec).expect("it opens").split()
}

fn counted<C>(_: &Spec, job: Job, _: &Plan, _: usize) -> Result<Sample, String> {
    const FEW: u64 = 100;
    const MANY: u64 = 300;
    let channel = std::any::type_name::<C>();
    let [few, many] = [FEW, MANY].map(|batches| collected(channel, job.block(), batches));
    let messages = (MANY - FEW) * BATCH;
    Ok(Sample::bare((many? - few?) as f64 / messages as f64))
}

/// The instructions of a process that does only this.
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
