//! A batch: the records that are in the ring, lent in place.
#![allow(unsafe_code)] // a slice of a record

use super::HEADER;
use crate::error::RecordError;
use crate::handle::consumer::Consumer;
use crate::handle::grant::ReadGrant;

/// The next record of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    /// Length in bytes, checked.
    pub(super) len: usize,
    /// Whether the record, with its length, is in one piece.
    pub(super) in_one_piece: bool,
}

/// The records that are in the ring, one after the other, without a copy.
///
/// A batch has at least one record. Records that come later are in the next batch, and so, in [the
/// caller's memory](crate::Options::create_in), are those after the wrap. Dropping this value
/// consumes nothing.
///
/// # Examples
///
/// See [`RecordReader::batch`](super::RecordReader::batch).
#[derive(Debug)]
#[must_use = "nothing is consumed before `consume` is called"]
pub struct RecordBatch<'a> {
    source: Source<'a>,
    /// Bytes of the records that were returned, with their lengths.
    end: usize,
    max_len: usize,
    /// The length of the first record, checked.
    first: Option<usize>,
}

#[derive(Debug)]
enum Source<'a> {
    Ring(ReadGrant<'a>),
    /// A copy of one record that wraps, without its length.
    Bounce(&'a mut Consumer, &'a [u8]),
}

/// One record in a [`RecordBatch`].
///
/// # Examples
///
/// ```
/// use shmpipe::records::{RecordReader, RecordWriter};
///
/// let (producer, consumer) = shmpipe::pair()?;
/// RecordWriter::new(producer).write(b"key=value")?;
/// let mut reader = RecordReader::new(consumer);
/// let mut batch = reader.batch()?.expect("no end");
/// let record = batch.next_record().expect("one at least");
/// let mut key = [0; 3];
/// record.read_at(&mut key, 0);
/// assert_eq!((&key, record.len()), (b"key", 9));
/// assert_eq!(record.to_vec(), b"key=value");
/// batch.consume();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Record<'b> {
    place: Place<'b>,
    len: usize,
}

#[derive(Debug)]
enum Place<'b> {
    Ring(&'b ReadGrant<'b>, usize),
    Bounce(&'b [u8]),
}

impl<'a> RecordBatch<'a> {
    /// The batch that begins with the record `next`. `bounce` gets a copy of a record that wraps.
    pub(super) fn new(
        consumer: &'a mut Consumer,
        bounce: &'a mut Vec<u8>,
        max_len: usize,
        next: Next,
    ) -> Result<RecordBatch<'a>, RecordError> {
        let source = if next.in_one_piece {
            Source::Ring(consumer.try_peek_up_to(usize::MAX)?)
        } else {
            bounce.resize(next.len, 0);
            consumer.copy_ahead(bounce, HEADER);
            Source::Bounce(consumer, bounce)
        };
        Ok(RecordBatch {
            source,
            end: 0,
            max_len,
            first: Some(next.len),
        })
    }

    /// Returns the next record; `None` after the last one. A record that is not there as a
    /// whole, or whose length is more than the maximum, ends the batch. The next call for a
    /// batch waits for that record, or returns the error.
    ///
    /// # Examples
    ///
    /// See [`RecordReader::batch`](super::RecordReader::batch).
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        let first = self.first.take();
        let (place, len) = match &self.source {
            Source::Bounce(_, bytes) => (Place::Bounce(bytes), first?),
            Source::Ring(grant) => {
                let rest = grant.len() - self.end;
                let len = match first {
                    Some(len) => len,
                    None if rest < HEADER => return None,
                    None => {
                        let mut header = [0; HEADER];
                        grant.read_at(&mut header, self.end); // once, and the copy is used
                        u32::from_le_bytes(header) as usize
                    }
                };
                if len > self.max_len || HEADER + len > rest {
                    return None;
                }
                (Place::Ring(grant, self.end + HEADER), len)
            }
        };
        self.end += HEADER + len;
        Some(Record { place, len })
    }

    /// Takes the records that were returned out of the stream, in one step. The rest stays.
    ///
    /// # Examples
    ///
    /// See [`RecordReader::batch`](super::RecordReader::batch).
    pub fn consume(self) {
        match self.source {
            Source::Ring(grant) => grant.consume(self.end),
            Source::Bounce(consumer, _) if consumer.is_usable() => consumer.consume(self.end),
            Source::Bounce(..) => {} // in a forked child, a copy is inert
        }
    }
}

impl Record<'_> {
    /// Length of the record in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the record has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from `offset` in the record until `bytes` is full.
    ///
    /// # Panics
    ///
    /// If the bytes reach beyond the end of the record.
    ///
    /// # Examples
    ///
    /// See [`Record`].
    #[track_caller]
    pub fn read_at(&self, bytes: &mut [u8], offset: usize) {
        let len = bytes.len();
        assert!(
            offset <= self.len && len <= self.len - offset,
            "bytes {offset} to {} of a record of {} bytes",
            offset.saturating_add(len),
            self.len
        );
        match self.place {
            Place::Ring(grant, start) => grant.read_at(bytes, start + offset),
            Place::Bounce(record) => bytes.copy_from_slice(&record[offset..][..len]),
        }
    }

    /// Returns a copy of the record.
    ///
    /// # Examples
    ///
    /// See [`Record`].
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read_at(&mut bytes, 0);
        bytes
    }

    /// The record as a slice, without a copy.
    ///
    /// # Safety
    ///
    /// The rules of [`ReadGrant::as_slice`](crate::ReadGrant::as_slice): the peer keeps to the
    /// protocol, and the process is the one that asked for the batch, not a forked child.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::records::{RecordReader, RecordWriter};
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// RecordWriter::new(producer).write(b"in place")?;
    /// let mut reader = RecordReader::new(consumer);
    /// let mut batch = reader.batch()?.expect("no end");
    /// let record = batch.next_record().expect("one at least");
    /// // SAFETY: the peer is this thread, which does not touch the record, and
    /// // nothing forks.
    /// assert_eq!(unsafe { record.as_slice() }, b"in place");
    /// batch.consume();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        match self.place {
            Place::Ring(grant, start) => {
                // SAFETY: this function has the same rules.
                let all = unsafe { grant.as_slice() };
                &all[start..][..self.len]
            }
            Place::Bounce(record) => record,
        }
    }
}
