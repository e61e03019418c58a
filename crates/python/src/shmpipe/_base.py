"""What both ends of a ring have in common: calls in turns, waits in slices, loans, leaving."""

from __future__ import annotations

import ctypes
import io
import os
import threading
import time
import warnings
import weakref
from ctypes import byref
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Type, TypeVar

from ._errors import (
    TIMED_OUT,
    WOULD_BLOCK,
    Closed,
    ConsumerClosed,
    Corrupted,
    Error,
    Inherited,
    NeverCame,
    PeerDied,
    ProducerAborted,
    TimedOut,
)
from ._library import Occupant, Stats, checked, failure, lib

#: How long a call of the library may take, so that signals such as Ctrl-C are seen. In nanoseconds.
SLICE = 50_000_000

_Self = TypeVar("_Self", bound="End")


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
    try:
        worker.start()
        while worker.is_alive():
            worker.join(SLICE / 1e9)
    except BaseException:
        cancel()
        while worker.is_alive():  # for some 100 ms. The caller frees what the worker uses
            try:
                worker.join()
            except BaseException:
                pass  # a second Ctrl-C
        raise
    if isinstance(results[0], BaseException):
        raise results[0]
    return int(results[0])


class Handle:
    """Owns a shmpipe_end, and frees it with the last reference.

    Each call keeps a reference, and so does each loan. So no thread can free an end that another thread uses.
    """

    __slots__ = ("pointer", "__weakref__")

    def __init__(self, pointer: int):
        self.pointer = pointer

    def __del__(self, free: Any = lib.shmpipe_free) -> None:
        free(self.pointer)


_ends: "weakref.WeakSet[End]" = weakref.WeakSet()


def _renewed(lock: Any) -> Any:
    """A lock of an end, in a child that has just been forked. The thread that held it may not exist in the child."""
    if lock._is_owned():
        return lock  # by the thread that forked, which releases it
    if not hasattr(lock, "_at_fork_reinit"):
        return threading.RLock()  # Python 3.8
    lock._at_fork_reinit()
    return lock


def _forked() -> None:
    for end in list(_ends):
        end._inherited = True
        end._lock, end._gate = _renewed(end._lock), _renewed(end._gate)


os.register_at_fork(after_in_child=_forked)


class End(io.RawIOBase):
    """What both ends have in common.

    Calls of several threads follow one another. A call that waits lets other threads call in between, so another
    thread may close an end.
    """

    _handle: Optional[Handle] = None
    _writes = False

    def __init__(self, pointer: int, timeout: Optional[float] = None):
        super().__init__()
        self._handle = Handle(pointer)
        # Held in each call of the library. Reentrant, since a signal handler may call, too.
        self._lock = threading.RLock()
        # Held by a thread that waits for the lock. A call in slices passes it before it takes the lock again. Otherwise
        # that call would mostly get the lock back before a thread that waits has woken up.
        self._gate = threading.RLock()
        self._pid = os.getpid()
        self._inherited = False
        self._view: Optional[memoryview] = None
        self._lent: Optional["weakref.ref[Any]"] = None
        self._given = False
        #: The limit of each wait in seconds. None waits for ever, and 0 never waits.
        self.timeout = timeout
        _ends.add(self)

    def _is_inherited(self) -> bool:
        return self._inherited or os.getpid() != self._pid

    def _live(self) -> Handle:
        """The handle of an open end. The caller keeps it in a local variable until its call is over."""
        handle = self._handle
        if handle is None:
            raise Closed(107, "this end is closed")
        if self._is_inherited():
            raise Inherited(107, "this end belongs to the process that forked")
        return handle

    def _now(self, call: Callable[..., int], *arguments: Any) -> int:
        """A call that does not wait."""
        self._live()
        with self._gate, self._lock:
            handle = self._live()
            return checked(call(handle.pointer, *arguments))

    def _until(
        self,
        deadline: Optional[float],
        call: Callable[..., int],
        *arguments: Any,
        lend: Optional[Callable[[Handle, int], Any]] = None,
        moves: bool = True,
    ) -> Any:
        """A call that waits until a deadline, in slices. Returns a length, or the code WOULD_BLOCK.

        A call that moves bytes ends a loan. `lend` makes a new loan from the result, and the loan is returned instead.
        """
        while True:
            limit = SLICE
            if self.timeout == 0:
                limit = 0
            elif deadline is not None:
                limit = int(max(0.0, min(SLICE / 1e9, deadline - time.monotonic())) * 1e9)
            self._live()
            with self._gate:
                pass
            with self._lock:
                handle = self._live()
                if moves and self._lent is not None:
                    self._take_back()
                result = call(handle.pointer, *arguments, limit)
                if result >= 0:
                    return result if lend is None else lend(handle, result)
                if result not in (TIMED_OUT, WOULD_BLOCK):
                    raise failure(result)
            if self.timeout == 0:
                return WOULD_BLOCK
            if self._is_over(deadline):
                error = TimedOut(110, "timed out")
                error.code = TIMED_OUT
                raise error

    def _deadline(self) -> Optional[float]:
        return None if self.timeout is None else time.monotonic() + self.timeout

    @staticmethod
    def _is_over(deadline: Optional[float]) -> bool:
        return deadline is not None and not time.monotonic() < deadline

    # Loans

    def _lend(self, handle: Handle, address: int, length: int, writable: bool) -> memoryview:
        # A subclass of ctypes' array: an instance can keep the handle, and can be referred to weakly.
        loan = _loan(length).from_address(address)
        loan.owner = handle  # so that the memory stays mapped
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

    def _return(self, call: Callable[..., int], length: Optional[int]) -> None:
        """Commits or consumes the first bytes of a loan, or all of them."""
        self._live()
        with self._gate, self._lock:
            handle = self._live()
            if length is None:
                if self._view is None and self._lent is not None:
                    raise ValueError("the view is released: say how many bytes")
                length = 0 if self._view is None else len(self._view)
            elif not 0 <= length < 1 << 63:
                raise ValueError("a length is out of range: %d" % length)
            self._take_back()
            checked(call(handle.pointer, length))

    # io

    def poll_fd(self) -> int:
        """The descriptor for asyncio's add_reader, select and poll, to be watched for reading.

        Set `timeout` to 0 then. The descriptor is readable until a read or a write returns None, and becomes readable
        again when that call could do something. It belongs to this end: do not read from it or close it.
        """
        return self._now(lib.shmpipe_poll_fd)

    def close(self) -> None:
        """Closes the end. A producer's stream ends in order. Closing again has no effect.

        Waits, within `timeout`, only for a child that `popen` started and that has not taken its end yet. Ctrl-C ends that
        wait, and the end is closed.
        """
        if self.closed:
            return
        try:
            handle = self._handle
            if handle is None or self._is_inherited():
                return
            try:
                if self._given and self._writes:
                    self._await_child()
            except BaseException:
                with self._lock:
                    lib.shmpipe_close(handle.pointer, 0)
                raise
            with self._gate, self._lock:
                checked(lib.shmpipe_close(handle.pointer, 0))
        except Closed:
            pass  # aborted before
        except (ConsumerClosed, ProducerAborted, PeerDied, NeverCame, Corrupted):
            if self._writes:  # a reader has got this error from its reads
                raise
        finally:
            self._forget()

    def _await_child(self) -> None:
        try:
            self._until(self._deadline(), lib.shmpipe_wait_for_peer, moves=False)
        except Error:
            pass  # closing the end raises the error, too

    def abort(self) -> None:
        """Breaks the stream off: the reader gets ProducerAborted. Has no effect on a closed end."""
        if self.closed:
            return
        try:
            if not self._is_inherited():
                self._now(lib.shmpipe_abort)
        except Closed:
            pass  # by another thread, meanwhile
        finally:
            self._forget()

    def _forget(self) -> None:
        # The last call or view that has the handle frees the end.
        self._view = self._lent = self._handle = None
        io.RawIOBase.close(self)

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
        # Without a call of close, the stream does not count as whole.
        if self._handle is not None and not self.closed:
            if not self._is_inherited():
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
        self._live()
        with self._gate, self._lock:
            handle = self._live()
            lib.shmpipe_peer(handle.pointer, byref(occupant))
        states = ("nobody", "process", "dead", "left")
        return Peer(states[occupant.state], occupant.pid)

    def check_peer(self) -> None:
        """Asks the kernel whether the peer lives, and raises PeerDied and the like."""
        self._now(lib.shmpipe_peer, None)

    def wait_for_peer(self) -> None:
        """Waits until a peer has the other end."""
        self._until(self._deadline(), lib.shmpipe_wait_for_peer, moves=False)


_LOANS: Dict[int, Any] = {}


def _loan(length: int) -> Any:
    """A type of `length` bytes, kept for the next loan of that length."""
    kind = _LOANS.get(length)
    if kind is None:
        if len(_LOANS) >= 256:
            _LOANS.clear()
        kind = _LOANS[length] = type("Loan", (ctypes.c_ubyte * length,), {})
    return kind
