//! Reading records: a copy of one, or all that are there in place.

use std::time::Instant;

use super::batch::{Next, RecordBatch};
use super::writer::longest;
use super::{HEADER, Wait, cut_or};
use crate::error::RecordError;
use crate::handle::consumer::Consumer;

/// A [`Consumer`] that reads length-prefixed records.
///
/// [`read`](Self::read) copies one record out. [`batch`](Self::batch) lends all records that
/// are there, in place.
///
/// # Examples
///
/// See [`records`](super).
#[derive(Debug)]
pub struct RecordReader {
    consumer: Consumer,
    max_len: usize,
    /// The bounce buffer: a record that wraps, without its length. Only in the caller's memory.
    bounce: Vec<u8>,
}

impl RecordReader {
    /// Makes a reader of records. The maximum is the longest record that the ring can hold: its
    /// capacity less 4 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::records::RecordReader;
    ///
    /// let (_producer, consumer) = shmpipe::Options::new().capacity(4096).pair()?;
    /// assert_eq!(RecordReader::new(consumer).most(), 4092);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(consumer: Consumer) -> RecordReader {
        let max_len = longest(consumer.capacity());
        RecordReader {
            consumer,
            max_len,
            bounce: Vec::new(),
        }
    }

    /// Bytes of the longest record that is accepted.
    #[must_use]
    pub fn most(&self) -> usize {
        self.max_len
    }

    /// Sets how long a record may be, in bytes; at most what the ring can hold. A longer one is
    /// refused, and stays in the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::RecordError;
    /// use shmpipe::records::{RecordReader, RecordWriter};
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// RecordWriter::new(producer).write(&[7; 20])?;
    /// let (mut reader, mut record) = (RecordReader::new(consumer), Vec::new());
    /// reader.set_most(10);
    /// let too_long = RecordError::TooLong { len: 20, most: 10 };
    /// assert_eq!(reader.read(&mut record), Err(too_long));
    /// reader.set_most(20);
    /// assert!(reader.read(&mut record)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_most(&mut self, bytes: usize) {
        self.max_len = bytes.min(longest(self.consumer.capacity()));
    }

    /// Replaces the content of `record` by the next record. Waits for the record, within the
    /// handle's [timeout](Consumer::set_timeout). Returns `false` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`RecordError::TooLong`] for a length that is more than the maximum.
    /// [`RecordError::Cut`] if the stream ended, or broke off, within a record.
    /// [`RecordError::Broken`] if the stream broke off between two records, or its producer
    /// died there. [`RecordError::TimedOut`], [`RecordError::Cancelled`]. `record` is
    /// unchanged, and nothing was taken out of the stream.
    ///
    /// # Examples
    ///
    /// See [`records`](super).
    pub fn read(&mut self, record: &mut Vec<u8>) -> Result<bool, RecordError> {
        self.take(record, Wait::Handle)
    }

    /// Reads a record as [`read`](Self::read) does, but waits until `deadline`.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::RecordError;
    /// use shmpipe::records::RecordReader;
    ///
    /// let (_producer, consumer) = shmpipe::pair()?;
    /// let read = RecordReader::new(consumer).read_deadline(&mut Vec::new(), Instant::now());
    /// assert_eq!(read, Err(RecordError::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_deadline(
        &mut self,
        record: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<bool, RecordError> {
        self.take(record, Wait::Until(deadline))
    }

    /// Reads a record as [`read`](Self::read) does, but never waits.
    ///
    /// # Errors
    ///
    /// [`RecordError::WouldBlock`] if no whole record is there. Otherwise the errors of
    /// [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// See [`RecordError`].
    pub fn try_read(&mut self, record: &mut Vec<u8>) -> Result<bool, RecordError> {
        self.take(record, Wait::Never)
    }

    /// Lends all records that are there, in place. Waits for the first one, within the
    /// handle's [timeout](Consumer::set_timeout). Returns `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read), about the first record.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::records::{RecordReader, RecordWriter};
    ///
    /// let (producer, consumer) = shmpipe::pair()?;
    /// let mut writer = RecordWriter::new(producer);
    /// for record in ["one", "two", "three"] {
    ///     writer.write(record.as_bytes())?;
    /// }
    /// drop(writer);
    ///
    /// let (mut reader, mut lengths) = (RecordReader::new(consumer), Vec::new());
    /// while let Some(mut batch) = reader.batch()? {
    ///     while let Some(record) = batch.next_record() {
    ///         lengths.push(record.len());
    ///     }
    ///     batch.consume(); // in one step
    /// }
    /// assert_eq!(lengths, [3, 3, 5]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn batch(&mut self) -> Result<Option<RecordBatch<'_>>, RecordError> {
        let next = self.next(Wait::Handle)?;
        next.map(|next| self.batch_from(next)).transpose()
    }

    /// Lends records as [`batch`](Self::batch) does, but waits until `deadline`.
    ///
    /// # Errors
    ///
    /// The errors of [`read`](Self::read). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// See [`batch`](Self::batch).
    pub fn batch_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<RecordBatch<'_>>, RecordError> {
        let next = self.next(Wait::Until(deadline))?;
        next.map(|next| self.batch_from(next)).transpose()
    }

    /// Lends records as [`batch`](Self::batch) does, but never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`try_read`](Self::try_read).
    ///
    /// # Examples
    ///
    /// See [`batch`](Self::batch).
    pub fn try_batch(&mut self) -> Result<Option<RecordBatch<'_>>, RecordError> {
        let next = self.next(Wait::Never)?;
        next.map(|next| self.batch_from(next)).transpose()
    }

    /// Returns the consumer, to be looked at.
    #[must_use]
    pub fn get_ref(&self) -> &Consumer {
        &self.consumer
    }

    /// Returns the consumer: for [`next_stream`](Consumer::next_stream),
    /// [`close`](Consumer::close), settings, or a wait. What is read from it directly must be
    /// whole records.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut Consumer {
        &mut self.consumer
    }

    /// Returns the consumer.
    #[must_use]
    pub fn into_inner(self) -> Consumer {
        self.consumer
    }

    /// The batch that begins with the record `next`.
    fn batch_from(&mut self, next: Next) -> Result<RecordBatch<'_>, RecordError> {
        RecordBatch::new(&mut self.consumer, &mut self.bounce, self.max_len, next)
    }

    fn take(&mut self, record: &mut Vec<u8>, wait: Wait) -> Result<bool, RecordError> {
        let Some(Next { len, .. }) = self.next(wait)? else {
            return Ok(false);
        };
        record.resize(len, 0);
        self.consumer.copy_ahead(record, HEADER);
        self.consumer.consume(HEADER + len);
        Ok(true)
    }

    /// Waits until the next record is there as a whole.
    fn next(&mut self, wait: Wait) -> Result<Option<Next>, RecordError> {
        let consumer = &mut self.consumer;
        let wait = wait.for_all(consumer, HEADER);
        if wait.for_message(consumer, HEADER)?.is_none() {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        consumer.copy_ahead(&mut header, 0); // once, and the copy is used
        let len = u32::from_le_bytes(header) as usize;
        if len > self.max_len {
            let most = self.max_len;
            return Err(RecordError::TooLong { len, most });
        }
        let whole = HEADER + len;
        let waited = wait.for_bytes(consumer, whole);
        let in_one_piece = waited.map_err(|error| cut_or(error, consumer, whole))?;
        Ok(Some(Next { len, in_one_piece }))
    }
}
