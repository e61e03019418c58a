//! Grants as streams: each write, or read, continues where the last one ended. These calls
//! copy, so they are safe whoever the peer is.

use std::io;

use super::{ReadGrant, WriteGrant};
use crate::error::Broken;

impl WriteGrant<'_> {
    /// Bytes written through [`io::Write`] so far.
    ///
    /// # Examples
    ///
    /// See [`commit_written`](Self::commit_written).
    #[must_use]
    #[inline]
    pub fn written(&self) -> usize {
        self.written
    }

    /// Commits what was written through [`io::Write`]: see [`commit`](Self::commit).
    ///
    /// # Examples
    ///
    /// A serializer writes straight into the ring:
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(4096)?; // more than the text is long
    /// serde_json::to_writer(&mut grant, &[1, 2, 3])?;
    /// assert_eq!(grant.written(), 7);
    /// grant.commit_written(); // nothing was visible before
    ///
    /// let mut text = [0; 7];
    /// consumer.read_exact(&mut text)?;
    /// assert_eq!(&text, b"[1,2,3]");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn commit_written(self) {
        let written = self.written;
        self.commit(written);
    }

    /// Fails in a copy made by a fork.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<(), Broken> {
        match self.producer.is_usable() {
            true => Ok(()),
            false => Err(Broken::Inherited),
        }
    }
}

/// Writes to where the last write ended. At the end of the grant, `write` returns 0, and so
/// `write_all` fails with [`io::ErrorKind::WriteZero`]. Fails in a copy made by a fork.
/// `flush` has no effect: see [`WriteGrant::commit_written`].
impl io::Write for WriteGrant<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check_process()?;
        let len = bytes.len().min(self.len - self.written);
        self.write_at(&bytes[..len], self.written);
        self.written += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadGrant<'_> {
    /// Bytes read through [`io::Read`] so far.
    ///
    /// # Examples
    ///
    /// See [`consume_read`](Self::consume_read).
    #[must_use]
    #[inline]
    pub fn bytes_read(&self) -> usize {
        self.read
    }

    /// Consumes what was read through [`io::Read`]: see [`consume`](Self::consume).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"key=value").unwrap();
    /// let mut grant = consumer.peek(9)?;
    /// let mut key = [0; 3];
    /// grant.read_exact(&mut key)?;
    /// assert_eq!((&key, grant.bytes_read()), (b"key", 3));
    /// grant.consume_read();
    /// assert_eq!(consumer.available()?, 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn consume_read(self) {
        let read = self.read;
        self.consume(read);
    }
}

/// Reads from where the last read ended. At the end of the grant, `read` returns 0.
impl io::Read for ReadGrant<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.len - self.read);
        self.read_at(&mut bytes[..len], self.read);
        self.read += len;
        Ok(len)
    }
}
