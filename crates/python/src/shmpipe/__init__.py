"""A pipe made of System V shared memory: a ring of bytes between two processes on one Linux host.

    # one process                                     # the other one
    with shmpipe.open_producer(path) as ring:         with shmpipe.open_consumer(path) as ring:
        ring.write(b"hello")                              print(ring.read())

An end is a raw stream of Python's io. See Producer, Consumer and the options of open_producer.
"""

from __future__ import annotations

import os
import subprocess
from ctypes import addressof, byref, c_void_p, sizeof
from typing import Any, Callable, Dict, Optional, Tuple, Type, TypeVar, Union

from . import _errors
from ._ends import (
    Address,
    BufferedConsumer,
    BufferedProducer,
    Consumer,
    Peer,
    Producer,
    RingStats,
    in_slices,
)
from ._errors import *  # noqa: F401,F403
from ._handover import Ends, popen
from ._handover import environment_follows as _environment_follows
from ._library import Options as _Options
from ._library import checked as _checked
from ._library import lib as _lib
from ._library import nanoseconds as _nanoseconds
from ._library import number as _number
from ._library import text as _text
from ._library import version as __version__

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

_PRODUCER, _CONSUMER = 1, 2
_WAIT_POLICIES = {"adaptive": 0, "park": 1, "spin": 2}
_PACES = {"balanced": 0, "latency": 1, "throughput": 2}
_FLAGS = {"persistent": 1, "resume": 2, "create_file": 16, "prefault": 32}


class Flag:
    """Ends waits: give it as `cancel` when opening. A thread or a signal handler may set it."""

    def __init__(self) -> None:
        self._pointer = _lib.shmpipe_flag_new()

    def set(self) -> None:
        _lib.shmpipe_flag_set(self._pointer, 1)

    def clear(self) -> None:
        _lib.shmpipe_flag_set(self._pointer, 0)

    def __del__(self, free: Any = _lib.shmpipe_flag_free) -> None:
        free(self._pointer)


def _options(
    flag: Optional[Flag],
    timeout: Optional[float],
    *,
    capacity: int = 0,
    mode: int = 0,
    project: int = 0,
    owner: Optional[int] = None,
    wait: Optional[bool] = None,
    require_consumer: Optional[bool] = None,
    wait_policy: str = "adaptive",
    pace: str = "balanced",
    batch: int = 0,
    **flags: bool,
) -> _Options:
    raw = _Options(size=sizeof(_Options), capacity=_number("capacity", capacity, 64), batch=_number("batch", batch, 64))
    raw.mode, raw.project = _number("mode", mode, 32), _number("project", project, 32)
    raw.timeout_ns = _nanoseconds(timeout)
    raw.wait_policy = _WAIT_POLICIES[wait_policy]
    raw.pace = _PACES[pace]
    for name, wanted in flags.items():
        if name not in _FLAGS:
            raise TypeError("no option is called %r" % name)
        raw.flags |= _FLAGS[name] if wanted else 0
    if wait is not None:
        raw.flags |= 8 if wait else 4
    if owner is not None:
        raw.flags |= 128
        raw.owner = _number("owner", owner, 32)
    if require_consumer is not None:
        raw.flags |= 256 if require_consumer else 512
    if flag is not None:
        raw.cancel = flag._pointer
    return raw


_Kind = TypeVar("_Kind", Producer, Consumer)


def _opened(
    kind: Type[_Kind],
    open_end: Callable[[int, Any], int],
    timeout: Optional[float],
    cancel: Optional[Flag],
    options: Dict[str, Any],
) -> _Kind:
    flag = Flag() if cancel is None else cancel
    raw = _options(flag, timeout, **options)
    pointer = c_void_p()
    try:
        if timeout == 0:
            _checked(open_end(addressof(raw), byref(pointer)))
        else:
            in_slices(lambda: open_end(addressof(raw), byref(pointer)), flag.set)
    except BaseException:
        _lib.shmpipe_free(pointer)  # opened at the last moment, or NULL
        raise
    return kind(pointer.value or 0, timeout)


def open_producer(path: Path, *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Producer:
    """Opens the writing end of the ring that a path names, and waits for the reader.

    The file must exist, unless `create_file` is set. `timeout` limits opening, and then each wait, in seconds.

    Options: capacity (bytes), persistent, resume, wait (whether to wait for the peer), create_file, prefault,
    mode (permission bits), owner (another user to trust), project (1 to 255), require_consumer, batch (bytes),
    wait_policy ("adaptive", "park", "spin"), pace ("balanced", "latency", "throughput").
    """
    name = _text(os.fsencode(path))
    return _opened(Producer, lambda raw, end: _lib.shmpipe_open(name, _PRODUCER, raw, end), timeout, cancel, options)


def open_consumer(path: Path, *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Consumer:
    """Opens the reading end, and waits for the writer. The options are those of open_producer."""
    name = _text(os.fsencode(path))
    return _opened(Consumer, lambda raw, end: _lib.shmpipe_open(name, _CONSUMER, raw, end), timeout, cancel, options)


def create_producer(*, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Producer:
    """Makes a ring without a name, and takes the writing end. Another process attaches its `address`."""
    return _opened(Producer, lambda raw, end: _lib.shmpipe_create(_PRODUCER, raw, end), timeout, cancel, options)


def create_consumer(*, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Consumer:
    """Makes a ring without a name, and takes the reading end. Another process attaches its `address`."""
    return _opened(Consumer, lambda raw, end: _lib.shmpipe_create(_CONSUMER, raw, end), timeout, cancel, options)


def attach_producer(address: Tuple[int, int], *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Producer:
    """Takes the writing end of a ring that another process made. A forked child does the same."""
    at, nonce = _number("id", address[0], 31), _number("nonce", address[1], 64)
    call = lambda raw, end: _lib.shmpipe_attach(at, nonce, _PRODUCER, raw, end)
    return _opened(Producer, call, timeout, cancel, options)


def attach_consumer(address: Tuple[int, int], *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Consumer:
    """Takes the reading end of a ring that another process made. A forked child does the same."""
    at, nonce = _number("id", address[0], 31), _number("nonce", address[1], 64)
    call = lambda raw, end: _lib.shmpipe_attach(at, nonce, _CONSUMER, raw, end)
    return _opened(Consumer, call, timeout, cancel, options)


def pair(*, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Tuple[Producer, Consumer]:
    """Makes a ring without a name, and takes both ends, for two threads."""
    raw = _options(cancel, timeout, **options)
    writing, reading = c_void_p(), c_void_p()
    _checked(_lib.shmpipe_pair(addressof(raw), byref(writing), byref(reading)))
    return Producer(writing.value or 0, timeout), Consumer(reading.value or 0, timeout)


def producer_from_parent(name: str = "", *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Producer:
    """Takes the writing end that the parent process gave to this one.

    Removes it from SHMPIPE_RING, in os.environ, too. No other thread may change the environment meanwhile.
    """
    named = _text(name)
    call = lambda raw, end: _lib.shmpipe_from_parent(named, _PRODUCER, raw, end)
    with _environment_follows():
        return _opened(Producer, call, timeout, cancel, options)


def consumer_from_parent(name: str = "", *, timeout: Optional[float] = None, cancel: Optional[Flag] = None, **options: Any) -> Consumer:
    """Takes the reading end that the parent process gave to this one.

    Removes it from SHMPIPE_RING, in os.environ, too. No other thread may change the environment meanwhile.
    """
    named = _text(name)
    call = lambda raw, end: _lib.shmpipe_from_parent(named, _CONSUMER, raw, end)
    with _environment_follows():
        return _opened(Consumer, call, timeout, cancel, options)


def spawn_duplex(arguments: Any, **options: Any) -> "Tuple[Producer, Consumer, subprocess.Popen[Any]]":
    """Starts a child with a ring in each direction, and returns the parent's ends."""
    to = create_producer()
    try:
        back = create_consumer()
        try:
            return to, back, popen(arguments, [to, back], **options)
        except BaseException:
            back.abort()
            raise
    except BaseException:
        to.abort()
        raise


def remove(path: Path, *, project: int = 0) -> None:
    """Removes a persistent ring that no process uses."""
    raw = _options(None, None, project=project)
    _checked(_lib.shmpipe_remove(_text(os.fsencode(path)), addressof(raw)))


__all__ = [
    "Address", "BufferedConsumer", "BufferedProducer", "Consumer", "Ends", "Flag", "Peer", "Producer", "RingStats",
    "attach_consumer", "attach_producer", "consumer_from_parent", "create_consumer", "create_producer",
    "open_consumer", "open_producer", "pair", "popen", "producer_from_parent", "remove", "spawn_duplex",
]  # fmt: skip
__all__ += [name for name, kind in vars(_errors).items() if isinstance(kind, type) and issubclass(kind, OSError)]
