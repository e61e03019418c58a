"""The two ends of a ring, as raw streams of Python's io."""

from __future__ import annotations

import io
from ctypes import byref, c_void_p
from typing import Any, Optional

from ._base import Address, End, Handle, Peer, RingStats, in_slices
from ._errors import WOULD_BLOCK
from ._library import Buffer, lib

__all__ = ["Address", "BufferedConsumer", "BufferedProducer", "Consumer", "Peer", "Producer", "RingStats", "in_slices"]


def _check_loan(least: int, most: int) -> None:
    if not 0 <= least <= most < 1 << 63 or most == 0:
        raise ValueError("0 <= least <= most < 2**63, and 0 < most")


class Producer(End):
    """The end that writes: a raw stream, for io.BufferedWriter, pickle.dump, json.dump and others.

    A `with` block that ends in an exception aborts the stream, and so does a producer that was not closed. The reader
    then gets ProducerAborted, and does not take a part for all.
    """

    _writes = True

    def writable(self) -> bool:
        self._checkClosed()
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        raise io.UnsupportedOperation("this end writes")

    def write(self, data: Any) -> Optional[int]:
        """Writes all bytes, and returns their number. With timeout 0, as many as there is room for, or None.

        If the stream breaks or the time is over after some bytes, returns their number. `timeout` limits the whole call.
        """
        self._checkClosed()
        deadline = self._deadline()
        with Buffer(data, False) as source:
            done = 0
            while True:
                rest = source.len - done
                try:
                    written = self._until(deadline, lib.shmpipe_write, source.address + done, rest)
                except OSError:
                    if done == 0:
                        raise
                    return done  # the next call raises
                if written == WOULD_BLOCK:
                    return done or None
                done += written
                # A reader that takes a few bytes at a time does not prolong the call.
                if done == source.len or self.timeout == 0 or self._is_over(deadline):
                    return done

    def flush(self) -> None:
        """Publishes what a batch holds back."""
        if self._handle is not None and not self.closed and not self._is_inherited():
            self._now(lib.shmpipe_flush)

    def buffered(self, size: int = 1 << 16) -> "BufferedProducer":
        """A buffer before this end. An exception in its `with` block aborts the stream."""
        return BufferedProducer(self, size)

    def reserve(self, least: int, most: Optional[int] = None) -> Optional[memoryview]:
        """Lends room for `least` to `most` bytes, to be filled in place. With timeout 0, None if there is too little.

        `commit` releases the view and publishes. A view of the view, such as an array of numpy, must be gone by then.
        """
        self._checkClosed()
        most = least if most is None else most
        _check_loan(least, most)
        room = c_void_p()
        call = lambda end, limit: lib.shmpipe_reserve(end, least, most, limit, byref(room))
        lend = lambda handle, length: self._lend(handle, room.value or 0, length, True)
        view = self._until(self._deadline(), call, lend=lend)
        return view if isinstance(view, memoryview) else None

    def commit(self, length: Optional[int] = None) -> None:
        """Publishes the first `length` bytes of the room that `reserve` lent, or all of it.

        Raises BufferError while somebody has a view of that room. The room then stays lent.
        """
        if length is None and self._view is None:
            raise ValueError("the view is released: say how many bytes to commit")
        self._return(lib.shmpipe_commit, length)


class Consumer(End):
    """The end that reads: a raw stream, for io.BufferedReader, pickle.load, json.load and others."""

    def readable(self) -> bool:
        self._checkClosed()
        return True

    def write(self, data: Any) -> Optional[int]:
        raise io.UnsupportedOperation("this end reads")

    def readinto(self, buffer: Any) -> Optional[int]:
        """Reads what is there, and waits for the first byte. 0 is the end of the stream. None with timeout 0."""
        self._checkClosed()
        with Buffer(buffer, True) as target:
            read = self._until(self._deadline(), lib.shmpipe_read, target.address, target.len)
        return None if read == WOULD_BLOCK else read

    def buffered(self, size: int = 1 << 16) -> "BufferedConsumer":
        """A buffer behind this end, with readline, peek and whole reads."""
        return BufferedConsumer(self, size)

    def peek(self, least: int = 1, most: Optional[int] = None) -> Optional[memoryview]:
        """Lends `least` to `most` bytes in place. Fewer only before the end of the stream, and none at the end.

        Without `most`, lends all that is there. With timeout 0, None if there is too little. `consume` releases
        the view, and takes the bytes out of the stream.

        A writer that breaks the rules can change the bytes while the view exists. If the writer is not trusted, copy
        them by bytes(view) before they are checked and used.
        """
        self._checkClosed()
        most = max(least, self.capacity) if most is None else most
        _check_loan(least, most)
        place = c_void_p()
        call = lambda end, limit: lib.shmpipe_peek(end, least, most, limit, byref(place))

        def lend(handle: Handle, length: int) -> memoryview:
            # The view of nothing is no loan.
            return self._lend(handle, place.value or 0, length, False) if length > 0 else memoryview(b"")

        view = self._until(self._deadline(), call, lend=lend)
        return view if isinstance(view, memoryview) else None

    def consume(self, length: Optional[int] = None) -> None:
        """Takes the first `length` bytes of those that `peek` lent out of the stream, or all of them.

        Raises BufferError while somebody has a view of them. The bytes then stay lent.
        """
        self._return(lib.shmpipe_consume, length)

    def next_stream(self) -> bool:
        """In a persistent ring, acknowledges the end that was read, and continues with the next stream.

        Ends a loan. Raises BufferError while somebody has a view of the bytes.
        """
        self._live()
        with self._gate, self._lock:
            self._take_back()
            return bool(self._now(lib.shmpipe_next_stream))


class BufferedProducer(io.BufferedWriter):
    """A BufferedWriter whose `with` block aborts the stream if it ends in an exception."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self.raw.abort()  # type: ignore[attr-defined]
        super().__exit__(kind, error, trace)

    def __del__(self) -> None:
        raw = self.raw
        if not raw.closed:
            raw.__del__()  # type: ignore[attr-defined]


class BufferedConsumer(io.BufferedReader):
    """A BufferedReader whose `with` block aborts, so that nothing is acknowledged, if it ends in an exception."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self.raw.abort()  # type: ignore[attr-defined]
        super().__exit__(kind, error, trace)
