//! The inputs that fuzzing starts from: cases that a reader of the code would try first.
//! `tests/streams/fuzz_replay.rs` compares them with `corpus/`.

/// An input of a target.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) target: &'static str,
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Builds an input: the inverse of `Tape`.
#[derive(Debug, Default)]
struct Input(Vec<u8>);

impl Input {
    fn byte(mut self, byte: u8) -> Input {
        self.0.push(byte);
        self
    }

    fn short(mut self, short: u16) -> Input {
        self.0.extend(short.to_le_bytes());
        self
    }

    fn long(mut self, long: u64) -> Input {
        self.0.extend(long.to_le_bytes());
        self
    }

    /// A store into the header, for `header`.
    fn patch(self, offset: u16, size: u8, word: u64) -> Input {
        self.short(offset).byte(size).long(word)
    }

    /// A call with its lengths. `ops` knows calls by number, see `Call::read`.
    fn call(self, number: u8, lengths: &[u16]) -> Input {
        let input = self.byte(number);
        lengths.iter().fold(input, |input, &len| input.short(len))
    }

    /// A call with its lengths, for `hostile`.
    fn hostile_call(self, number: u8, lengths: &[u16]) -> Input {
        self.byte(128).call(number, lengths)
    }

    /// A forged mark, for `hostile`.
    fn hostile_mark(self, slot: u8, by: i8, ending: u16, more: u8) -> Input {
        let input = self.byte(0).byte(5).byte(slot).short(ending);
        input.byte(by as u8).byte(more)
    }

    /// A store into a word of the header, for `hostile`.
    fn hostile_word(self, offset: u16, word: u64) -> Input {
        self.byte(0).byte(1).short(offset).long(word)
    }
}

fn input() -> Input {
    Input::default()
}

const WRITE: u8 = 0;
const WRITE_PARTS: u8 = 1;
const RESERVE: u8 = 3;
const FLUSH: u8 = 6;
const BATCH: u8 = 7;
const READ: u8 = 9;
const READ_PARTS: u8 = 10;
const PEEK: u8 = 12;
const PEEK_DEADLINE: u8 = 14;
const CLOSE: u8 = 16;
const ABORT: u8 = 17;
const NEW_CONSUMER: u8 = 18;
const RECEIVE: u8 = 19;
const SPIN: u8 = 20;
const NEXT_STREAM: u8 = 22;
const ABORT_CONSUMER: u8 = 23;
const RESUME: u8 = 24;

/// Ten short messages, one at a time. After eight of them a reader asks for inline
/// messages.
fn short_messages(input: Input, call: impl Fn(Input, u8, &[u16]) -> Input) -> Input {
    (1..=10).fold(call(input, SPIN, &[]), |input, len| {
        let input = call(input, WRITE, &[len]);
        call(input, RECEIVE, &[90])
    })
}

/// All seeds. The function is long, since it is a table: one entry for each seed.
pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |target, name, input: Input| Seed {
        target,
        name,
        bytes: input.0,
    };
    let over_a_ring = || input().short(4096).byte(1);
    let ring_of = |log, start| input().byte(log).long(start);
    vec![
        seed("header", "nothing-there", input().short(4096).byte(0)),
        seed("header", "too-small", input().short(0).byte(1)),
        seed("header", "a-ring", over_a_ring()),
        seed("header", "zero-version", over_a_ring().patch(8, 4, 0)),
        seed("header", "line-of-64", over_a_ring().patch(16, 4, 64)),
        seed("header", "kind-9", over_a_ring().patch(20, 4, 9)),
        seed(
            "header",
            "capacity-too-large",
            over_a_ring().patch(24, 8, 8192),
        ),
        seed(
            "header",
            "capacity-not-a-power",
            over_a_ring().patch(24, 8, 4095),
        ),
        seed(
            "header",
            "ring-offset-wraps",
            over_a_ring().patch(32, 8, u64::MAX - 4095),
        ),
        seed("header", "state-unborn", over_a_ring().patch(128, 8, 0)),
        seed("header", "state-removed", over_a_ring().patch(128, 8, 4)),
        seed(
            "header",
            "held-by-nobody",
            over_a_ring().patch(128, 8, 1 | 1 << 8),
        ),
        seed(
            "header",
            "tail-out-of-range",
            over_a_ring().patch(256, 8, 4097),
        ),
        seed(
            "header",
            "aborted-before",
            over_a_ring().patch(384, 8, 0x102),
        ),
        seed("header", "version-1", over_a_ring().patch(8, 4, 1)),
        seed(
            "header",
            "a-required-feature",
            over_a_ring().patch(76, 4, 1 << 31),
        ),
        seed(
            "header",
            "a-compatible-feature",
            over_a_ring().patch(72, 4, u64::MAX),
        ),
        seed(
            "header",
            "another-birth",
            over_a_ring().patch(80, 8, u64::MAX),
        ),
        seed(
            "header",
            "a-path-without-an-end",
            over_a_ring()
                .patch(3072, 8, u64::MAX)
                .patch(4088, 8, u64::MAX),
        ),
        seed(
            "header",
            "closed-by-generation-0",
            over_a_ring().patch(384, 8, 1).patch(640, 8, 2),
        ),
        seed(
            "header",
            "an-end-of-nothing",
            over_a_ring().patch(1032, 8, 1).patch(416, 8, 1),
        ),
        seed("header", "no-places", over_a_ring().patch(416, 8, 126)),
        seed(
            "header",
            "more-ends-than-places",
            over_a_ring().patch(416, 8, 128),
        ),
        seed(
            "header",
            "fewer-ends-than-acknowledged",
            over_a_ring().patch(672, 8, 1),
        ),
        seed(
            "header",
            "behind-the-claims",
            over_a_ring().patch(408, 8, u64::MAX),
        ),
        seed(
            "header",
            "words-that-are-not-listed",
            over_a_ring().patch(800, 8, u64::MAX),
        ),
        seed("ops", "empty", ring_of(12, 0)),
        seed(
            "ops",
            "one-byte-ring",
            ring_of(0, u64::MAX)
                .call(WRITE, &[1])
                .call(READ, &[1])
                .call(WRITE, &[2]),
        ),
        seed(
            "ops",
            "full-across-the-wrap-of-positions",
            ring_of(4, u64::MAX - 7)
                .call(WRITE, &[16])
                .call(WRITE, &[1])
                .call(READ, &[9])
                .call(WRITE, &[9])
                .call(READ, &[16]),
        ),
        seed(
            "ops",
            "grants-at-the-end-of-the-ring",
            ring_of(3, 5)
                .call(RESERVE, &[3, 2])
                .call(RESERVE, &[4, 4])
                .call(PEEK, &[2, 1])
                .call(PEEK_DEADLINE, &[5, 0]),
        ),
        seed(
            "ops",
            "a-batch-and-its-flush",
            ring_of(6, 1 << 32)
                .call(BATCH, &[9])
                .call(WRITE, &[5])
                .call(FLUSH, &[])
                .call(READ, &[5]),
        ),
        seed(
            "ops",
            "parts",
            ring_of(5, 0)
                .byte(WRITE_PARTS)
                .byte(3)
                .short(1)
                .short(0)
                .short(30)
                .byte(READ_PARTS)
                .byte(2)
                .short(7)
                .short(40),
        ),
        seed(
            "ops",
            "echoes",
            short_messages(ring_of(8, 0), Input::call)
                .call(WRITE, &[8])
                .call(WRITE, &[8])
                .call(RECEIVE, &[8])
                .call(RECEIVE, &[8]),
        ),
        seed(
            "ops",
            "one-after-the-other",
            ring_of(7, 0)
                .call(WRITE, &[9])
                .call(CLOSE, &[])
                .call(WRITE, &[3])
                .call(NEW_CONSUMER, &[])
                .call(ABORT, &[])
                .call(WRITE, &[4])
                .call(READ, &[9]),
        ),
        seed(
            "ops",
            "streams-that-nobody-reads-yet",
            ring_of(7, u64::MAX - 5)
                .call(WRITE, &[9])
                .call(CLOSE, &[])
                .call(WRITE, &[3])
                .call(ABORT, &[])
                .call(RESUME, &[])
                .call(WRITE, &[4])
                .call(READ, &[99])
                .call(READ, &[1])
                .call(NEXT_STREAM, &[])
                .call(PEEK, &[4, 0])
                .call(READ, &[99])
                .call(RECEIVE, &[1])
                .call(ABORT_CONSUMER, &[])
                .call(RECEIVE, &[1])
                .call(NEW_CONSUMER, &[])
                .call(NEXT_STREAM, &[]),
        ),
        seed(
            "ops",
            "more-ends-than-places",
            (0..140).fold(ring_of(3, 7), |input, _| input.call(CLOSE, &[])),
        ),
        seed(
            "ops",
            "echoes-up-to-an-end",
            short_messages(ring_of(8, 0), Input::call)
                .call(WRITE, &[8])
                .call(CLOSE, &[])
                .call(WRITE, &[8])
                .call(RECEIVE, &[8])
                .call(RECEIVE, &[8])
                .call(NEXT_STREAM, &[])
                .call(RECEIVE, &[8]),
        ),
        seed(
            "hostile",
            "tail-jumps-ahead",
            ring_of(4, 0)
                .byte(0)
                .hostile_call(WRITE, &[3])
                .hostile_word(256, 17)
                .hostile_call(READ, &[3])
                .hostile_call(READ, &[3]),
        ),
        seed(
            "hostile",
            "head-moves-back",
            ring_of(4, 100)
                .byte(0)
                .hostile_call(WRITE, &[16])
                .hostile_call(READ, &[8])
                .hostile_call(WRITE, &[8])
                .hostile_word(512, 101)
                .hostile_call(WRITE, &[1]),
        ),
        seed(
            "hostile",
            "closed-means-nothing",
            ring_of(4, 0)
                .byte(0)
                .hostile_word(384, 0xffff_ffff)
                .hostile_call(READ, &[1])
                .hostile_word(640, 3)
                .hostile_call(WRITE, &[1]),
        ),
        seed(
            "hostile",
            "owner-is-another",
            ring_of(4, 0)
                .byte(0)
                .hostile_word(136, 1 << 42)
                .hostile_word(176, u64::MAX)
                .hostile_call(CLOSE, &[])
                .hostile_call(NEW_CONSUMER, &[]),
        ),
        seed(
            "hostile",
            "echo-of-something-else",
            short_messages(ring_of(8, 0).byte(0), Input::hostile_call)
                .hostile_call(WRITE, &[8])
                .hostile_word(272, 40) // where it begins
                .hostile_call(RECEIVE, &[90])
                .hostile_word(264, 90) // where it ends
                .hostile_word(256, 90) // tail
                .hostile_call(RECEIVE, &[90]),
        ),
        seed(
            "hostile",
            "a-mark-beyond-the-tail",
            ring_of(4, 0)
                .byte(0)
                .hostile_call(WRITE, &[3])
                .hostile_mark(0, 4, 1, 1)
                .hostile_call(READ, &[9])
                .hostile_call(READ, &[9]),
        ),
        seed(
            "hostile",
            "a-mark-before-the-head",
            ring_of(4, 9)
                .byte(0)
                .hostile_call(WRITE, &[3])
                .hostile_mark(0, -1, 2, 1)
                .hostile_call(READ, &[9]),
        ),
        seed(
            "hostile",
            "an-ending-that-is-none",
            ring_of(4, 9)
                .byte(0)
                .hostile_call(WRITE, &[3])
                .hostile_mark(0, 3, 4, 1)
                .hostile_call(READ, &[9])
                .hostile_call(READ, &[9]),
        ),
        seed(
            "hostile",
            "more-marks-than-places",
            ring_of(4, 9)
                .byte(0)
                .hostile_mark(0, 0, 1, 128)
                .hostile_call(READ, &[9])
                .hostile_call(NEXT_STREAM, &[]),
        ),
        seed(
            "hostile",
            "a-mark-that-moves",
            ring_of(4, 9)
                .byte(0)
                .hostile_call(WRITE, &[6])
                .hostile_mark(0, 3, 1, 1)
                .hostile_call(READ, &[9])
                .hostile_mark(0, 5, 1, 0)
                .hostile_call(NEXT_STREAM, &[])
                .hostile_call(READ, &[9])
                .hostile_mark(1, -2, 1, 1)
                .hostile_call(READ, &[9]),
        ),
        seed(
            "hostile",
            "claims-and-capabilities",
            short_messages(ring_of(8, 0).byte(0), Input::hostile_call)
                .hostile_word(408, 77)
                .hostile_word(168, u64::MAX) // views and capabilities
                .hostile_call(WRITE, &[8])
                .hostile_call(RECEIVE, &[90])
                .hostile_word(168, 0)
                .hostile_word(408, 78)
                .hostile_call(WRITE, &[8])
                .hostile_call(RECEIVE, &[90]),
        ),
        seed(
            "hostile",
            "acknowledged-by-another",
            ring_of(4, 9)
                .byte(0)
                .hostile_word(672, 5)
                .hostile_call(NEXT_STREAM, &[])
                .hostile_call(ABORT, &[])
                .hostile_call(READ, &[9]),
        ),
        seed(
            "hostile",
            "before-the-roles-are-taken",
            ring_of(4, 0)
                .byte(1)
                .byte(1)
                .short(256)
                .long(5)
                .hostile_call(READ, &[9]),
        ),
    ]
}
