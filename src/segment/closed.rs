//! The `closed` word: how a side has left the ring.

use crate::error::{Corruption, Rule};

/// How a side has left the ring, as its `closed` word says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It has not.
    Open,
    /// It has done: the stream is whole.
    Finished,
    /// It broke off.
    Aborted,
}

impl Departure {
    /// The word of the holder of claim number `claim`; zero while it is open.
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
            _ => Err(Corruption::new(Rule::ClosedWord, word, 0x102)),
        }
    }
}
