//! Writing records.

use std::io::{self, Write};
use std::time::Instant;

use super::{HEADER, Wait};
use crate::error::{Broken, RecordError};
use crate::handle::grant::WriteGrant;
use crate::handle::producer::Producer;

/// A [`Producer`] that writes length-prefixed records.
///
/// # Examples
///
/// See [`records`](super).
#[derive(Debug)]
pub struct RecordWriter {
    producer: Producer,
    max_len: usize,
}

/// The longest record of a ring of `capacity` bytes.
pub(super) fn longest(capacity: usize) -> usize {
    // A length has four bytes in the stream.
    let most = u32::MAX as usize;
    capacity.saturating_sub(HEADER).min(most)
}

impl RecordWriter {
    /// Makes a writer of records. The maximum is the longest record that the ring can hold: its
    /// capacity less 4 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::records::RecordWriter;
    ///
    /// let (producer, _consumer) = shmpipe::Options::new().capacity(4096).pair()?;
    /// assert_eq!(RecordWriter::new(producer).most(), 4092);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(producer: Producer) -> RecordWriter {
        let max_len = longest(producer.capacity());
        RecordWriter { producer, max_len }
    }

    /// Bytes of the longest record that is written.
    #[must_use]
    pub fn most(&self) -> usize {
        self.max_len
    }

    /// Sets how long a record may be, in bytes; at most what the ring can hold. Readers refuse
    /// longer records than their own maximum: see
    /// [`RecordReader::set_most`](super::RecordReader::set_most), which has an example.
    pub fn set_most(&mut self, bytes: usize) {
        self.max_len = bytes.min(longest(self.producer.capacity()));
    }

    /// Writes one record. Waits for room, within the handle's
    /// [timeout](Producer::set_timeout).
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLong`], [`RecordError::TimedOut`], [`RecordError::Cancelled`].
    /// [`RecordError::Broken`] if the consumer has left or died. Nothing was written.
    ///
    /// # Examples
    ///
    /// See [`records`](super).
    pub fn write(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.put(record, Wait::Handle)
    }

    /// Writes one record. Waits for room until `deadline`.
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::RecordError;
    /// use shmpipe::records::RecordWriter;
    ///
    /// let (producer, _consumer) = shmpipe::Options::new().capacity(4096).pair()?;
    /// let mut writer = RecordWriter::new(producer);
    /// writer.write_deadline(&[7; 4000], Instant::now())?;
    /// let full = writer.write_deadline(&[7; 100], Instant::now());
    /// assert_eq!(full, Err(RecordError::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), RecordError> {
        self.put(record, Wait::Until(deadline))
    }

    /// Writes one record if there is room. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecordError::WouldBlock`] without room. Otherwise the errors of
    /// [`write`](Self::write).
    ///
    /// # Examples
    ///
    /// A log that drops what does not fit:
    ///
    /// ```
    /// use shmpipe::RecordError;
    /// use shmpipe::records::RecordWriter;
    ///
    /// let (producer, _consumer) = shmpipe::Options::new().capacity(4096).pair()?;
    /// let (mut writer, mut dropped) = (RecordWriter::new(producer), 0);
    /// for _ in 0..50 {
    ///     match writer.try_write(&[7; 96]) {
    ///         Err(RecordError::WouldBlock) => dropped += 1,
    ///         written => written?,
    ///     }
    /// }
    /// assert_eq!(dropped, 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_write(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.put(record, Wait::Never)
    }

    /// Reserves room for a record of up to `most` bytes, to be written in place. Waits for
    /// room, within the handle's [timeout](Producer::set_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write).
    ///
    /// # Examples
    ///
    /// A serializer writes straight into the ring:
    ///
    /// ```
    /// use shmpipe::records::{RecordReader, RecordWriter};
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// let mut writer = RecordWriter::new(producer);
    /// let mut record = writer.reserve(1000)?; // more than the text is long
    /// serde_json::to_writer(&mut record, &["a", "b"])?;
    /// record.commit();
    ///
    /// let mut text = Vec::new();
    /// assert!(RecordReader::new(consumer).read(&mut text)?);
    /// assert_eq!(text, br#"["a","b"]"#);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve(&mut self, most: usize) -> Result<RecordGrant<'_>, RecordError> {
        self.room(most, Wait::Handle)
    }

    /// Reserves room for a record of up to `most` bytes. Never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`try_write`](Self::try_write).
    ///
    /// # Examples
    ///
    /// See [`reserve`](Self::reserve).
    pub fn try_reserve(&mut self, most: usize) -> Result<RecordGrant<'_>, RecordError> {
        self.room(most, Wait::Never)
    }

    /// Returns the producer, to be looked at.
    #[must_use]
    pub fn get_ref(&self) -> &Producer {
        &self.producer
    }

    /// Returns the producer: for [`close`](Producer::close), settings, or a wait. What is
    /// written to it directly must be whole records.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Producer {
        &mut self.producer
    }

    /// Returns the producer.
    #[must_use]
    pub fn into_inner(self) -> Producer {
        self.producer
    }

    fn check(&self, len: usize) -> Result<(), RecordError> {
        let most = self.max_len;
        if len > most {
            return Err(RecordError::TooLong { len, most });
        }
        Ok(())
    }

    fn put(&mut self, record: &[u8], wait: Wait) -> Result<(), RecordError> {
        let mut room = self.room(record.len(), wait)?;
        room.put(record);
        room.commit();
        Ok(())
    }

    fn room(&mut self, max_len: usize, wait: Wait) -> Result<RecordGrant<'_>, RecordError> {
        self.check(max_len)?;
        let whole = HEADER + max_len;
        let in_one_piece = wait.for_room(&mut self.producer, whole)?;
        let place = match in_one_piece {
            true => Place::Ring {
                grant: self.producer.try_reserve(whole)?,
                end: HEADER,
            },
            false => Place::Bounce {
                producer: &mut self.producer,
                bytes: vec![0; HEADER],
            },
        };
        Ok(RecordGrant { place, max_len })
    }
}

/// Room for one record: an [`io::Write`], to be committed.
///
/// The record is what was written when [`commit`](Self::commit) is called. Dropping this value
/// writes no record.
///
/// # Examples
///
/// See [`RecordWriter::reserve`].
#[derive(Debug)]
#[must_use = "nothing is written before it is committed"]
pub struct RecordGrant<'a> {
    place: Place<'a>,
    max_len: usize,
}

/// Where a record is written. `end` and the length of `bytes` count the header.
#[derive(Debug)]
enum Place<'a> {
    Ring {
        grant: WriteGrant<'a>,
        end: usize,
    },
    /// The room wraps, which happens only in the caller's memory. The record is copied.
    Bounce {
        producer: &'a mut Producer,
        bytes: Vec<u8>,
    },
}

impl RecordGrant<'_> {
    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> usize {
        match &self.place {
            Place::Ring { end, .. } => end - HEADER,
            Place::Bounce { bytes, .. } => bytes.len() - HEADER,
        }
    }

    /// Bytes that can still be written to the record.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.max_len - self.written()
    }

    /// Writes the record to the stream, with its length, in one step.
    ///
    /// # Examples
    ///
    /// See [`RecordWriter::reserve`].
    pub fn commit(self) {
        let len = self.written();
        // The cast loses nothing: `len` is at most `longest`.
        let header = (len as u32).to_le_bytes();
        match self.place {
            Place::Ring { mut grant, end } => {
                grant.write_at(&header, 0);
                grant.commit(end);
            }
            Place::Bounce {
                producer,
                mut bytes,
            } => {
                bytes[..HEADER].copy_from_slice(&header);
                producer.commit_copied(&bytes);
            }
        }
    }

    /// Writes `part`, which fits.
    fn put(&mut self, part: &[u8]) {
        match &mut self.place {
            Place::Ring { grant, end } => {
                grant.write_at(part, *end);
                *end += part.len();
            }
            Place::Bounce { bytes, .. } => bytes.extend_from_slice(part),
        }
    }
}

/// Writes to the end of the record. Without room, `write` returns 0, and so `write_all` fails
/// with [`io::ErrorKind::WriteZero`]. Fails in a copy made by a fork, with
/// [`Broken::Inherited`].
impl Write for RecordGrant<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.place {
            Place::Ring { grant, .. } => grant.check_process()?,
            Place::Bounce { producer, .. } if producer.is_usable() => {}
            Place::Bounce { .. } => return Err(Broken::Inherited.into()),
        }
        let len = bytes.len().min(self.rest());
        self.put(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
