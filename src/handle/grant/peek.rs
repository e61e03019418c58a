//! Asking for bytes.

use std::time::Instant;

use super::ReadGrant;
use crate::error::PeekError;
use crate::handle::consumer::{Consumer, why_broken};
use crate::handle::endpoint::Blocked;
use crate::ring::Readiness;
use crate::ring::marks::Ending;
use crate::segment::region::Region;
use crate::wait::deadline::is_past;

impl Consumer {
    /// Looks at the next `len` bytes, in one piece, without taking them out of
    /// the stream. Does not block.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] and [`PeekError::Ended`] say how many there are.
    /// [`PeekError::TooLong`] when the ring is not as long as that.
    /// [`PeekError::Wraps`] when the ring's end divides the bytes, as it can in
    /// [memory of the caller's](crate::Options::init_in) only.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let (wanted, available) = (4, 3);
    /// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Empty { wanted, available });
    /// producer.close()?;
    /// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Ended { wanted, available });
    /// consumer.peek(3)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&mut self, len: usize) -> Result<ReadGrant<'_>, PeekError> {
        self.bytes_for(len)?;
        self.grant(len)
    }

    /// Looks at the bytes that are there in one piece, at most `most` and at
    /// least one. Does not block.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] when there are none yet, [`PeekError::Ended`] when
    /// there will be none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let grant = consumer.peek_up_to(usize::MAX)?;
    /// assert_eq!(grant.len(), 3);
    /// grant.consume(2);
    /// assert_eq!(consumer.available()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_up_to(&mut self, most: usize) -> Result<ReadGrant<'_>, PeekError> {
        self.bytes_for(most.min(1))?;
        let most = most.min(self.capacity());
        let available = self.known(most)?;
        let len = available.min(most).min(self.contiguous_bytes());
        self.grant(len)
    }

    /// Looks at the next `len` bytes, in one piece; waits for them until
    /// `deadline`. A deadline that has passed does not keep bytes that are
    /// there from being granted.
    ///
    /// # Errors
    ///
    /// [`PeekError::TimedOut`] and [`PeekError::Ended`] say how many there are.
    /// Otherwise as [`peek`](Self::peek).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let error = consumer.peek_deadline(4, soon).unwrap_err();
    /// assert_eq!(error, PeekError::TimedOut { wanted: 4, available: 3 });
    /// consumer.peek_deadline(3, soon)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<ReadGrant<'_>, PeekError> {
        self.wait_to_peek(len, Some(deadline))?;
        self.grant(len)
    }

    pub(crate) fn wait_to_peek(
        &mut self,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), PeekError> {
        loop {
            match self.bytes_for(len) {
                Err(PeekError::Empty { .. }) => {}
                there => return there,
            }
            match self.wait_for_bytes(len as u64, deadline) {
                // A peer that lies may take back what was seen, again and again.
                // The deadline holds all the same.
                Ok(()) if !is_past(deadline) => continue,
                Ok(()) => {
                    return match self.bytes_for(len) {
                        Err(PeekError::Empty { wanted, available }) => {
                            Err(PeekError::TimedOut { wanted, available })
                        }
                        there => there,
                    };
                }
                Err(Blocked::TimedOut) => match self.known(len)? {
                    // They came at the last moment.
                    available if available >= len => return Ok(()),
                    available => {
                        return Err(PeekError::TimedOut {
                            wanted: len,
                            available,
                        });
                    }
                },
                Err(Blocked::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// Grants bytes that are there, if they are in one piece.
    fn grant(&mut self, len: usize) -> Result<ReadGrant<'_>, PeekError> {
        let contiguous = self.contiguous_bytes();
        if contiguous < len {
            return Err(PeekError::Wraps {
                wanted: len,
                contiguous,
            });
        }
        let consumer = self;
        Ok(ReadGrant { consumer, len })
    }

    /// Bytes from the head on that are one piece, be they readable or not.
    fn contiguous_bytes(&self) -> usize {
        let reader = self.reader();
        reader.region().contiguous(reader.head())
    }

    /// Whether there are `len` bytes, and if not, why.
    fn bytes_for(&mut self, len: usize) -> Result<(), PeekError> {
        let capacity = self.capacity();
        if len > capacity {
            self.readiness(0)?; // a handle of no use says so first
            return Err(PeekError::TooLong {
                wanted: len,
                capacity,
            });
        }
        match self.readiness(len)? {
            Readiness::Ready => Ok(()),
            Readiness::Empty => Err(PeekError::Empty {
                wanted: len,
                available: self.known(0)?,
            }),
            Readiness::Ended(ending) => {
                self.end_shown();
                self.ended(ending, len)
            }
        }
    }

    fn ended(&mut self, ending: Ending, wanted: usize) -> Result<(), PeekError> {
        match why_broken(ending) {
            None => Err(PeekError::Ended {
                wanted,
                available: self.known(0)?,
            }),
            Some(broken) => Err(broken.into()),
        }
    }
}
