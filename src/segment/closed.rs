//! The `closed` word: how a side has left the ring.

use crate::error::{Corruption, Rule};

/// How a side has left the ring, decoded from its `closed` word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The side has not left.
    Open,
    /// The side finished: the stream is whole.
    Finished,
    /// The side aborted.
    Aborted,
}

impl Departure {
    /// The word of the holder of claim number `claim`; zero for [`Departure::Open`].
    pub(crate) fn to_word(self, claim: u64) -> u64 {
        let how = match self {
            Departure::Open => return 0,
            Departure::Finished => 1,
            Departure::Aborted => 2,
        };
        claim << 8 | how
    }

    pub(crate) fn from_word(word: u64) -> Result<Departure, Corruption> {
        match word & 0xff {
            0 if word == 0 => Ok(Departure::Open),
            1 if word > 0xff => Ok(Departure::Finished),
            2 if word > 0xff => Ok(Departure::Aborted),
            // 0x102 is a correct word: aborted, claim 1.
            _ => Err(Corruption::new(Rule::ClosedWord, word, 0x102)),
        }
    }
}
