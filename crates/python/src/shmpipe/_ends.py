"""The two ends of a ring, as raw streams of Python's io."""

from __future__ import annotations

import ctypes
import io
import os
import threading
import time
import warnings
import weakref
from ctypes import byref, c_void_p
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Type, TypeVar

from ._errors import (
    TIMED_OUT,
    WOULD_BLOCK,
    Closed,
    ConsumerClosed,
    Corrupted,
    Inherited,
    NeverCame,
    PeerDied,
    ProducerAborted,
    TimedOut,
)
from ._library import Buffer, Occupant, Stats, checked, failure, lib

#: How long a call of the library may take, so that signals such as Ctrl-C are seen. In nanoseconds.
SLICE = 50_000_000

_Self = TypeVar("_Self", bound="_End")


class Address(NamedTuple):
    """Where to attach a ring without a name. It can be pickled, and sent to another process."""

    id: int
    nonce: int


class Peer(NamedTuple):
    """Who holds the other end."""

    #: "nobody", "process", "dead" or "left".
    state: str
    #: 0 if unknown.
    pid: int


class RingStats(NamedTuple):
    """What a ring is, and what its use has cost."""

    capacity: int
    position: int
    stream_position: int
    stream_number: int
    available: int
    waits: int
    sleeps: int
    wakes: int
    is_at_end: bool


def in_slices(call: Callable[[], int], cancel: Callable[[], None]) -> int:
    """Makes a call that may wait for long, so that the main thread still sees signals."""
    if threading.current_thread() is not threading.main_thread():
        return checked(call())
    results: List[Any] = []

    def run() -> None:
        try:
            results.append(checked(call()))
        except BaseException as error:
            results.append(error)

    worker = threading.Thread(target=run, name="shmpipe-open", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(SLICE / 1e9)
    except BaseException:
        cancel()
        worker.join()
        raise
    if isinstance(results[0], BaseException):
        raise results[0]
    return int(results[0])


class Handle:
    """Owns a shmpipe_end. The memory of the ring stays mapped while this lives."""

    __slots__ = ("pointer", "__weakref__")

    def __init__(self, pointer: int):
        self.pointer = pointer

    def __del__(self, free: Any = lib.shmpipe_free) -> None:
        free(self.pointer)


class _End(io.RawIOBase):
    """What both ends have in common.

    Calls of several threads follow one another. A call that waits lets other threads call in between, so another
    thread may close an end.
    """

    _handle: Optional[Handle] = None

    def __init__(self, pointer: int, timeout: Optional[float] = None):
        super().__init__()
        self._handle = Handle(pointer)
        # Held in each call of the library. Reentrant, since a signal handler may call, too.
        self._lock = threading.RLock()
        # Held by a thread that waits for the lock. A call in slices passes it before it takes the lock again. Otherwise
        # that call would mostly get the lock back before a thread that waits has woken up.
        self._gate = threading.RLock()
        self._pid = os.getpid()
        self._view: Optional[memoryview] = None
        self._lent: Optional["weakref.ref[Any]"] = None
        self._given = False
        #: The limit of each wait in seconds. None waits for ever, and 0 never waits.
        self.timeout = timeout

    def _pointer(self) -> int:
        handle = self._handle
        if handle is None:
            raise Closed(107, "this end is closed")
        if os.getpid() != self._pid:
            raise Inherited(107, "this end belongs to the process that forked")
        return handle.pointer

    def _now(self, call: Callable[..., int], *arguments: Any) -> int:
        """A call that does not wait."""
        self._pointer()  # a forked child may have inherited a lock that is held
        with self._gate, self._lock:
            return checked(call(self._pointer(), *arguments))

    def _until(self, deadline: Optional[float], call: Callable[..., int], *arguments: Any) -> int:
        """A call that waits until a deadline, in slices. Returns a length, or the code WOULD_BLOCK."""
        while True:
            limit = SLICE
            if deadline is not None:
                limit = min(SLICE, max(0, int((deadline - time.monotonic()) * 1e9)))
            if self.timeout == 0:
                limit = 0
            self._pointer()
            with self._gate:
                pass
            with self._lock:
                result = call(self._pointer(), *arguments, limit)
                if result >= 0:
                    return result
                if result not in (TIMED_OUT, WOULD_BLOCK):
                    raise failure(result)
            if self.timeout == 0:
                return WOULD_BLOCK
            if limit < SLICE and deadline is not None and time.monotonic() >= deadline:
                error = TimedOut(110, "timed out")
                error.code = TIMED_OUT
                raise error

    def _deadline(self) -> Optional[float]:
        return None if self.timeout is None else time.monotonic() + self.timeout

    # Loans

    def _lend(self, address: int, length: int, writable: bool) -> memoryview:
        # The class is new for each length, and ctypes keeps one for each. Its instances can be referred to weakly.
        loan = _loan(length).from_address(address)
        loan.owner = self._handle  # so that the memory stays mapped
        view = memoryview(loan).cast("B")
        if not writable:
            view = view.toreadonly()
        self._view, self._lent = view, weakref.ref(loan)
        return view

    def _take_back(self) -> None:
        """Releases the view of a loan. Fails while somebody else has a view of the same memory."""
        if self._view is not None:
            self._view.release()  # BufferError if, say, numpy has it
            self._view = None
        if self._lent is not None:
            if self._lent() is not None:
                raise BufferError("a slice of the view still exists")
            self._lent = None

    # io

    def poll_fd(self) -> int:
        """The descriptor for asyncio's add_reader, select and poll, to be watched for reading.

        Set `timeout` to 0 then. The descriptor is readable until a read or a write returns None, and becomes readable
        again when that call could do something. It belongs to this end: do not read from it or close it.
        """
        return self._now(lib.shmpipe_poll_fd)

    def close(self) -> None:
        """Closes the end. A producer's stream ends in order. Closing again has no effect."""
        if self.closed:
            return
        try:
            handle = self._handle
            if handle is None or os.getpid() != self._pid:
                return
            self._view = self._lent = None
            with self._gate, self._lock:
                if self._given:  # may wait for the child
                    limit = -1 if self.timeout is None else int(self.timeout * 1e9)
                    in_slices(lambda: lib.shmpipe_close(handle.pointer, limit), lambda: None)
                else:
                    checked(lib.shmpipe_close(handle.pointer, 0))
        except Closed:
            pass  # aborted before
        except (ConsumerClosed, ProducerAborted, PeerDied, NeverCame, Corrupted):
            if self.writable():  # a reader has got this error from its reads
                raise
        finally:
            self._handle = None  # the last view frees it
            super().close()

    def abort(self) -> None:
        """Breaks the stream off: the reader gets ProducerAborted. An end that is closed stays so."""
        if self.closed:
            return
        self._view = self._lent = None
        try:
            if os.getpid() == self._pid:
                self._now(lib.shmpipe_abort)
        finally:
            self._handle = None
            super().close()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __enter__(self: _Self) -> _Self:
        self._checkClosed()
        return self

    def _checkClosed(self, _message: Optional[str] = None) -> None:
        if self.closed:
            raise ValueError("this end is closed")

    def __del__(self) -> None:
        # Nobody has said that the stream is whole.
        if self._handle is not None and not self.closed:
            if os.getpid() == self._pid:
                warnings.warn("an end of a ring was not closed: %r" % self, ResourceWarning, source=self)
            self.abort()

    def __reduce__(self) -> Any:
        raise TypeError("an end cannot be pickled: send its address")

    # The ring

    @property
    def address(self) -> Address:
        """Where another process attaches this ring, while this end is open."""
        identity = self._now(lib.shmpipe_id)
        return Address(identity, self._stats().nonce)

    def _stats(self) -> Stats:
        stats = Stats()
        self._now(lib.shmpipe_get_stats, byref(stats), ctypes.sizeof(stats))
        return stats

    def stats(self) -> RingStats:
        raw = self._stats()
        fields = {name: getattr(raw, name) for name in RingStats._fields}
        fields["is_at_end"] = bool(raw.is_at_end)
        return RingStats(**fields)

    @property
    def capacity(self) -> int:
        return int(self._stats().capacity)

    @property
    def position(self) -> int:
        """Bytes moved since the ring was made."""
        return int(self._stats().position)

    def peer(self) -> Peer:
        """Who holds the other end. Does not fail if nobody does: see check_peer."""
        occupant = Occupant()
        self._pointer()
        with self._gate, self._lock:
            lib.shmpipe_peer(self._pointer(), byref(occupant))
        states = ("nobody", "process", "dead", "left")
        return Peer(states[occupant.state], occupant.pid)

    def check_peer(self) -> None:
        """Asks the kernel whether the peer lives, and raises PeerDied and the like."""
        self._now(lib.shmpipe_peer, None)

    def wait_for_peer(self) -> None:
        """Waits until a peer has the other end."""
        self._until(self._deadline(), lib.shmpipe_wait_for_peer)


_LOANS: Dict[int, Any] = {}


def _loan(length: int) -> Any:
    """A type of `length` bytes. A loan cannot change its length, and lengths repeat."""
    kind = _LOANS.get(length)
    if kind is None:
        if len(_LOANS) >= 256:
            _LOANS.clear()
        kind = _LOANS[length] = type("Loan", (ctypes.c_ubyte * length,), {})
    return kind


class Producer(_End):
    """The end that writes: a raw stream, for io.BufferedWriter, pickle.dump, json.dump and others.

    A `with` block that ends in an exception aborts the stream, and so does a producer that was not closed. The reader
    then gets ProducerAborted, and does not take a part for all.
    """

    def writable(self) -> bool:
        self._checkClosed()
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        raise io.UnsupportedOperation("this end writes")

    def write(self, data: Any) -> Optional[int]:
        """Writes all bytes, and returns their number. With timeout 0, as many as there is room for, or None.

        If the stream breaks or the time is over after some bytes, returns their number.
        """
        self._checkClosed()
        if self._lent is not None:
            self._take_back()
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
                if done == source.len or self.timeout == 0:
                    return done

    def flush(self) -> None:
        """Publishes what a batch holds back."""
        if self._handle is not None and not self.closed and os.getpid() == self._pid:
            self._now(lib.shmpipe_flush)

    def close(self) -> None:
        # RawIOBase.close would flush, which fails without a reader.
        _End.close(self)

    def buffered(self, size: int = 1 << 16) -> "BufferedProducer":
        """A buffer before this end. An exception in its `with` block aborts the stream."""
        return BufferedProducer(self, size)

    def reserve(self, least: int, most: Optional[int] = None) -> Optional[memoryview]:
        """Lends room for `least` to `most` bytes, to be filled in place. With timeout 0, None if there is too little.

        `commit` publishes. The view is released before that. A view of it, such as an array of numpy, must be gone.
        """
        self._checkClosed()
        self._take_back()
        room = c_void_p()
        most = least if most is None else most
        lent = self._lent_by(lib.shmpipe_reserve, least, most, room)
        return None if lent == WOULD_BLOCK else self._lend(room.value or 0, lent, True)

    def _lent_by(self, call: Any, least: int, most: int, place: c_void_p) -> int:
        if not 0 <= least <= most or most == 0:
            raise ValueError("0 <= least <= most, and 0 < most")
        loan = lambda end, limit: call(end, least, most, limit, byref(place))
        return self._until(self._deadline(), loan)

    def commit(self, length: Optional[int] = None) -> None:
        """Publishes the first `length` bytes of the room that `reserve` lent, or all of it.

        Raises BufferError while somebody has a view of that room. The room then stays lent.
        """
        if length is None:
            if self._view is None:
                raise ValueError("the view is released: say how many bytes to commit")
            length = len(self._view)
        self._take_back()
        self._now(lib.shmpipe_commit, length)


class Consumer(_End):
    """The end that reads: a raw stream, for io.BufferedReader, pickle.load, json.load and others."""

    def readable(self) -> bool:
        self._checkClosed()
        return True

    def write(self, data: Any) -> Optional[int]:
        raise io.UnsupportedOperation("this end reads")

    def readinto(self, buffer: Any) -> Optional[int]:
        """Reads what is there, and waits for the first byte. 0 is the end of the stream. None with timeout 0."""
        self._checkClosed()
        if self._lent is not None:
            self._take_back()
        with Buffer(buffer, True) as target:
            read = self._until(self._deadline(), lib.shmpipe_read, target.address, target.len)
        return None if read == WOULD_BLOCK else read

    def buffered(self, size: int = 1 << 16) -> "BufferedConsumer":
        """A buffer behind this end, with readline, peek and whole reads."""
        return BufferedConsumer(self, size)

    def peek(self, least: int = 1, most: Optional[int] = None) -> Optional[memoryview]:
        """Lends `least` to `most` bytes in place. Fewer only before the end of the stream, and none at the end.

        Without `most`, lends all that is there. With timeout 0, None if there is too little. `consume` takes the bytes
        out of the stream. The view is released before that.
        """
        self._checkClosed()
        self._take_back()
        place = c_void_p()
        most = max(least, self.capacity) if most is None else most
        lent = self._peek(least, most, place)
        if lent == WOULD_BLOCK:
            return None
        return self._lend(place.value or 0, lent, False) if lent > 0 else memoryview(b"")

    def _peek(self, least: int, most: int, place: c_void_p) -> int:
        if not 0 <= least <= most or most == 0:
            raise ValueError("0 <= least <= most, and 0 < most")
        loan = lambda end, limit: lib.shmpipe_peek(end, least, most, limit, byref(place))
        return self._until(self._deadline(), loan)

    def consume(self, length: Optional[int] = None) -> None:
        """Takes the first `length` bytes of those that `peek` lent out of the stream, or all of them.

        Raises BufferError while somebody has a view of them. The bytes then stay lent.
        """
        if length is None:
            if self._view is None and self._lent is not None:
                raise ValueError("the view is released: say how many bytes to consume")
            length = 0 if self._view is None else len(self._view)
        self._take_back()
        self._now(lib.shmpipe_consume, length)

    def next_stream(self) -> bool:
        """In a persistent ring, acknowledges the end that was read, and continues with the next stream."""
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
