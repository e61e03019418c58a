//! The log rule: which records count, and what each adds. Pure code, for both sides.
//!
//! A sender owns the log from its claim on, until the next claim. The sequence of the
//! claim is its session. A record of another session is *void*: it was in flight while
//! another sender claimed the log.
//!
//! Each record carries the sequence that it expects to be the last one in the log. The broker
//! refuses the record if another one is the last. That does not suffice: a claim may take the
//! place of the first of several records in flight. The broker then refuses that record, and
//! accepts the second one. So every reader applies the rule of sessions.
//!
//! The first record in the log is valid: whoever trims the log keeps the last record that
//! was applied, and all claims after it. If another one deletes a claim, the records of its
//! session do not count, and are no void records either: they are an error.

use thiserror::Error;

use crate::record::{Ending, Kind, Place, Record};

/// Whether a relay may have written the record with this sequence: a claim comes before its records.
/// Any other record is a forger's, and void wherever it stands.
#[must_use]
pub fn is_possible(sequence: u64, record: &Record) -> bool {
    record.kind.is_claim() || record.session < sequence
}

/// Which records count: those of the latest claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    latest: Option<u64>,
}

impl Sessions {
    /// Judges the record with this sequence, in the order of sequences. Returns whether
    /// it counts.
    pub fn admit(&mut self, sequence: u64, record: &Record) -> bool {
        if record.kind.is_claim() {
            self.latest = Some(sequence);
            return true;
        }
        if !is_possible(sequence, record) {
            return false;
        }
        // The first possible record is valid.
        *self.latest.get_or_insert(record.session) == record.session
    }

    /// Fails if the record is of a later session than the latest: its claim is missing.
    fn check(self, sequence: u64, record: &Record) -> Result<(), LogError> {
        let session = record.session;
        let is_later = self.latest.is_some_and(|latest| latest < session);
        if is_later && is_possible(sequence, record) {
            return Err(LogError::LostClaim { session });
        }
        Ok(())
    }
}

/// A log that cannot be continued.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError {
    /// Bytes are missing from the log.
    #[error("lost bytes {from} to {to}")]
    LostBytes {
        /// Position of the first missing byte.
        from: u64,
        /// Position after the last missing byte.
        to: u64,
    },
    /// Ends of streams are missing from the log.
    #[error("lost the ends of streams {from} to {to}")]
    LostEnds {
        /// Number of the first stream whose end is missing.
        from: u64,
        /// Number of the stream that follows them.
        to: u64,
    },
    /// A claim is missing from the log, and so its session's records do not count.
    #[error("lost the claim of session {session}")]
    LostClaim {
        /// The session.
        session: u64,
    },
    /// A record contradicts what came before.
    #[error("a record at byte {position} of stream {stream} contradicts the log so far")]
    Contradiction {
        /// The stream that the record names.
        stream: u64,
        /// The position that the record names.
        position: u64,
    },
    /// A record is of a ring that no record began.
    #[error("a record of ring {found:016x} in the log of ring {expected:016x}")]
    OtherRing {
        /// The nonce of the record.
        found: u64,
        /// The nonce of the log.
        expected: u64,
    },
    /// The start of this ring's log was trimmed.
    #[error("the log begins at byte {position} of ring {nonce:016x}: what came before was trimmed")]
    Trimmed {
        /// The ring.
        nonce: u64,
        /// Where the log begins.
        position: u64,
    },
}

/// What a record asks its reader to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the record is void, or its content is there already.
    Nothing,
    /// A new source begins here. The stream of the earlier one is over: its ring is gone.
    Begin {
        /// The nonce of the new source.
        nonce: u64,
        /// Where the source begins.
        at: Place,
    },
    /// Append the payload, without its first `skip` bytes.
    Append {
        /// Bytes that are there already.
        skip: usize,
    },
    /// End the stream.
    End(Ending),
    /// Tell that the producer is dead.
    Lost,
}

/// The copy that a reader has of a source ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The ring's nonce.
    pub nonce: u64,
    /// Where the copy ends.
    pub at: Place,
    /// The sequence of the record that began it. Records of other rings before it belong
    /// to earlier sources.
    pub began: u64,
}

/// A reader of the log, from its first record on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    sessions: Sessions,
    source: Option<Copied>,
}

impl Reader {
    /// A reader with this copy, or with none.
    #[must_use]
    pub fn new(source: Option<Copied>) -> Reader {
        Reader {
            sessions: Sessions::default(),
            source,
        }
    }

    /// The copy.
    #[must_use]
    pub fn source(&self) -> Option<Copied> {
        self.source
    }

    /// Whether the record, which was read last, belongs to the session that owns the log.
    #[must_use]
    pub fn counts(&self, record: &Record) -> bool {
        record.kind.is_claim() || self.sessions.latest == Some(record.session)
    }

    /// Gives the copy up: the next record that is read begins another one.
    pub fn forget(&mut self) {
        self.source = None;
    }

    /// Judges the record with this sequence. The reader assumes that the caller performs the
    /// step. With `joins`, a reader without a copy begins at any record, and the caller gives
    /// that record again.
    ///
    /// # Errors
    ///
    /// [`LogError`]; nothing changes then.
    pub fn read(&mut self, sequence: u64, record: &Record, joins: bool) -> Result<Step, LogError> {
        let mut sessions = self.sessions;
        if let Err(error) = sessions.check(sequence, record) {
            if !joins || self.source.is_some() {
                return Err(error);
            }
            sessions.latest = Some(record.session);
        }
        let counts = sessions.admit(sequence, record);
        let step = match counts {
            true => self.step(sequence, record, joins)?,
            false => Step::Nothing,
        };
        self.sessions = sessions;
        Ok(step)
    }

    fn step(&mut self, sequence: u64, record: &Record, joins: bool) -> Result<Step, LogError> {
        let begins = match self.source {
            None if record.kind == Kind::Begin || joins => true,
            None => {
                return Err(LogError::Trimmed {
                    nonce: record.nonce,
                    position: record.at.position,
                });
            }
            Some(copied) if copied.nonce == record.nonce => false,
            Some(copied) if sequence < copied.began => return Ok(Step::Nothing),
            Some(_) if record.kind == Kind::Begin => true,
            Some(copied) => {
                return Err(LogError::OtherRing {
                    found: record.nonce,
                    expected: copied.nonce,
                });
            }
        };
        if begins {
            self.source = Some(Copied {
                nonce: record.nonce,
                at: record.at,
                began: sequence,
            });
            return Ok(Step::Begin {
                nonce: record.nonce,
                at: record.at,
            });
        }
        let Some(copied) = &mut self.source else {
            return Ok(Step::Nothing);
        };
        let end = record.end().unwrap_or(record.at);
        let step = compare(copied.at, record, end)?;
        if matches!(step, Step::Append { .. } | Step::End(_)) {
            copied.at = end;
        }
        Ok(step)
    }
}

/// What a record of the same ring asks for, where the copy ends `here`.
fn compare(here: Place, record: &Record, end: Place) -> Result<Step, LogError> {
    let at = record.at;
    let contradiction = Err(LogError::Contradiction {
        stream: at.stream,
        position: at.position,
    });
    if at.stream < here.stream {
        // All of that stream is there, so no byte of it can be new.
        return if end.position <= here.position {
            Ok(Step::Nothing)
        } else {
            contradiction
        };
    }
    if at.position > here.position {
        return Err(LogError::LostBytes {
            from: here.position,
            to: at.position,
        });
    }
    if at.stream > here.stream {
        return Err(LogError::LostEnds {
            from: here.stream,
            to: at.stream,
        });
    }
    match record.kind {
        Kind::Begin | Kind::Claim => Ok(Step::Nothing),
        Kind::Data if end.position <= here.position => Ok(Step::Nothing),
        Kind::Data => Ok(Step::Append {
            skip: (here.position - at.position) as usize, // less than the payload
        }),
        Kind::End(_) if at.position < here.position => contradiction,
        Kind::End(ending) => Ok(Step::End(ending)),
        Kind::Lost if at.position < here.position => Ok(Step::Nothing),
        Kind::Lost => Ok(Step::Lost),
    }
}

/// The end of the log, as a sender needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The ring of the last valid record.
    pub nonce: u64,
    /// Where that record ends.
    pub at: Place,
    /// The session of that record.
    pub session: u64,
}

/// Finds the end of a log without reading all of it: from the last record backwards.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    anchor: u64,
    session: u64,
}

impl Search {
    /// Begins with the last claim in the log, or with the first possible record if there is no
    /// claim.
    #[must_use]
    pub fn new(sequence: u64, anchor: &Record) -> Search {
        let mut sessions = Sessions::default();
        sessions.admit(sequence, anchor);
        Search {
            anchor: sequence,
            session: sessions.latest.unwrap_or(sequence),
        }
    }

    /// The session that owns the log.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Looks at the record with this sequence; sequences descend to that of the anchor.
    /// Returns the end of the log once it is known.
    ///
    /// # Errors
    ///
    /// [`LogError::LostClaim`] if the record is of a later session than the last claim.
    pub fn look(&self, sequence: u64, record: &Record) -> Result<Option<LogEnd>, LogError> {
        let sessions = Sessions {
            latest: Some(self.session),
        };
        sessions.check(sequence, record)?;
        let is_valid = sequence == self.anchor || record.session == self.session;
        Ok(is_valid.then(|| LogEnd {
            nonce: record.nonce,
            at: record.end().unwrap_or(record.at),
            session: self.session,
        }))
    }
}

/// The part of a ring that its sender may still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The ring's nonce.
    pub nonce: u64,
    /// The place before which the ring has released everything.
    pub head: Place,
    /// The place after the last byte that was written.
    pub tail: Place,
}

/// How a sender continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Release what the log has, up to this place, then claim and publish what follows.
    Continue(Place),
    /// Begin the log of this ring at its head.
    Begin(Place),
}

/// Compares the log's end with the ring. Bytes leave the ring only once the log has
/// them, so the end lies in the ring. `begins` allows a log to begin at a ring that has
/// released bytes before.
///
/// # Errors
///
/// [`LogError::LostBytes`] or [`LogError::LostEnds`] if the broker lost what it had
/// acknowledged. [`LogError::Contradiction`] if the log is ahead of the ring.
pub fn plan(end: Option<LogEnd>, ring: &Ring, begins: bool) -> Result<Plan, LogError> {
    let head = ring.head;
    let Some(end) = end.filter(|end| end.nonce == ring.nonce) else {
        // The log has nothing of this ring. If the log is empty too, what the ring has released is
        // lost. A log of another ring says nothing about that.
        let is_new = head == Place::START;
        return match end {
            None if !is_new && !begins => Err(lost(Place::START, head)),
            _ => Ok(Plan::Begin(head)),
        };
    };
    let Place { stream, position } = end.at;
    if position < head.position || stream < head.stream {
        return if begins {
            Ok(Plan::Begin(head))
        } else {
            Err(lost(end.at, head))
        };
    }
    if position > ring.tail.position || stream > ring.tail.stream {
        return Err(LogError::Contradiction { stream, position });
    }
    Ok(Plan::Continue(end.at))
}

fn lost(from: Place, to: Place) -> LogError {
    if from.position < to.position {
        LogError::LostBytes {
            from: from.position,
            to: to.position,
        }
    } else {
        LogError::LostEnds {
            from: from.stream,
            to: to.stream,
        }
    }
}
