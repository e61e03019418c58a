//! What is asked, in the order of the tables, and how the answers are read.

/// A question of the comparison.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) better: Better,
    /// What each cell of the table shows.
    pub(crate) cell: Shown,
    /// The contenders that are limits of the machine. The worst of them is the limit of a
    /// case, and has no say if one of them is missing.
    pub(crate) limits: &'static [&'static str],
    /// The contenders that the verdict is about.
    pub(crate) ours: &'static [&'static str],
    /// Whether the verdict is about the worst of them, or about each.
    pub(crate) worst: bool,
    /// Whether the table stands in the page of the documentation.
    pub(crate) on_page: bool,
}

/// Which of two figures is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The median, the least and the most.
    Spread,
    /// The same, and the processor seconds of both sides for a GB.
    SpreadAndProcessor,
    /// The same, and the system calls of both sides for a MB.
    SpreadAndCalls,
    /// The percentiles of a delay, in columns of their own.
    Percentiles,
    /// The median, and the processor time of both sides.
    WallAndProcessor,
}

impl Shown {
    /// What a cell holds, in words: its first figures, and those after the part of the
    /// limit.
    pub(crate) fn legend(self) -> (&'static str, &'static str) {
        const SPREAD: &str = "median of the rounds (least..most)";
        match self {
            Shown::Spread => (SPREAD, ""),
            Shown::SpreadAndProcessor => (SPREAD, "; processor seconds of both sides for a GB"),
            Shown::SpreadAndCalls => (
                SPREAD,
                "; system calls of both sides for a MB; their processor seconds for a GB",
            ),
            Shown::Percentiles => ("percentiles, each the median of the rounds", ""),
            Shown::WallAndProcessor => ("wall time; processor time of both sides", ""),
        }
    }
}

const HALVES: &[&str] = &["the writer's half", "the reader's half, checked"];
const HALVES_IN_PLACE: &[&str] = &["the writer's half, in place", "the reader's half, in place"];
const OURS: &[&str] = &["shmpipe"];

/// One with our usual name and a spread in each cell.
const fn usual(name: &'static str, heading: &'static str, better: Better) -> Question {
    Question {
        name,
        heading,
        better,
        cell: Shown::Spread,
        limits: &[],
        ours: OURS,
        worst: false,
        on_page: false,
    }
}

/// Every question.
pub(crate) const ALL: &[Question] = &[
    Question {
        cell: Shown::SpreadAndProcessor,
        limits: HALVES,
        on_page: true,
        ..usual("throughput", "Throughput by block, GB/s", Better::More)
    },
    Question {
        limits: HALVES,
        on_page: true,
        ..usual(
            "messages",
            "Messages, each published, millions a second",
            Better::More,
        )
    },
    Question {
        limits: HALVES_IN_PLACE,
        on_page: true,
        ..usual(
            "in place",
            "In place, by the contenders' own calls, GB/s",
            Better::More,
        )
    },
    Question {
        on_page: true,
        ..usual(
            "instructions",
            "Instructions of a message, sent and received by one thread",
            Better::Less,
        )
    },
    Question {
        cell: Shown::Percentiles,
        limits: &["a bare place each way"],
        on_page: true,
        ..usual("round trip", "Round trip, spinning, ns", Better::Less)
    },
    Question {
        cell: Shown::Percentiles,
        limits: &["bare futex"],
        on_page: true,
        ..usual("parking", "Round trip, both sides asleep, us", Better::Less)
    },
    Question {
        cell: Shown::Percentiles,
        limits: &["bare futex"],
        ..usual(
            "wake",
            "From a send to the return of a sleeping receive, us",
            Better::Less,
        )
    },
    Question {
        cell: Shown::Percentiles,
        on_page: true,
        ..usual(
            "paced",
            "Delay of a paced stream of 64 bytes, ns",
            Better::Less,
        )
    },
    usual(
        "unaligned",
        "Unaligned memory and odd sizes, GB/s",
        Better::More,
    ),
    Question {
        limits: HALVES,
        on_page: true,
        ..usual("small rings", "Small rings, GB/s", Better::More)
    },
    Question {
        cell: Shown::SpreadAndCalls,
        limits: &["the slow side's work"],
        ..usual(
            "slow side",
            "One side works 50 us after each 64 KiB, GB/s",
            Better::More,
        )
    },
    Question {
        cell: Shown::WallAndProcessor,
        ours: &[
            "shmpipe, 64 KiB ring",
            "shmpipe, 256 KiB ring",
            "shmpipe, 4 MiB ring",
        ],
        worst: true,
        on_page: true,
        ..usual(
            "busy machine",
            "Busy loops on each processor, ms of a stream",
            Better::Less,
        )
    },
    usual("growth", "As work grows, GB/s", Better::More),
    Question {
        limits: &["bare calls"],
        ..usual("set-up", "Create, attach, pair and drop, us", Better::Less)
    },
    Question {
        limits: HALVES,
        ours: &["shmpipe, async"],
        on_page: true,
        ..usual(
            "async streams",
            "Streams by async handles, GB/s",
            Better::More,
        )
    },
    Question {
        cell: Shown::Percentiles,
        limits: &["bare futex"],
        ours: &["shmpipe, async"],
        on_page: true,
        ..usual(
            "async round trips",
            "Round trip by async handles, us",
            Better::Less,
        )
    },
    Question {
        ours: &["shmpipe, async", "shmpipe, blocking"],
        on_page: true,
        ..usual(
            "many rings",
            "Messages of 64 B over many rings in turn, millions a second",
            Better::More,
        )
    },
    Question {
        cell: Shown::Percentiles,
        ours: &["shmpipe, async", "shmpipe, blocking"],
        on_page: true,
        ..usual(
            "many rings, one message",
            "Delay of one message to a process that waits for many rings, us",
            Better::Less,
        )
    },
];
