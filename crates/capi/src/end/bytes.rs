//! Writing and reading, by copy.

use std::io::{Read, Write};

use ring::WaitError;

use super::{End, after};
use crate::failure::Failure;
use crate::options::Timeout;

impl End {
    /// Writes all bytes within the timeout, and returns how many were written.
    pub(crate) fn write(&mut self, bytes: &[u8], timeout: Timeout) -> Result<usize, Failure> {
        self.lent = 0;
        match timeout {
            Timeout::Forever => match self.producer()?.write(bytes) {
                Ok(written) => Ok(written),
                Err(error) => Err(blocked(error)),
            },
            Timeout::Try => self.attempt(1, |end| Ok(end.producer()?.try_write(bytes)?)),
            Timeout::For(limit) => {
                let written = self.producer()?.write_all_deadline(bytes, after(limit));
                match written {
                    Ok(()) => Ok(bytes.len()),
                    Err(partial) if partial.moved > 0 => Ok(partial.moved),
                    Err(partial) => Err(partial.into()),
                }
            }
        }
    }

    /// Reads available bytes. 0 is the end of the stream, unless the buffer is empty.
    pub(crate) fn read(&mut self, bytes: &mut [u8], timeout: Timeout) -> Result<usize, Failure> {
        self.lent = 0;
        match timeout {
            Timeout::Forever => match self.consumer()?.read(bytes) {
                Ok(read) => Ok(read),
                Err(error) => Err(blocked(error)),
            },
            Timeout::Try => self.attempt(1, |end| Ok(end.consumer()?.try_read(bytes)?)),
            Timeout::For(limit) => Ok(self.consumer()?.read_deadline(bytes, after(limit))?),
        }
    }

    /// Reads until the buffer is full, the stream ends, or the timeout of the whole call passes.
    pub(crate) fn read_full(
        &mut self,
        bytes: &mut [u8],
        timeout: Timeout,
    ) -> Result<usize, Failure> {
        self.lent = 0;
        if let Timeout::For(limit) = timeout {
            let done = self.consumer()?.read_exact_deadline(bytes, after(limit));
            return match done {
                Ok(()) => Ok(bytes.len()),
                // The next call returns the error.
                Err(partial) if partial.moved > 0 || partial.cause == WaitError::Ended => {
                    Ok(partial.moved)
                }
                Err(partial) => Err(partial.into()),
            };
        }
        let mut read = 0;
        while read < bytes.len() {
            match self.read(&mut bytes[read..], timeout) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(_) if read > 0 => break, // the next call returns the error
                Err(failure) => return Err(failure),
            }
        }
        Ok(read)
    }

    /// Publishes what a batch holds back.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.producer()?.flush()?)
    }
}

/// The failure of a blocking call. Not inlined, so that the calls that succeed stay short.
#[cold]
#[inline(never)]
fn blocked(error: std::io::Error) -> Failure {
    error.into()
}
