#!/usr/bin/env python3
"""A peer of shmpipe, written from src/guide/format.md alone. For the conformance tests, not a product.

    peer.py role=producer path=FILE bytes=N [key=value...]    one end of a ring: see ARGUMENTS
    peer.py vectors                                           answers questions from the input

Prints one line, which begins with "peer:". Level "futex"; level=polls neither wakes nor sleeps on a futex. No rings in
the caller's memory.
"""

import ctypes
import fcntl
import os
import select
import signal
import struct
import sys
import time
import zlib

ARGUMENTS = {
    "role": "", "path": "", "id": "", "kind": "named", "capacity": "0", "bytes": "0", "block": "65536",
    "end": "finish", "streams": "1", "wait": "1", "timeout": "60", "level": "futex", "mutant": "", "resume": "0",
    "project": "1", "start": "0",
}

# Every number of the format, by name. A mutant of the peer has another one.
C = {
    "magic": int.from_bytes(b"shmpipe\0", "little"), "version": 2, "byte_order": 0x01020304, "line": 128,
    "anonymous": 1, "named": 2, "persistent": 3,
    "at_version": 8, "at_byte_order": 12, "at_line": 16, "at_kind": 20, "at_capacity": 24, "at_ring_offset": 32,
    "at_nonce": 40, "at_device": 48, "at_inode": 56, "at_project": 64, "at_flags": 68,
    "at_required": 76, "at_birth": 80, "at_state": 128,
    "producer_owner": 136, "producer_complete": 144, "producer_start": 152, "producer_pid_namespace": 160,
    "producer_time_namespace": 164, "producer_views": 168, "producer_capabilities": 172, "producer_position": 256,
    "producer_closed": 384, "producer_sleeping": 392, "producer_wanted": 400, "producer_claims": 408,
    "producer_marks": 416,
    "consumer_owner": 176, "consumer_complete": 184, "consumer_start": 192, "consumer_pid_namespace": 200,
    "consumer_time_namespace": 204, "consumer_views": 208, "consumer_capabilities": 212, "consumer_position": 512,
    "consumer_closed": 640, "consumer_sleeping": 648, "consumer_hint": 652, "consumer_wanted": 656,
    "consumer_claims": 664, "consumer_marks": 672, "consumer_places": 680,
    "first_mark": 1024, "marks": 128, "ring": 4096, "smallest": 4096,
    "unborn": 0, "open": 1, "paired": 2, "replaced": 3, "removed": 4, "free": 0, "held": 1, "left": 2, "lost": 3,
    "producer_tenure": 8, "consumer_tenure": 12, "producer_generation": 16, "consumer_generation": 32,
    "owner_generation": 0, "owner_start": 2, "owner_namespace": 24, "owner_pid": 42,
    "finished": 1, "aborted": 2, "died": 3, "claim_shift": 8, "explicit": 1, "unwaited": 2,
    "wakes": 1, "asleep": 1, "promised": 2, "reserved": 2, "key_project": 24,
}
ROLES = ("producer", "consumer")
SLICE = 0.01
M64 = (1 << 64) - 1

# The C library, and atomics.
libc = ctypes.CDLL(None, use_errno=True)
atomic = ctypes.CDLL("libatomic.so.1")
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.shmctl.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
libc.syscall.restype = ctypes.c_long
RELAXED, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST = 0, 2, 3, 4, 5
for size, kind in ((4, ctypes.c_uint32), (8, ctypes.c_uint64)):
    for name, result, arguments in (
        ("load", kind, []), ("store", None, [kind]), ("exchange", kind, [kind]),
        ("fetch_add", kind, [kind]), ("fetch_or", kind, [kind]),
    ):
        function = getattr(atomic, f"__atomic_{name}_{size}")
        function.restype, function.argtypes = result, [ctypes.c_void_p, *arguments, ctypes.c_int]
    function = getattr(atomic, f"__atomic_compare_exchange_{size}")
    function.restype = ctypes.c_bool
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, kind, ctypes.c_int, ctypes.c_int]
SYS = {"x86_64": (202, 324, 434), "aarch64": (98, 283, 434)}[os.uname().machine]
SYS_FUTEX, SYS_MEMBARRIER, SYS_PIDFD_OPEN = SYS
IPC_CREAT, IPC_EXCL, IPC_RMID, IPC_STAT, SHM_DEST = 0o1000, 0o2000, 0, 2, 0o1000
AT_EMPTY_PATH, STATX_BTIME = 0x1000, 0x800
ENOENT, EEXIST, EINVAL, EIDRM, ESRCH = 2, 17, 22, 43, 3


class Failure(Exception):
    """What the peer says before it exits with 1."""


class Corrupted(Failure):
    """The other side broke a rule."""


class StartOver(Exception):
    """The ring went while it was being opened."""


def fence(order):
    atomic.atomic_thread_fence(order)


def membarrier():
    libc.syscall(SYS_MEMBARRIER, 2, 0, 0)  # GLOBAL_EXPEDITED; a refusal costs a slice


def namespace(kind):
    try:
        return int(os.readlink(f"/proc/thread-self/ns/{kind}").split("[")[1].rstrip("]"))
    except (OSError, IndexError, ValueError):
        return 0


def start_of(pid):
    """Field 22 of the stat of a process of our pid namespace; 0 if unknown."""
    try:
        with open("/proc/thread-self/status") as status:
            ids = next(line for line in status if line.startswith("NSpid:")).split()[1:]
        if len(ids) != 1:
            return 0
        with open(f"/proc/{pid}/task/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[22 - 3])
    except (OSError, StopIteration, IndexError, ValueError):
        return 0


def owner_word(pid, pid_namespace, start, generation):
    return (pid << C["owner_pid"] | (pid_namespace & 0x3FFFF) << C["owner_namespace"]
            | (start & 0x3FFFFF) << C["owner_start"] | (generation & 3) << C["owner_generation"]) & M64


def how_closed(word):
    """How a side has left: None, "finished" or "aborted"."""
    if word == 0:
        return None
    how = {C["finished"]: "finished", C["aborted"]: "aborted"}.get(word & 0xFF)
    if how is None or word >> C["claim_shift"] == 0:
        raise Corrupted(f"ClosedWord {word:#x}")
    return how


def how_ended(word):
    """How a stream has ended, and the process that died."""
    if word in (C["finished"], C["aborted"]):
        return {C["finished"]: "finished", C["aborted"]: "aborted"}[word], 0
    if word & 0xFF == C["died"] and word >> 8 < 1 << 32:
        return "died", word >> 8
    raise Corrupted(f"MarkEnding {word:#x}")


# The life-cycle word.


def other(role):
    return ROLES[1 - ROLES.index(role)]


def life(word):
    return word & 0xFF


def with_life(word, value):
    return word & ~0xFF | value


def tenure(word, role):
    return word >> C[f"{role}_tenure"] & 0xF


def with_tenure(word, role, value):
    shift = C[f"{role}_tenure"]
    return word & ~(0xF << shift) | value << shift


def generation(word, role):
    return word >> C[f"{role}_generation"] & 0xFFFF


def next_generation(word, role):
    return (generation(word, role) + 1) & 0xFFFF or 1


def claimed(word, role, kind, dead):
    """The word after a claim, or the reason why there is none."""
    if life(word) not in (C["open"], C["paired"]):
        return "gone"
    now = tenure(word, role)
    if now not in (C["free"], C["lost"]) and not (now == C["held"] and dead and kind == C["persistent"]):
        return "taken"
    shift = C[f"{role}_generation"]
    new = with_tenure(word, role, C["held"]) & ~(0xFFFF << shift) | next_generation(word, role) << shift
    if kind != C["persistent"] and generation(word, other(role)) != 0:
        new = with_life(new, C["paired"])
    return new


def left(word, role, kind):
    if kind == C["persistent"]:
        return with_tenure(word, role, C["free"])
    new = with_tenure(word, role, C["left"])
    return with_life(new, C["removed"]) if kind == C["named"] and life(word) == C["open"] else new


class Stat:
    """What IPC_STAT says."""

    def __init__(self, number):
        buffer = ctypes.create_string_buffer(256)
        if libc.shmctl(number, IPC_STAT, buffer) != 0:
            raise OSError(ctypes.get_errno(), "IPC_STAT")
        self.key, self.uid, _, self.cuid = struct.unpack_from("=iIII", buffer, 0)
        (mode,) = struct.unpack_from("=H", buffer, 20)
        self.mode, self.dest = mode & 0o777, mode & SHM_DEST
        (self.size,) = struct.unpack_from("=Q", buffer, 48)
        self.cpid, _, self.nattch = struct.unpack_from("=iiQ", buffer, 80)


def remove(number):
    libc.shmctl(number, IPC_RMID, None)  # whoever comes first


class Memory:
    """One mapping of a segment."""

    def __init__(self, number):
        self.id, self.stat = number, Stat(number)
        self.base = libc.shmat(number, None, 0)
        if self.base in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "shmat")
        self.size = self.stat.size
        self.bytes = memoryview((ctypes.c_char * self.size).from_address(self.base)).cast("B")

    def detach(self):
        if self.base:
            self.bytes.release()
            libc.shmdt(self.base)
            self.base = None

    def load(self, offset, order=RELAXED, size=8):
        return getattr(atomic, f"__atomic_load_{size}")(self.base + offset, order)

    def store(self, offset, value, order=RELAXED, size=8):
        getattr(atomic, f"__atomic_store_{size}")(self.base + offset, value, order)

    def swap(self, offset, old, new, success=RELAXED, size=8):
        """Compare-and-swap. The value found, which is `old` if it was swapped."""
        kind = ctypes.c_uint64 if size == 8 else ctypes.c_uint32
        expected = kind(old)
        getattr(atomic, f"__atomic_compare_exchange_{size}")(
            self.base + offset, ctypes.byref(expected), new, success, RELAXED)
        return expected.value

    def exchange4(self, offset, value):
        return getattr(atomic, "__atomic_exchange_4")(self.base + offset, value, RELAXED)

    def futex(self, offset, operation, value, seconds=None):
        limit = ctypes.byref((ctypes.c_long * 2)(0, int(seconds * 1e9))) if seconds is not None else None
        libc.syscall(SYS_FUTEX, ctypes.c_void_p(self.base + offset), operation, ctypes.c_uint(value), limit, None, 0)

    def read_only_zero(self, first, end):
        return not any(self.bytes[first:end])


# Proof of death.


class Holder:
    """A record, as far as it can be believed."""

    def __init__(self, memory, role):
        at = lambda what: C[f"{role}_{what}"]
        self.owner = memory.load(at("owner"))
        complete = memory.load(at("complete"))
        fence(ACQUIRE)
        self.pid = self.owner >> C["owner_pid"]
        self.start, self.low = memory.load(at("start")), None
        self.pid_namespace = memory.load(at("pid_namespace"), size=4)
        self.time_namespace = memory.load(at("time_namespace"), size=4)
        self.views = min(memory.load(at("views"), size=4), 2)
        self.capabilities = memory.load(at("capabilities"), size=4)
        fence(ACQUIRE)
        if complete != self.owner or memory.load(at("owner")) != self.owner:
            own = namespace("pid")
            same = own != 0 and own & 0x3FFFF == self.owner >> C["owner_namespace"] & 0x3FFFF
            self.start, self.low = 0, self.owner >> C["owner_start"] & 0x3FFFFF
            self.pid_namespace, self.time_namespace = own if same else 0, namespace("time")
            self.views, self.capabilities = 1, 0

    def is_gone(self):
        return is_gone(self.pid, self.pid_namespace, self.start, self.time_namespace, self.low)


def is_gone(pid, pid_namespace, start=0, time_namespace=0, low=None):
    if pid == 0 or pid_namespace == 0 or pid_namespace != namespace("pid"):
        return False
    if pid == os.getpid():
        return start not in (0, start_of(pid)) and time_namespace == namespace("time")
    fd = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    if fd < 0:
        return ctypes.get_errno() == ESRCH
    try:
        now = start_of(pid)
        if now and time_namespace and time_namespace == namespace("time"):
            if start and start != now or low and low != now & 0x3FFFFF:
                return True
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(fd)


class Deadline:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def check(self, what):
        if time.monotonic() >= self.end:
            raise Failure(f"timed out: {what}")

    def pause(self, what):
        self.check(what)
        time.sleep(0.001)


class Ring:
    """One end of a ring."""

    def __init__(self, memory, role, kind, level, resume=False):
        self.m, self.role, self.peer, self.kind = memory, role, other(role), kind
        self.capacity = memory.load(C["at_capacity"])
        self.ring = memory.bytes[C["ring"]:C["ring"] + self.capacity]
        self.futex, self.resume, self.asked = level != "polls", resume, time.monotonic()
        self.persistent = kind == C["persistent"]

    def at(self, what, role=None):
        return C[f"{role or self.role}_{what}"]

    def state(self):
        return self.m.load(C["at_state"], ACQUIRE)

    def change(self, next_word):
        """Swaps the life-cycle word. The words before and after; no word after, if it may not be."""
        word = self.state()
        while True:
            new = next_word(word)
            if new is None:
                return word, None
            found = self.m.swap(C["at_state"], word, new, ACQ_REL)
            if found == word:
                return word, new
            word = found

    # Taking a role.

    def claim(self, deadline, unlock=None):
        until = time.monotonic() + 0.1
        while True:
            result = self.try_claim()
            if result is None:
                return
            if result == "gone":
                raise StartOver
            if result == "no place":
                if unlock:
                    unlock()
                self.await_place(deadline)
                raise StartOver
            busy = tenure(self.state(), self.role) in (C["free"], C["lost"])
            if not busy or time.monotonic() >= until:
                raise Failure(f"the role is taken")
            time.sleep(0.001)

    def try_claim(self):
        m, at = self.m, self.at
        word = self.state()  # step 1
        found = m.load(at("owner"))
        dead = found != 0 and (Holder(m, self.role).is_gone() or Stat(m.id).nattch <= 1)
        if isinstance(claimed(word, self.role, self.kind, dead), str):
            return claimed(word, self.role, self.kind, dead)
        if found != 0 and not dead:
            return "taken"
        self.generation = next_generation(word, self.role)
        pid, start = os.getpid(), start_of(os.getpid())
        spaces = namespace("pid"), namespace("time")
        self.owner = owner_word(pid, spaces[0], start, self.generation)
        if m.swap(at("owner"), found, self.owner, ACQUIRE) != found:  # step 2
            return "taken"
        if next_generation(self.state(), self.role) != self.generation:  # step 3
            m.swap(at("owner"), self.owner, found, RELEASE)
            return "taken"
        if self.role == "producer" and self.persistent and not self.settle(found):  # step 4
            return "no place"
        self.number = m.load(at("claims")) + 1 & M64  # step 5
        m.store(at("claims"), self.number, RELEASE)
        fence(RELEASE)
        m.store(at("start"), start)  # step 6
        m.store(at("pid_namespace"), spaces[0], size=4)
        m.store(at("time_namespace"), spaces[1], size=4)
        m.store(at("views"), 1, size=4)
        m.store(at("capabilities"), C["wakes"] if self.futex else 0, size=4)
        m.store(at("complete"), self.owner, RELEASE)
        m.store(at("closed"), 0)  # step 7
        if m.exchange4(at("sleeping"), 0) == C["promised"]:
            membarrier()
        if self.role == "consumer":
            m.store(at("hint"), 0, size=4)

        def next_word(word):
            new = claimed(word, self.role, self.kind, dead)
            return None if isinstance(new, str) else new

        _, after = self.change(next_word)  # step 8
        if after is None:
            m.swap(at("owner"), self.owner, 0, RELEASE)
            return claimed(self.state(), self.role, self.kind, False)
        self.position = m.load(at("position"), ACQUIRE)  # step 9
        self.known = m.load(at("position", self.peer), ACQUIRE)
        tail, head = (self.position, self.known) if self.role == "producer" else (self.known, self.position)
        if tail - head & M64 > self.capacity:
            raise Corrupted("out of range at the claim")
        self.before = m.load(at("closed", self.peer)) if self.persistent else 0
        self.limit, self.ending = self.known if self.role == "producer" else self.position, None
        if self.role == "consumer":
            self.acknowledged = m.load(at("marks"))
        if self.kind == C["named"] and life(after) == C["paired"]:  # step 11
            remove(m.id)
        self.wake_always()  # step 12
        return None

    def settle(self, found):
        m = self.m
        count, unread = self.marks()
        if unread + C["reserved"] > C["marks"] - 1:
            if found != 0:
                self.change(lambda word: with_tenure(word, "producer", C["lost"])
                            if tenure(word, "producer") == C["held"] else None)
            m.swap(self.at("owner"), self.owner, 0, RELEASE)
            return False
        tail = m.load(self.at("position"))
        if not self.resume and tail != m.load(self.place(count - 1)):
            self.mark(count, tail, m.load(self.at("complete")) >> C["owner_pid"] << 8 | C["died"])
        return True

    def await_place(self, deadline):
        deadline.check("no place for another end")
        before = getattr(atomic, "__atomic_fetch_or_4")(self.m.base + C["consumer_places"], 1, RELAXED)
        fence(SEQ_CST)
        if self.marks()[1] + C["reserved"] > C["marks"] - 1:
            self.m.futex(C["consumer_places"], 0, before | 1, SLICE)

    def marks(self):
        count = self.m.load(C["producer_marks"], ACQUIRE)
        unread = count - self.m.load(C["consumer_marks"], ACQUIRE) & M64
        if unread > C["marks"] - 1:
            raise Corrupted("MarkCount")
        return count, unread

    @staticmethod
    def place(number):
        return C["first_mark"] + 16 * (number % C["marks"])

    def mark(self, number, position, ending):
        self.m.store(self.place(number), position)
        self.m.store(self.place(number) + 8, ending)
        self.m.store(C["producer_marks"], number + 1 & M64, RELEASE)

    # Leaving.

    def leave(self, how):
        m = self.m
        if m.load(self.at("owner")) != self.owner:
            return m.detach()
        m.store(self.at("closed"), self.number << C["claim_shift"] & M64 | C[how], RELEASE)
        if self.persistent and self.role == "producer":
            self.mark(m.load(C["producer_marks"]), self.position, C[how])
        elif self.persistent and how == "finished" and self.ending and self.limit == self.position:
            self.acknowledge()
        self.change(lambda word: left(word, self.role, self.kind)
                    if tenure(word, self.role) == C["held"] and generation(word, self.role) == self.generation else None)
        if self.persistent:
            m.swap(self.at("owner"), self.owner, 0, RELEASE)
        self.wake_always()
        if self.kind == C["named"]:
            remove(m.id)
        self.ring.release()
        m.detach()

    # Sleeping and waking.

    def wake_always(self):
        self.wake(None)

    def wake(self, position):
        if not self.futex:
            return
        at = self.at("sleeping", self.peer)
        fence(SEQ_CST)
        if self.m.load(at, size=4) != C["asleep"]:
            return
        if position is not None:
            distance = position - self.m.load(self.at("wanted", self.peer)) & M64
            if distance >> 63:
                return
        if self.m.swap(at, C["asleep"], 0, size=4) == C["asleep"]:
            self.m.futex(at, 1, 0x7FFFFFFF)

    def sleep(self, ready, wanted, ask, deadline):
        """Waits until `ready` gives a value. Calls `ask` each slice, which may raise an error."""
        self.wake_always()
        own = self.at("sleeping")
        while True:
            value = ready()
            if value is not None:
                return value
            if time.monotonic() - self.asked >= SLICE:
                self.asked = time.monotonic()
                error = None
                try:
                    ask()
                except (Failure, StartOver) as raised:
                    error = raised
                value = ready()  # what was published counts first
                if value is not None:
                    return value
                if error:
                    raise error
                deadline.check("nothing comes")
            if not self.futex:
                time.sleep(0.001)
                continue
            self.m.store(self.at("wanted"), wanted & M64)
            if self.m.exchange4(own, C["asleep"]) == C["promised"]:
                membarrier()
            fence(SEQ_CST)
            value = ready()
            if value is None:
                self.m.futex(own, 0, C["asleep"], SLICE)
            self.m.exchange4(own, 0)
            if value is not None:
                return value

    def ask_peer(self):
        """Raises an error if the peer is dead."""
        m, word = self.m, self.state()
        if m.load(self.at("owner")) != self.owner or tenure(word, self.role) != C["held"] \
                or generation(word, self.role) != self.generation:
            raise Corrupted("OwnRole")
        holder, now = Holder(m, self.peer), tenure(word, self.peer)
        dead = False
        if now > C["lost"]:
            raise Corrupted("StateWord")
        if now == C["held"] or holder.owner:
            dead = holder.is_gone() or Stat(m.id).nattch < 1 + holder.views
        # Of an anonymous ring, somebody has the id: nothing proves that nobody comes.
        dead = dead and now != C["left"] or now == C["lost"]
        if self.state() != word or m.load(self.at("owner", self.peer)) != holder.owner:
            return
        if self.persistent and dead:
            if now == C["held"]:
                m.swap(C["at_state"], word, with_tenure(word, self.peer, C["lost"]), ACQ_REL)
            if holder.owner and (now != C["held"] or holder.owner & 3 == generation(word, self.peer) & 3):
                m.swap(self.at("owner", self.peer), holder.owner, 0, RELEASE)
            if now == C["free"]:
                return
        if dead:
            raise Failure("died")

    # The stream.

    def write(self, data, deadline):
        data = memoryview(data)
        while data:
            room = self.room() or self.sleep(
                self.room, self.position + min(len(data), self.capacity // 4) - self.capacity, self.ask_peer, deadline)
            if room < 0:
                raise Failure("closed")
            count, index = min(room, len(data)), self.position & self.capacity - 1
            first = min(count, self.capacity - index)
            self.ring[index:index + first] = data[:first]
            self.ring[:count - first] = data[first:count]
            self.position = self.position + count & M64
            self.m.store(self.at("position"), self.position, RELEASE)
            self.wake(self.position)
            data = data[count:]

    def room(self):
        """Bytes of room; None if there are none, and less than 0 if the consumer has left."""
        closed = self.m.load(self.at("closed", self.peer), ACQUIRE)
        if closed not in (0, self.before) and how_closed(closed) and not self.persistent:
            return -1
        head = self.m.load(self.at("position", self.peer), ACQUIRE)
        used = self.position - head & M64
        if used > self.capacity:
            raise Corrupted("HeadOutOfRange")
        if used > self.position - self.known & M64:
            raise Corrupted("HeadMovedBack")
        self.known = head
        return self.capacity - used or None

    def look(self):
        """Loads and checks the tail. Bytes that can be read."""
        tail = self.m.load(self.at("position", self.peer), ACQUIRE)
        readable = tail - self.position & M64
        if readable > self.capacity:
            raise Corrupted("TailOutOfRange")
        if readable < self.known - self.position & M64:
            raise Corrupted("TailMovedBack")
        return tail, readable

    def readable(self):
        """Bytes of the stream; 0 at its end; None if there are none yet."""
        accepted = self.limit - self.position & M64
        if accepted or self.ending:
            return accepted
        self.known, readable = self.look()
        self.limit = self.known
        if self.persistent:
            count = self.m.load(C["producer_marks"], ACQUIRE)
            unread = count - self.acknowledged & M64
            if unread > C["marks"] - 1:
                raise Corrupted("MarkCount")
            if unread:
                self.known, readable = self.look()
                place = self.place(self.acknowledged)
                position, ending = self.m.load(place), self.m.load(place + 8)
                before = position - self.position & M64
                if before > readable:
                    raise Corrupted("MarkOutOfRange")
                self.limit, self.ending, readable = position, how_ended(ending), before
                return readable
        elif not readable:
            how = how_closed(self.m.load(self.at("closed", self.peer), ACQUIRE))
            if how:
                self.known, readable = self.look()
                self.limit, self.ending = self.known, (how, 0)
                return readable
        return readable or None

    def read(self, most, deadline):
        """Some bytes; none at the end of the stream."""
        count = self.readable()
        if count is None:
            count = self.sleep(self.readable, self.position + 1, self.ask_peer, deadline)
        count, index = min(count, most), self.position & self.capacity - 1
        first = min(count, self.capacity - index)
        data = bytes(self.ring[index:index + first]) + bytes(self.ring[:count - first])
        if count:
            self.position = self.position + count & M64
            self.m.store(self.at("position"), self.position, RELEASE)
            self.wake(self.position)
        return data

    def acknowledge(self):
        self.acknowledged = self.acknowledged + 1 & M64
        self.ending = None
        self.m.store(C["consumer_marks"], self.acknowledged, RELEASE)
        fence(SEQ_CST)
        if self.m.load(C["consumer_places"], size=4) & 1:
            getattr(atomic, "__atomic_fetch_add_4")(self.m.base + C["consumer_places"], 1, RELAXED)
            self.m.futex(C["consumer_places"], 1, 0x7FFFFFFF)


# Finding a ring.


def fill(memory, kind, capacity, file, birth, flags, path):
    """The header of a new ring."""
    memory.store(0, C["magic"])
    fence(RELEASE)
    device, inode, project = file
    for name, value, size in (
        ("version", C["version"], 4), ("byte_order", C["byte_order"], 4), ("line", C["line"], 4), ("kind", kind, 4),
        ("capacity", capacity, 8), ("ring_offset", C["ring"], 8),
        ("nonce", int.from_bytes(os.urandom(8), "little"), 8),
        ("device", device, 8), ("inode", inode, 8), ("project", project, 4), ("flags", flags, 4),
        ("birth", birth, 8),
    ):
        memory.store(C[f"at_{name}"], value, size=size)
    path = os.fsencode(path)[:1024]
    memory.bytes[3072:3072 + len(path)] = path
    memory.store(C["at_state"], C["open"], RELEASE)


def refuse(memory):
    """Why the header is not that of a ring; None if it is."""
    load4 = lambda name: memory.load(C[f"at_{name}"], size=4)
    if memory.load(0) != C["magic"]:
        return "no magic"
    for name in ("byte_order", "version", "line"):
        if load4(name) != C[name]:
            return f"{name.replace('_', ' ')} {load4(name):#x}"
    if load4("required"):
        return f"unknown features {load4('required'):#x}"
    if load4("kind") not in (C["anonymous"], C["named"], C["persistent"]):
        return f"life cycle {load4('kind')}"
    capacity = memory.load(C["at_capacity"])
    if memory.load(C["at_ring_offset"]) != C["ring"] or capacity < C["smallest"] or capacity & capacity - 1 \
            or C["ring"] + capacity != memory.size:
        return f"size {capacity}"
    return None


def untrusted(stat):
    if stat.uid != os.geteuid() or stat.cuid != os.geteuid() or stat.mode & ~0o600:
        return "untrusted"
    ring = stat.size - C["ring"]
    return "no magic" if ring < C["smallest"] or ring & ring - 1 else None


def key_of(project, device, inode):
    return project << C["key_project"] | (device & 0xFF) << 16 | inode & 0xFFFF


def birth_of(path, flags=0, fd=-100):
    """When a file was made, in nanoseconds since 1970; 0 if unknown."""
    found = ctypes.create_string_buffer(256)
    if libc.statx(fd, os.fsencode(path), flags, STATX_BTIME, found) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", found, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", found, 80)
    return seconds * 10**9 + nanoseconds if mask & STATX_BTIME and seconds >= 0 else 0


class Opener:
    def __init__(self, a, deadline):
        self.a, self.deadline, self.path, self.role = a, deadline, a["path"], a["role"]
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        stat = os.fstat(self.fd)
        self.file = stat.st_dev, stat.st_ino, int(a["project"])
        self.birth = birth_of("", AT_EMPTY_PATH, self.fd)
        self.key = ctypes.c_int32(key_of(self.file[2], stat.st_dev, stat.st_ino)).value
        self.kind, self.newborn_since = C[a["kind"]], None

    def open(self):
        while True:
            try:
                ring = self.join()
                if self.kind == C["named"] and a_true(self.a["wait"]):
                    self.await_peer(ring)
                return ring
            except StartOver:
                self.deadline.pause("each try met a ring that was being made or removed")

    def join(self):
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                self.deadline.pause("the lock of the file")
        try:
            number = libc.shmget(self.key, 0, 0)
            if number < 0:
                if ctypes.get_errno() != ENOENT:
                    raise Failure(f"shmget: {os.strerror(ctypes.get_errno())}")
                return self.create()
            memory = self.judge(number)
            return self.create() if memory is None else self.join_live(memory)
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    def create(self):
        capacity, flags = int(self.a["capacity"]), 0
        if capacity:
            flags |= C["explicit"]
        if self.kind == C["named"] and not a_true(self.a["wait"]):
            flags |= C["unwaited"]
        capacity = capacity or 4 << 20
        number = libc.shmget(self.key, C["ring"] + capacity, IPC_CREAT | IPC_EXCL | 0o600)
        if number < 0:
            if ctypes.get_errno() == EEXIST:
                raise StartOver
            raise Failure(f"shmget: {os.strerror(ctypes.get_errno())}")
        try:
            memory = Memory(number)
        except OSError:
            raise StartOver from None
        fill(memory, self.kind, capacity, self.file, self.birth, flags, self.path)
        return self.take(memory)

    def take(self, memory):
        ring = Ring(memory, self.role, self.kind, self.a["level"], a_true(self.a["resume"]))
        try:
            ring.claim(self.deadline, lambda: fcntl.flock(self.fd, fcntl.LOCK_UN))
        except BaseException:
            ring.ring.release()
            memory.detach()
            raise
        return ring

    def judge(self, number):
        """The memory of a live ring, or None if there is no ring."""
        try:
            memory = Memory(number)
        except OSError as error:
            if error.errno in (EINVAL, EIDRM):
                return None
            raise Failure(f"attach: {error}") from None
        try:
            return self.judge_attached(memory)
        except BaseException:
            memory.detach()
            raise

    def judge_attached(self, memory):
        stat = memory.stat
        if stat.key != self.key or stat.dest:
            memory.detach()
            return None
        if untrusted(stat):
            raise Failure(untrusted(stat))
        word = memory.load(C["at_state"], ACQUIRE)
        stat = Stat(memory.id)
        alone = stat.nattch == 1
        magic, version = memory.load(0), memory.load(C["at_version"], size=4)
        empty = memory.read_only_zero(0, 128)
        if life(word) == C["unborn"] and (empty or magic == C["magic"] and version in (0, C["version"])):
            end = 3072 if magic else memory.size
            if alone and is_gone(stat.cpid, namespace("pid")):
                if not memory.read_only_zero(128, end):
                    raise Failure("not a ring: no magic")
                remove(memory.id)
                raise StartOver
            self.newborn_since = self.newborn_since or time.monotonic()
            if time.monotonic() - self.newborn_since > 1:
                raise Failure("half made")
            raise StartOver
        why = refuse(memory)
        if why:
            raise Failure(f"not a ring: {why}")
        ring_file = (memory.load(C["at_device"]), memory.load(C["at_inode"]), memory.load(C["at_project"], size=4))
        births = memory.load(C["at_birth"]), self.birth
        if ring_file != self.file or 0 not in births and births[0] != births[1]:
            raise Failure("collision")
        kind = memory.load(C["at_kind"], size=4)
        if kind == C["anonymous"] or life(word) not in (C["open"], C["paired"], C["replaced"], C["removed"]):
            raise Failure("not a ring: state")
        named = kind == C["named"]
        if life(word) == C["removed"] or named and life(word) in (C["paired"], C["replaced"]):
            remove(memory.id)
            raise StartOver
        if life(word) == C["replaced"]:
            raise Failure("not a ring: state")
        held = [role for role in ROLES if tenure(word, role) == C["held"]]
        if named and (alone or held and all(Holder(memory, role).is_gone() for role in held)):
            if memory.swap(C["at_state"], word, with_life(word, C["removed"]), ACQ_REL) == word:
                remove(memory.id)
            raise StartOver
        return memory

    def join_live(self, memory):
        kind, flags = memory.load(C["at_kind"], size=4), memory.load(C["at_flags"], size=4)
        capacity, asked = memory.load(C["at_capacity"]), int(self.a["capacity"])
        why = None
        if (kind == C["persistent"]) != (self.kind == C["persistent"]):
            why = "life cycle mismatch"
        elif asked and asked != capacity:
            why = "capacity mismatch"
            if kind == C["named"] and not flags:
                ring = Ring(memory, self.role, kind, self.a["level"])
                _, after = ring.change(
                    lambda word: with_life(word, C["replaced"]) if life(word) == C["open"] else None)
                if after is not None:
                    ring.wake_always()
                    ring.peer = self.role
                    ring.wake_always()
                    remove(memory.id)
                    ring.ring.release()
                    memory.detach()
                    raise StartOver
                ring.ring.release()
        if why:
            memory.detach()
            raise Failure(why)
        return self.take(memory)

    def await_peer(self, ring):
        def ready():
            return life(ring.state()) if life(ring.state()) != C["open"] else None

        def ask():
            at_path = os.stat(self.path)
            same = (at_path.st_dev, at_path.st_ino) == self.file[:2] and birth_of(self.path) == self.birth
            if Stat(ring.m.id).dest or not same:
                raise StartOver

        try:
            ring.sleep(ready, M64, ask, self.deadline)
        except (Failure, StartOver, OSError):
            _, after = ring.change(
                lambda word: None if life(word) == C["paired"] else with_life(word, C["removed"]))
            if after is not None:
                remove(ring.m.id)
                raise
        remove(ring.m.id)
        if life(ring.state()) != C["paired"]:
            ring.ring.release()
            ring.m.detach()
            raise StartOver


def a_true(value):
    return value == "1"


def attach_id(a, deadline):
    memory = Memory(int(a["id"]))
    if untrusted(memory.stat) or refuse(memory):
        raise Failure(f"not a ring: {untrusted(memory.stat) or refuse(memory)}")
    ring = Ring(memory, a["role"], memory.load(C["at_kind"], size=4), a["level"])
    ring.claim(deadline)
    return ring


def make_anonymous(a, deadline):
    """Makes a ring, says its id and nonce, and takes its end."""
    capacity = int(a["capacity"]) or 65536
    memory = Memory(libc.shmget(0, C["ring"] + capacity, IPC_CREAT | IPC_EXCL | 0o600))
    remove(memory.id)
    fill(memory, C["anonymous"], capacity, (0, 0, 0), 0, 0, "")
    print(f"made: {memory.id} {memory.load(C['at_nonce']):016x}", flush=True)
    ring = Ring(memory, a["role"], C["anonymous"], a["level"])
    ring.claim(deadline)
    return ring


def from_parent(a, deadline):
    """Takes the end that the environment hands over."""
    for entry in os.environ.get("SHMPIPE_RING", "").split(","):
        parts = entry.split(":")
        if not entry.startswith("-") and len(parts) == 3 and parts[2] == a["role"]:
            ring = attach_id(dict(a, id=parts[0]), deadline)
            if f"{ring.m.load(C['at_nonce']):016x}" != parts[1]:
                raise Failure("gone")
            return ring
    raise Failure("nothing was handed over")


# The bytes that the tests send: a table of a prime length, again and again.

PERIOD = 65521


def table():
    words, result = [], bytearray()
    for index in range((PERIOD + 7) // 8):
        word = (index + 0x5EED) * 0x9E3779B97F4A7C15 & M64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & M64
        word = (word ^ word >> 27) * 0x94D049BB133111EB & M64
        result += (word ^ word >> 31).to_bytes(8, "little")
    return bytes(result[:PERIOD])


def run(a):
    deadline = Deadline(float(a["timeout"]))
    if a["kind"] == "anonymous":
        how = {"": make_anonymous, "parent": from_parent}.get(a["id"], attach_id)
        ring = how(a, deadline)
    else:
        ring = Opener(a, deadline).open()
    print("opened", flush=True)
    pattern, block, total = table(), int(a["block"]), int(a["bytes"])
    twice = pattern * (2 + block // PERIOD)
    done, digest, results = int(a["start"]), 0, []
    if ring.role == "producer":
        while done < total:
            count, at = min(block, total - done), done % PERIOD
            data = twice[at:at + count]
            ring.write(data, deadline)
            digest, done = zlib.crc32(data, digest), done + count
        results.append(f"wrote bytes={done} digest={digest:08x}")
    else:
        for _ in range(int(a["streams"])):
            done, digest, ended = int(a["start"]), 0, "enough"
            while not total or done < total:
                try:
                    data = ring.read(min(block, total - done) if total else block, deadline)
                except Failure as failure:
                    if str(failure) != "died":
                        raise
                    ended = "died"
                    break
                if not data:
                    ended = ring.ending[0]
                    break
                at = done % PERIOD
                if data != twice[at:at + len(data)]:
                    raise Failure(f"wrong bytes at {done}")
                digest, done = zlib.crc32(data, digest), done + len(data)
            results.append(f"{ended} bytes={done} digest={digest:08x}")
            if ring.persistent and ring.ending and len(results) < int(a["streams"]):
                ring.acknowledge()
    print(f"peer: {'; '.join(results)}", flush=True)
    if a["end"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if a["end"] == "stay":
        time.sleep(600)
    ring.leave("aborted" if a["end"] == "abort" else "finished")


class Image(Memory):
    """A header as data, and no ring."""

    def __init__(self, words):
        self.kept, self.size = ctypes.create_string_buffer(3 * 4096), 8192
        self.base = ctypes.addressof(self.kept) + 4095 & ~4095
        for word in words:
            offset, value = word.split(":")
            self.store(int(offset), int(value, 0))


def name_of(value, *names):
    return next(name for name in names if C[name] == value)


def read_header(m):
    """All that a header says, in one line."""
    if refuse(m):
        return refuse(m)
    word, said = m.load(C["at_state"]), []
    for name, size in (("kind", 4), ("capacity", 8), ("nonce", 8), ("device", 8), ("inode", 8), ("project", 4),
                       ("flags", 4), ("birth", 8)):
        said.append(f"{name}={m.load(C[f'at_{name}'], size=size)}")
    said.append(f"life={name_of(life(word), 'unborn', 'open', 'paired', 'replaced', 'removed')}")
    for role in ROLES:
        load = lambda what, size=8: m.load(C[f"{role}_{what}"], size=size)
        said.append(f"tenure={name_of(tenure(word, role), 'free', 'held', 'left', 'lost')}")
        said.append(f"generation={generation(word, role)} pid={load('owner') >> C['owner_pid']}")
        said.append(f"whole={int(load('owner') == load('complete'))} start={load('start')}")
        said.append(f"spaces={load('pid_namespace', 4)}/{load('time_namespace', 4)}")
        said.append(f"views={load('views', 4)} capabilities={load('capabilities', 4)} position={load('position')}")
        said.append(f"closed={how_closed(load('closed')) or 'open'} sleeping={load('sleeping', 4)}")
        said.append(f"wanted={load('wanted')} claims={load('claims')} marks={load('marks')}")
    last = Ring.place(m.load(C["producer_marks"]) - 1 & M64)
    said.append(f"hint={m.load(C['consumer_hint'], size=4)} places={m.load(C['consumer_places'], size=4)}")
    said.append(f"last={m.load(last)}:{m.load(last + 8)}")
    return " ".join(said)


def vectors():
    """Answers each line of the input with what this peer makes of it."""
    number = lambda text: int(text, 0)
    for line in sys.stdin:
        what, *words = line.split()
        try:
            if what == "owner":
                answer = f"{owner_word(*map(number, words)):#018x}"
            elif what == "closed":
                answer = how_closed(number(words[0])) or "open"
            elif what == "ending":
                answer = " ".join(map(str, how_ended(number(words[0]))))
            elif what == "key":
                answer = f"{key_of(*map(number, words)):#010x}"
            elif what == "constant":
                answer = str(C[words[0]])
            elif what == "header":
                answer = read_header(Image(words))
            else:
                kind, before = C[words[0]], number(words[-1])
                event, role = what, words[1]
                if event in ("claim", "claim-dead"):
                    after = claimed(before, role, kind, event == "claim-dead")
                else:
                    after = left(before, role, kind)
                answer = after if isinstance(after, str) else f"{after:#018x}"
        except Corrupted:
            answer = "corrupt"
        print(answer, flush=True)


def main():
    answers = sys.argv[1:2] == ["vectors"]
    a = dict(ARGUMENTS, **dict(word.split("=", 1) for word in sys.argv[1 + answers:]))
    if a["mutant"]:
        signal.alarm(int(a["timeout"]) + 2)  # a mutant may do anything, but not for ever
        name, value = a["mutant"].split(":")
        C[name] = int(value, 0)
    if answers:
        return vectors()
    try:
        run(a)
    except Failure as failure:
        print(f"peer: error={failure}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
