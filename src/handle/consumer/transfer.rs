//! How bytes get out of the ring, in up to three steps. The first is a short copy in
//! the caller (`fast`), the second a copy of up to one release (`_long`), the third
//! the rest (`_slow`). Each step handles what the step before left.
//! `handle/producer/transfer.rs` says why there are three.

use std::io;
use std::time::Instant;

use super::{Consumer, EndTold, why_broken};
use crate::error::{Broken, Bytes, PeekError, TryReadError, WaitError};
use crate::handle::endpoint::{Blocked, FastPath};
use crate::ring::Readiness;
use crate::segment::region::Region;
use crate::tuning::PUBLICATION;
use crate::wait::SpinBudget;
use crate::wait::deadline::is_past;

impl Consumer {
    /// The fast path of a read. Taken if `bytes` has at most `most` bytes, and that
    /// many are known to be there. `most` is no more than one release carries.
    #[inline(always)]
    pub(super) fn fast(&mut self, bytes: &mut [u8], most: usize) -> FastPath {
        if !(1..=most).contains(&bytes.len())
            || !self.end.is_usable()
            || !self.reader.get_known(bytes)
        {
            return FastPath::Miss;
        }
        self.end.fast_path_done(self.reader.peer_signals())
    }

    /// Ends a call after its fast path: see [`FastPath::finish`].
    #[inline(always)]
    pub(super) fn finish_fast<T>(
        &mut self,
        path: FastPath,
        done: T,
        otherwise: impl FnOnce(&mut Self) -> T,
    ) -> T {
        path.finish(self, done, Self::wake_after, otherwise)
    }

    /// Takes `len` readable bytes out of the stream.
    #[inline(always)]
    pub(crate) fn consume(&mut self, len: usize) {
        if len == 0 || !self.reader.release_known(len) {
            return self.consume_slow(len);
        }
        let path = self.end.fast_path_done(self.reader.peer_signals());
        self.finish_fast(path, (), |_| ());
    }

    /// The slow case of [`consume`](Self::consume): the bytes reach beyond the window.
    #[inline(never)]
    fn consume_slow(&mut self, len: usize) {
        if len > 0 {
            self.reader.release(len as u64);
            self.wake_producer();
        }
    }

    /// Whether `len` bytes can be granted without a look at the producer's words.
    #[inline(always)]
    pub(crate) fn has_known(&self, len: usize) -> bool {
        len > 0 && self.end.is_usable() && self.reader.has_known(len)
    }

    /// Counts a look that found bytes without a wait.
    pub(crate) fn found_without_wait(&mut self) {
        self.end.stayed_awake(self.reader.known());
    }

    /// Wakes the producer if necessary, and returns `result`.
    #[cold]
    #[inline(never)]
    fn wake_after<T>(&mut self, result: T) -> T {
        let (peer, head) = (self.reader.peer_signals(), self.reader.head());
        self.end.wake_slow(peer, head);
        result
    }

    #[inline(never)]
    pub(super) fn try_read_exact_slow(&mut self, bytes: &mut [u8]) -> Result<(), PeekError> {
        if let Err(error) = self.bytes_for(bytes.len()) {
            // This is a reading call, so leaving in order acknowledges the end.
            let is_end = matches!(error, PeekError::Ended { .. } | PeekError::Broken(_));
            if is_end && self.reader.at_the_end().is_some() {
                self.end_told = EndTold::Read;
            }
            return Err(error);
        }
        self.copy_ahead(bytes, 0);
        self.consume(bytes.len());
        self.end.stayed_awake(bytes.len() as u64);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn try_read_long(&mut self, bytes: &mut [u8]) -> Result<usize, TryReadError> {
        let len = bytes.len();
        let path = self.fast(bytes, PUBLICATION);
        self.finish_fast(path, Ok(len), |this| {
            let read = this.try_read_pieces(bytes, None)?;
            this.end.stayed_awake(read as u64);
            Ok(read)
        })
    }

    /// The second step of [`read`](io::Read::read): tries the fast path for reads
    /// of up to one release.
    #[inline(never)]
    pub(super) fn read_long(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len();
        let path = self.fast(bytes, PUBLICATION);
        self.finish_fast(path, Ok(len), |this| this.read_slow(bytes))
    }

    /// The second step of [`read_exact`](io::Read::read_exact): tries the fast path
    /// for reads of up to one release.
    #[inline(never)]
    pub(super) fn read_exact_long(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let path = self.fast(bytes, PUBLICATION);
        self.finish_fast(path, Ok(()), |this| this.read_exact_slow(bytes))
    }

    #[inline(never)]
    fn read_slow(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.poll_inline(bytes) {
            0 => self.wait_and_read(bytes),
            len => Ok(len),
        }
    }

    #[inline(never)]
    fn read_exact_slow(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let len = self.poll_inline(bytes);
        if len == bytes.len() {
            return Ok(());
        }
        self.wait_and_read_exact(&mut bytes[len..])
    }

    /// Polls briefly for an inline message, if the pace allows taking one at once.
    /// Returns its length, or 0.
    #[inline(always)]
    fn poll_inline(&mut self, bytes: &mut [u8]) -> usize {
        if bytes.is_empty()
            || !self.reader.expects_message()
            || !self.coalescer.takes_at_once()
            || !self.end.is_usable()
        {
            return 0;
        }
        let len = self.reader.poll_message(bytes);
        if len > 0 {
            self.wake_producer();
            self.end.stayed_awake(0);
            self.coalescer.note_taken();
            let alone = self.coalescer.finds_nothing_more();
            self.reader.note_arrival(len as u64, alone, true);
        }
        len
    }

    #[inline(never)]
    fn wait_and_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let deadline = self.end.deadline();
        let read = self.read_until(bytes, deadline);
        read.map_err(|blocked| self.end.io_error(blocked))
    }

    #[inline(never)]
    fn wait_and_read_exact(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.wait_and_read(bytes)? {
                0 => {
                    let short = format!("the stream has ended {} short", Bytes(bytes.len()));
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
                }
                read => bytes = &mut bytes[read..],
            }
        }
        Ok(())
    }

    pub(super) fn read_until(
        &mut self,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Blocked> {
        if !bytes.is_empty() && self.end.is_usable() {
            self.coalesce(bytes.len(), true, deadline)?;
        }
        let mut waited = false;
        loop {
            match self.try_read_pieces(bytes, deadline) {
                Ok(len) => return Ok(len),
                // The end or the bytes that ended the wait are gone again. A peer
                // that repeats this cannot prolong the call past its deadline.
                Err(TryReadError::Empty) if waited && is_past(deadline) => {
                    return Err(Blocked::TimedOut);
                }
                Err(TryReadError::Empty) => self.wait_for_bytes(1, deadline)?,
                Err(TryReadError::Broken(broken)) => return Err(broken.into()),
            }
            waited = true;
        }
    }

    /// Waits while there are no bytes, if fewer than `len` are known. After catching
    /// up with the producer, lets bytes gather as the pace says. `copies` tells
    /// whether the call copies the bytes out.
    #[inline(always)] // part of each look for messages
    pub(crate) fn coalesce(
        &mut self,
        len: usize,
        copies: bool,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        if self.reader.known() >= len as u64 {
            return Ok(());
        }
        match self.known(len)? {
            0 => match self.wait_for_bytes(1, deadline) {
                Err(Blocked::TimedOut) => return Ok(()), // the caller looks once more
                waited => waited?,
            },
            found => self.end.stayed_awake(found as u64),
        }
        let found = self.reader.known();
        if found > 0 && self.end.spinning() != SpinBudget::None && !is_past(deadline) {
            let capacity = self.reader.region().capacity() as u64;
            let reader = &mut self.reader;
            let gathered = self
                .coalescer
                .coalesce(found, capacity, || reader.available(u64::MAX));
            gathered.map_err(|corruption| self.end.latch(corruption.into()))?;
            let alone = self.coalescer.finds_nothing_more();
            let known = self.reader.known();
            self.reader.note_arrival(known, alone, copies);
        }
        Ok(())
    }

    /// Reads in pieces, one release each. After `deadline` there is only the first
    /// look, even if it finds few bytes. So a peer that sends a few bytes at a time
    /// cannot prolong the call.
    #[inline(never)]
    fn try_read_pieces(
        &mut self,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, TryReadError> {
        self.end.usable()?;
        let mut read = 0;
        while read < bytes.len() {
            // The next piece needs a look, unless the last look left bytes.
            if read > 0 && self.reader.known() == 0 && is_past(deadline) {
                break;
            }
            match self.read_some(&mut bytes[read..])? {
                0 if read > 0 => break,
                0 => match self.nothing_to_read()? {
                    0 => return Ok(0),
                    _ => continue,
                },
                len => read += len,
            }
        }
        Ok(read)
    }

    /// Reads at most as many bytes as one release carries.
    #[inline]
    fn read_some(&mut self, bytes: &mut [u8]) -> Result<usize, Broken> {
        let most = bytes.len().min(self.reader.region().longest_release());
        match self.reader.get(&mut bytes[..most]) {
            Ok(0) => Ok(0),
            Ok(len) => {
                self.consume(len);
                Ok(len)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Judges an empty ring. Returns 1 if bytes have come since, and 0 at the end
    /// of the stream.
    #[cold]
    fn nothing_to_read(&mut self) -> Result<u64, TryReadError> {
        match self.reader.readiness(1) {
            Ok(Readiness::Ready) => Ok(1),
            Ok(Readiness::Empty) => Err(match self.end.take_verdict() {
                Some(broken) => broken.into(),
                None => TryReadError::Empty,
            }),
            Ok(Readiness::Ended(ending)) => {
                self.end_told = EndTold::Read;
                match why_broken(ending) {
                    None => Ok(0),
                    Some(broken) => Err(broken.into()),
                }
            }
            Err(corruption) => Err(self.end.latch(corruption.into()).into()),
        }
    }

    /// Judges the `error` of a reading call. Returns `Ok` if the error is the end of
    /// a whole stream. Notes the end, however the stream ended.
    pub(crate) fn end_or(&mut self, error: PeekError) -> io::Result<()> {
        self.end_read();
        match error {
            PeekError::Ended { .. } => Ok(()),
            error => Err(error.into()),
        }
    }

    /// Why a call ends after its deadline, with all found bytes read. Bytes that
    /// came since stay in the ring, or a peer that sends a few at a time could
    /// prolong the call.
    pub(super) fn why_no_more(&mut self) -> WaitError {
        match self.readiness(1) {
            Ok(Readiness::Ready | Readiness::Empty) => WaitError::TimedOut,
            Ok(Readiness::Ended(ending)) => {
                self.end_told = EndTold::Read;
                why_broken(ending).map_or(WaitError::Ended, WaitError::Broken)
            }
            Err(broken) => WaitError::Broken(broken),
        }
    }
}
