"""One exception for each way a call can fail. All of them are OSError."""

from __future__ import annotations

from typing import Dict, Type


class Error(OSError):
    """A call failed. `code` is the number of shmpipe.h, and `errno` comes from the kernel, or is the nearest one."""

    code: int = 0


class TimedOut(Error, TimeoutError):
    """Nothing came, or too little, within the timeout."""


class Cancelled(Error):
    """The flag was set."""


class Closed(Error, ValueError):
    """This end was closed or aborted."""


class Inherited(Error):
    """This end belongs to the process that forked."""


class ConsumerClosed(Error, BrokenPipeError):
    """Nobody reads any more."""


class ProducerAborted(Error, ConnectionAbortedError):
    """The stream was broken off. What came is not all."""


class PeerDied(Error, BrokenPipeError):
    """The peer's process ended without closing its end."""


class NeverCame(Error, BrokenPipeError):
    """Nobody took the other end, and nobody can any more."""


class Corrupted(Error):
    """The peer broke the protocol."""


class InvalidArgument(Error, ValueError):
    """A wrong argument."""


class TooLong(InvalidArgument):
    """More bytes than the ring can hold."""


class NotEnded(Error):
    """The stream has not ended here."""


class OpenError(Error):
    """The ring cannot be opened, or removed."""


class PathError(OpenError):
    """The file that names the ring cannot be used."""


class Mismatch(OpenError):
    """The ring has another capacity or life cycle."""


class RoleTaken(OpenError):
    """Another process has this role."""


class TooManyEnds(OpenError):
    """A persistent ring has too many unread ends of streams."""


class Incompatible(OpenError):
    """Not a ring, or a ring with another layout version."""


class KeyCollision(OpenError):
    """ftok(3) gave the key of another file. Use another project."""


class Untrusted(OpenError, PermissionError):
    """The segment has another owner, or a wider mode, than the options allow."""


class Removed(OpenError):
    """The ring, or its file, is gone."""


class OtherNamespace(OpenError):
    """The peer waits in another IPC namespace."""


class NotHandedOver(OpenError):
    """The parent process gave no such end."""


class NoRing(OpenError, FileNotFoundError):
    """There is no ring to remove."""


class InUse(OpenError):
    """A process uses the ring."""


WOULD_BLOCK = -1
TIMED_OUT = -2

KINDS: Dict[int, Type[Error]] = {
    TIMED_OUT: TimedOut,
    -3: Cancelled,
    -10: Closed,
    -11: Inherited,
    -12: ConsumerClosed,
    -13: ProducerAborted,
    -14: PeerDied,
    -15: NeverCame,
    -16: Corrupted,
    -20: InvalidArgument,
    -21: TooLong,
    -22: NotEnded,
    -30: PathError,
    -31: Mismatch,
    -32: RoleTaken,
    -33: TooManyEnds,
    -34: Incompatible,
    -35: KeyCollision,
    -36: Untrusted,
    -37: Removed,
    -38: OtherNamespace,
    -39: NotHandedOver,
    -40: NoRing,
    -41: InUse,
    -50: Error,
    -51: Error,
}
