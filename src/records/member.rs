//! Readers and writers of messages as members of a set.

use super::{RecordReader, RecordWriter};
use crate::set::{AsEnd, EndMut};

/// Waits for bytes. A record that its writer wrote in one step is there as a whole. For one that
/// comes in pieces, see [`WaitSet::set_low_water_mark`](crate::WaitSet::set_low_water_mark).
///
/// # Examples
///
/// ```
/// use shmpipe::records::{RecordReader, RecordWriter};
/// use shmpipe::{RecordError, WaitSet};
///
/// let (one, from_one) = shmpipe::pair()?;
/// let (two, from_two) = shmpipe::pair()?;
/// let mut set: WaitSet<_> = [from_one, from_two].into_iter().map(RecordReader::new).collect();
/// RecordWriter::new(two).write(b"a record")?;
/// drop(one); // both streams end
///
/// let (mut record, mut received) = (Vec::new(), 0);
/// while let Some(key) = set.wait()? {
///     match set[key].try_read(&mut record) {
///         Ok(true) => received += record.len(),
///         Ok(false) => drop(set.remove(key)), // the end of the stream
///         Err(RecordError::WouldBlock) => {}
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!(received, 8);
/// # Ok::<(), std::io::Error>(())
/// ```
impl AsEnd for RecordReader {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Consumer(self.get_mut())
    }
}

/// Waits for room. Set the low-water mark to the length of the record plus 4 bytes. Otherwise the set
/// returns a writer that has too little room for its record.
///
/// # Examples
///
/// ```
/// use shmpipe::records::{RecordReader, RecordWriter};
/// use shmpipe::{RecordError, WaitSet};
///
/// let (producer, consumer) = shmpipe::Options::new().capacity(4096).pair()?;
/// let mut set = WaitSet::from(RecordWriter::new(producer));
/// let record = [7; 2000];
/// set[0].try_write(&record)?;
/// set[0].try_write(&record)?;
/// assert_eq!(set[0].try_write(&record), Err(RecordError::WouldBlock));
/// set.set_low_water_mark(0, 4 + record.len());
/// assert_eq!(set.try_wait()?, None);
///
/// let mut reader = RecordReader::new(consumer);
/// reader.read(&mut Vec::new())?;
/// assert_eq!(set.wait()?, Some(0));
/// set[0].try_write(&record)?;
/// # Ok::<(), std::io::Error>(())
/// ```
impl AsEnd for RecordWriter {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Producer(self.get_mut())
    }
}

/// Waits for bytes, as a [`RecordReader`] does.
#[cfg(feature = "zerocopy")]
impl<T> AsEnd for super::MessageReader<T> {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Consumer(self.get_mut())
    }
}

/// Waits for room. Set the low-water mark to the size of a message, or to 16 bytes more at the
/// beginning of a stream.
#[cfg(feature = "zerocopy")]
impl<T> AsEnd for super::MessageWriter<T> {
    fn as_end(&mut self) -> EndMut<'_> {
        EndMut::Producer(self.get_mut())
    }
}
