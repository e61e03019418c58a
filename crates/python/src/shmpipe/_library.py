"""libshmpipe.so by ctypes: its functions, its structs, and the addresses of Python's buffers."""

from __future__ import annotations

import ctypes
import operator
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Optional

from ._errors import KINDS, Error


class Options(ctypes.Structure):
    """shmpipe_options"""

    _fields_ = [
        ("size", c_size_t),
        ("capacity", c_uint64),
        ("timeout_ns", c_int64),
        ("flags", c_uint32),
        ("mode", c_uint32),
        ("project", c_uint32),
        ("owner", c_uint32),
        ("wait_policy", c_uint32),
        ("pace", c_uint32),
        ("spin_ns", c_uint64),
        ("batch", c_uint64),
        ("cancel", c_void_p),
    ]


class Stats(ctypes.Structure):
    """shmpipe_stats"""

    _fields_ = [
        ("size", c_size_t),
        ("capacity", c_uint64),
        ("position", c_uint64),
        ("stream_position", c_uint64),
        ("stream_number", c_uint64),
        ("available", c_uint64),
        ("waits", c_uint64),
        ("sleeps", c_uint64),
        ("wakes", c_uint64),
        ("nonce", c_uint64),
        ("id", c_int32),
        ("role", c_uint32),
        ("is_closed", c_uint32),
        ("is_at_end", c_uint32),
    ]


class Occupant(ctypes.Structure):
    """shmpipe_occupant"""

    _fields_ = [("state", c_uint32), ("pid", c_uint32)]


#: Name, result and arguments of each function.
_FUNCTIONS = [
    ("open", c_int, [c_char_p, c_uint32, c_void_p, POINTER(c_void_p)]),
    ("create", c_int, [c_uint32, c_void_p, POINTER(c_void_p)]),
    ("attach", c_int, [c_int32, c_uint64, c_uint32, c_void_p, POINTER(c_void_p)]),
    ("pair", c_int, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    ("from_parent", c_int, [c_char_p, c_uint32, c_void_p, POINTER(c_void_p)]),
    ("give", c_int64, [POINTER(c_void_p), POINTER(c_char_p), c_size_t, c_char_p, c_size_t]),
    ("given_to", c_int, [c_void_p, c_int64]),
    ("write", c_int64, [c_void_p, c_void_p, c_size_t, c_int64]),
    ("read", c_int64, [c_void_p, c_void_p, c_size_t, c_int64]),
    ("reserve", c_int64, [c_void_p, c_size_t, c_size_t, c_int64, POINTER(c_void_p)]),
    ("commit", c_int64, [c_void_p, c_size_t]),
    ("peek", c_int64, [c_void_p, c_size_t, c_size_t, c_int64, POINTER(c_void_p)]),
    ("consume", c_int64, [c_void_p, c_size_t]),
    ("flush", c_int, [c_void_p]),
    ("close", c_int, [c_void_p, c_int64]),
    ("abort", c_int, [c_void_p]),
    ("free", None, [c_void_p]),
    ("next_stream", c_int, [c_void_p]),
    ("remove", c_int, [c_char_p, c_void_p]),
    ("wait_for_peer", c_int, [c_void_p, c_int64]),
    ("peer", c_int, [c_void_p, POINTER(Occupant)]),
    ("id", c_int32, [c_void_p]),
    ("get_stats", c_int, [c_void_p, POINTER(Stats), c_size_t]),
    ("poll_fd", c_int, [c_void_p]),
    ("flag_new", c_void_p, []),
    ("flag_set", None, [c_void_p, c_int]),
    ("flag_free", None, [c_void_p]),
    ("last_errno", c_int, []),
    ("last_error", c_char_p, []),
    ("version", c_char_p, []),
]


def _load() -> Any:
    path = os.environ.get("SHMPIPE_LIBRARY")
    if path is None:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libshmpipe.so")
    library = ctypes.CDLL(path)
    for name, result, arguments in _FUNCTIONS:
        function = getattr(library, "shmpipe_" + name)
        function.restype = result
        function.argtypes = arguments
    return library


lib = _load()
version: str = lib.shmpipe_version().decode()


def failure(code: int) -> Error:
    """The exception for the last failure of this thread, whose code is `code`."""
    kind = KINDS.get(code, Error)
    error = kind(lib.shmpipe_last_errno(), lib.shmpipe_last_error().decode(errors="replace"))
    error.code = code
    return error


def checked(result: int) -> int:
    if result < 0:
        raise failure(result)
    return result


def number(name: str, value: Any, bits: int) -> int:
    """An unsigned number for a C type of that many bits. ctypes would cut off what does not fit."""
    whole = operator.index(value)
    if not 0 <= whole < 1 << bits:
        raise ValueError("%s is out of range: %d" % (name, whole))
    return whole


def text(value: Any) -> bytes:
    """A string of C. ctypes would cut it off at a NUL."""
    encoded = value.encode() if isinstance(value, str) else bytes(value)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def nanoseconds(seconds: Optional[float]) -> int:
    """A timeout as the library takes it. None waits for ever."""
    if seconds is None:
        return -1
    if seconds != seconds:
        raise ValueError("a timeout is no number")
    return int(max(0.0, min(seconds, 9e9)) * 1e9)  # 285 years


class _PyBuffer(ctypes.Structure):
    """Py_buffer, whose layout is the same in each Python 3."""

    _fields_ = [
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_void_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    ]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.restype = c_int
_get_buffer.argtypes = [ctypes.py_object, POINTER(_PyBuffer), c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.restype = None
_release_buffer.argtypes = [POINTER(_PyBuffer)]


class Buffer:
    """The address and the length of an object's bytes, held in place until the `with` block ends."""

    __slots__ = ("_raw", "address", "len")

    def __init__(self, source: Any, writable: bool):
        self._raw = _PyBuffer()
        _get_buffer(source, byref(self._raw), 1 if writable else 0)  # raises BufferError, TypeError
        self.address: int = self._raw.buf or 0
        self.len: int = self._raw.len

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, *_: object) -> None:
        _release_buffer(byref(self._raw))
