"""Giving ends to a child that exec(2) starts, and the environment variable that names them."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import ExitStack, contextmanager
from ctypes import c_char_p, c_void_p, create_string_buffer
from typing import Any, Iterator, Mapping, Sequence, Union

from ._ends import Consumer, Producer
from ._library import checked, lib, text

_VARIABLE = "SHMPIPE_RING"

Ends = Union[Sequence[Union[Producer, Consumer]], Mapping[str, Union[Producer, Consumer]]]

_getenv = ctypes.CDLL(None).getenv
_getenv.restype = c_char_p
_getenv.argtypes = [c_char_p]


@contextmanager
def environment_follows() -> Iterator[None]:
    """Updates os.environ, which is a copy, to the value that the library gives the variable in this block."""
    try:
        yield
    finally:
        value = _getenv(_VARIABLE.encode())
        if value is None:
            os.environ.pop(_VARIABLE, None)
        elif os.environ.get(_VARIABLE) != os.fsdecode(value):
            os.environ[_VARIABLE] = os.fsdecode(value)


def popen(arguments: Any, ends: Ends, **options: Any) -> "subprocess.Popen[Any]":
    """Starts a child by subprocess.Popen, and gives it the other end of each of these rings.

    The ends come from create_producer and create_consumer, at most one of each, or more by name. The child takes its ends
    by consumer_from_parent and producer_from_parent, or their like in another language. If the child cannot be started,
    the ends are as before, and can be given to another child.
    """
    named = list(ends.items()) if isinstance(ends, Mapping) else [("", end) for end in ends]
    names = (c_char_p * len(named))(*[text(name) for name, _ in named])
    value = create_string_buffer(128 * (len(named) + 1))
    with ExitStack() as held:
        # Locked in one order, so that two threads do not wait for each other.
        for end in sorted((end for _, end in named), key=id):
            end._live()
            with end._gate:
                held.enter_context(end._lock)
        handles = [end._live() for _, end in named]
        pointers = (c_void_p * len(named))(*[handle.pointer for handle in handles])
        checked(lib.shmpipe_give(pointers, names, len(named), value, len(value)))
    environment = options.pop("env", None)
    environment = dict(os.environ if environment is None else environment)
    environment.pop(_VARIABLE.encode(), None)
    environment[_VARIABLE] = value.value.decode()
    child = subprocess.Popen(arguments, env=environment, **options)
    for (_, end), handle in zip(named, handles):
        with end._gate, end._lock:  # the end may be closed by now, but its memory is there
            checked(lib.shmpipe_given_to(handle.pointer, child.pid))
            end._given = True
    return child
