"""Tests of the package shmpipe, with the standard library alone: python -m unittest discover crates/python/tests"""

import asyncio
import gc
import io
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

import shmpipe

#: No test waits for longer, so that a hang ends it.
LIMIT = 60.0
CHILD = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")]

warnings.simplefilter("error", ResourceWarning)


class Streams(unittest.TestCase):
    def setUp(self):
        self.producer, self.consumer = shmpipe.pair(capacity=1 << 16, timeout=LIMIT)
        self.addCleanup(self.consumer.abort)
        self.addCleanup(self.producer.abort)

    def test_bytes_then_the_end(self):
        self.assertEqual(self.producer.write(b"hello"), 5)
        self.assertEqual(self.producer.write(memoryview(b"abc")), 3)
        self.assertEqual(self.producer.write(bytearray()), 0)
        self.assertEqual(self.consumer.read(5), b"hello")
        self.producer.close()
        self.assertEqual(self.consumer.readall(), b"abc")
        self.assertEqual(self.consumer.read(1), b"")
        self.assertTrue(self.consumer.stats().is_at_end)

    def test_it_is_a_raw_stream(self):
        for end, writes in ((self.producer, True), (self.consumer, False)):
            self.assertIsInstance(end, io.RawIOBase)
            self.assertEqual((end.readable(), end.writable(), end.seekable()), (not writes, writes, False))
            self.assertRaises(OSError, end.fileno)  # read(2) of the descriptor would break it
        self.assertRaises(io.UnsupportedOperation, self.producer.read, 1)
        self.assertRaises(io.UnsupportedOperation, self.consumer.write, b"x")

    def test_arrays_and_records_of_other_types(self):
        import array

        numbers = array.array("I", range(100))
        self.assertEqual(self.producer.write(numbers), 400)
        into = array.array("I", bytes(400))
        self.assertEqual(self.consumer.readinto(into), 400)
        self.assertEqual(into, numbers)
        with self.assertRaises(BufferError):
            self.consumer.readinto(b"cannot be written")
        with self.assertRaises(TypeError):
            self.producer.write("text")

    def test_buffered_pickle_and_json(self):
        things = [{"a": list(range(1000))}, "text", None]
        with self.producer.buffered() as out:
            for thing in things:
                pickle.dump(thing, out)
            out.flush()
            inlet = self.consumer.buffered()
            self.assertEqual([pickle.load(inlet) for _ in things], things)
            text = io.TextIOWrapper(out, "utf-8", write_through=True)
            json.dump(things, text)
            text.write("\nlast line")
            text.flush()
            text.detach()
        lines = io.TextIOWrapper(inlet, "utf-8")
        self.assertEqual(json.loads(lines.readline()), things)
        self.assertEqual(lines.read(), "last line")
        lines.close()

    def test_closing_twice(self):
        for end in (self.producer, self.consumer):
            end.close()
            end.close()
            end.abort()  # has no effect
            self.assertTrue(end.closed)
        self.assertRaises(ValueError, self.producer.write, b"x")
        self.assertRaises(ValueError, self.consumer.read, 1)
        self.assertRaises(ValueError, self.consumer.peek)
        self.assertRaises(ValueError, self.producer.stats)
        with self.assertRaises(ValueError):
            with self.producer:
                pass

    def test_timeouts(self):
        self.consumer.timeout = self.producer.timeout = 0
        self.assertIsNone(self.consumer.read(1))
        self.assertIsNone(self.consumer.peek())
        self.assertEqual(self.producer.write(bytes(100000)), 1 << 16)
        self.assertIsNone(self.producer.write(b"x"))
        self.assertIsNone(self.producer.reserve(1))
        self.consumer.timeout = self.producer.timeout = 0.02
        with self.assertRaises(TimeoutError) as raised:
            self.producer.write(b"x")
        self.assertIsInstance(raised.exception, shmpipe.TimedOut)
        self.assertEqual(raised.exception.code, -2)
        self.consumer.readinto(bytearray(1 << 16))
        self.assertRaises(shmpipe.TimedOut, self.consumer.read, 1)
        self.assertEqual(self.producer.write(bytes(100000)), 1 << 16)  # some, then the limit

    def test_exceptions_by_kind(self):
        self.producer.write(b"half")
        self.producer.abort()
        self.assertEqual(self.consumer.read(4), b"half")
        with self.assertRaises(ConnectionAbortedError) as raised:
            self.consumer.read(1)
        self.assertIsInstance(raised.exception, shmpipe.ProducerAborted)
        producer, consumer = shmpipe.pair()
        consumer.close()
        self.assertRaises(shmpipe.ConsumerClosed, producer.write, b"x")
        self.assertRaises(BrokenPipeError, producer.check_peer)
        producer.close()
        with self.assertRaises(shmpipe.PathError) as raised:
            shmpipe.open_producer("/does/not/exist")
        self.assertEqual(raised.exception.errno, 2)
        self.assertRaises(shmpipe.NotHandedOver, shmpipe.producer_from_parent)
        self.assertRaises(shmpipe.InvalidArgument, shmpipe.create_producer, mode=0o7777)
        self.assertRaises(TypeError, shmpipe.create_producer, no_such_option=1)
        self.assertRaises(KeyError, shmpipe.pair, pace="slow")

    def test_an_exception_in_a_block_aborts(self):
        with self.assertRaises(KeyError):
            with self.producer as out:
                out.write(b"half")
                raise KeyError
        self.assertEqual(self.consumer.read(4), b"half")
        self.assertRaises(shmpipe.ProducerAborted, self.consumer.read, 1)
        for size in (10, 1 << 16):  # with the bytes written, and still in the buffer
            producer, consumer = shmpipe.pair(timeout=LIMIT)
            with self.assertRaises(KeyError):
                with producer.buffered(size) as out:
                    out.write(b"half of the bytes")
                    raise KeyError
            self.assertTrue(out.closed)
            with self.assertRaises(shmpipe.ProducerAborted):
                consumer.readall()
            consumer.close()

    def test_an_end_that_nobody_closed_aborts(self):
        producer, consumer = shmpipe.pair(timeout=LIMIT)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            del producer
            gc.collect()
        self.assertEqual([warning.category for warning in warned], [ResourceWarning])
        self.assertRaises(shmpipe.ProducerAborted, consumer.read, 1)
        consumer.close()

    def test_two_threads(self):
        block = bytes(range(256)) * 1024

        def write():
            with self.producer:
                for _ in range(64):
                    self.assertEqual(self.producer.write(block), len(block))

        writer = threading.Thread(target=write)
        writer.start()
        received = self.consumer.readall()
        writer.join()
        self.assertEqual(received, block * 64)

    def test_another_thread_can_close_an_end_that_waits(self):
        failed = []

        def read():
            try:
                self.consumer.read(1)
            except ValueError as error:
                failed.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        while self.consumer.stats().waits == 0:
            time.sleep(0.001)
        for _ in range(20):  # each gets its turn within a slice or two
            began = time.monotonic()
            self.consumer.stats()
            self.assertLess(time.monotonic() - began, LIMIT / 2)
        self.consumer.close()
        reader.join(LIMIT)
        self.assertIsInstance(failed[0], shmpipe.Closed)

    def test_batches(self):
        producer, consumer = shmpipe.pair(batch=4096, timeout=LIMIT)
        producer.write(b"held back")
        consumer.timeout = 0
        self.assertIsNone(consumer.read(1))
        producer.flush()
        self.assertEqual(consumer.read(9), b"held back")
        producer.write(b"last")
        producer.close()
        self.assertEqual(consumer.read(9), b"last")
        consumer.close()


class Loans(unittest.TestCase):
    setUp = Streams.setUp

    def test_room_and_bytes_in_place(self):
        room = self.producer.reserve(5, 100)
        self.assertEqual((len(room), room.readonly), (100, False))
        room[:5] = b"hello"
        self.producer.commit(5)
        with self.assertRaises(ValueError):
            room[0]  # released
        bytes_ = self.consumer.peek(2)
        self.assertEqual((bytes(bytes_), bytes_.readonly), (b"hello", True))
        self.consumer.consume(2)
        self.assertRaises(ValueError, bytes_.tobytes)
        self.assertEqual(bytes(self.consumer.peek(1, 2)), b"ll")
        self.consumer.consume()
        self.producer.close()
        self.assertEqual(bytes(self.consumer.peek(10)), b"o")  # fewer, before the end
        self.consumer.consume()
        self.assertEqual(len(self.consumer.peek(10)), 0)
        self.consumer.consume()

    def test_wrong_lengths(self):
        self.assertRaises(shmpipe.TooLong, self.producer.reserve, (1 << 16) + 1)
        self.assertRaises(ValueError, self.producer.reserve, 2, 1)
        self.assertRaises(ValueError, self.consumer.peek, -1)
        self.assertRaises(ValueError, self.consumer.peek, 0, 0)
        self.producer.reserve(10)
        self.assertRaises(shmpipe.InvalidArgument, self.producer.commit, 11)
        self.assertRaises(ValueError, self.producer.commit)  # the view is released
        self.producer.commit(1)  # and the room is still lent
        self.assertRaises(shmpipe.InvalidArgument, self.producer.commit, 1)

    def test_an_exported_view_is_not_taken_back(self):
        room = self.producer.reserve(8)
        room[:] = b"12345678"
        part = room[4:]
        self.assertRaises(BufferError, self.producer.commit, 8)
        self.assertRaises(BufferError, self.producer.write, b"x")
        self.assertEqual(bytes(part), b"5678")  # still mapped, and not published
        self.consumer.timeout = 0
        self.assertIsNone(self.consumer.read(1))
        del part
        self.producer.commit(8)
        view = self.consumer.peek(8)
        held = memoryview(view)
        self.assertRaises(BufferError, self.consumer.consume, 8)
        held.release()
        del held
        self.consumer.consume(8)

    def test_the_memory_lives_as_long_as_a_view(self):
        self.producer.write(b"kept in place")
        view = self.consumer.peek()
        part = view[5:]
        self.consumer.close()
        self.producer.close()
        del self.consumer, self.producer
        self.doCleanups = lambda: None
        gc.collect()
        self.assertEqual(bytes(view), b"kept in place")
        del view
        gc.collect()
        self.assertEqual(bytes(part), b"in place")

    def test_numpy_without_a_copy(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("not run: there is no numpy")
        room = numpy.frombuffer(self.producer.reserve(800), dtype="u8")
        room[:] = range(100)
        self.assertRaises(BufferError, self.producer.commit, 800)
        del room
        self.producer.commit(800)
        seen = numpy.frombuffer(self.consumer.peek(800), dtype="u8")
        self.assertEqual(int(seen.sum()), 4950)
        self.assertRaises(BufferError, self.consumer.consume, 800)
        del seen
        self.consumer.consume(800)


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="shmpipe-python-")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "ring")

    def child(self, *arguments, **options):
        child = subprocess.Popen(CHILD + list(arguments), **options)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def open(self, kind, **options):
        return getattr(shmpipe, "open_" + kind)(self.path, create_file=True, timeout=LIMIT, **options)

    def test_both_directions_by_path(self):
        self.child("write", self.path, "1000000")
        with self.open("consumer") as ring:
            received = ring.readall()
        self.assertEqual(received, bytes(n % 251 for n in range(1000000)))
        reader = self.child("read", self.path, stdout=subprocess.PIPE)
        with self.open("producer") as ring:
            ring.write(b"x" * 300000)
        self.assertEqual(reader.stdout.read(), b"300000\n")
        reader.stdout.close()

    def test_a_killed_writer_is_no_end(self):
        child = self.child("write", self.path, "1000", "die")
        with self.open("consumer") as ring:
            self.assertEqual(ring.buffered().read(1000), bytes(n % 251 for n in range(1000)))
        child.wait()
        child = self.child("write", self.path, "1000", "die")
        ring = self.open("consumer")
        with self.assertRaises(shmpipe.PeerDied) as raised:
            ring.readall()
        self.assertIsInstance(raised.exception, BrokenPipeError)
        self.assertEqual(ring.peer().state, "dead")
        ring.close()

    def test_an_uncaught_exception_is_no_end(self):
        self.child("write", self.path, "1000", "raise", stderr=subprocess.DEVNULL)
        with self.open("consumer") as ring:
            with self.assertRaises(shmpipe.ProducerAborted):
                ring.readall()

    def test_ctrl_c_ends_a_wait(self):
        for what in ("open", "read", "write", "peek"):
            child = self.child("wait", self.path, what, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(child.stdout.readline(), b"waits\n")
            time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            out, error = child.communicate(timeout=LIMIT)
            self.assertEqual((out, error), (b"KeyboardInterrupt\n", b""), what)

    def test_a_flag_ends_a_wait(self):
        flag = shmpipe.Flag()
        timer = threading.Timer(0.05, flag.set)
        timer.start()
        self.assertRaises(shmpipe.Cancelled, self.open, "producer", cancel=flag)
        timer.join()
        flag.clear()
        producer, consumer = shmpipe.pair(cancel=flag)
        flag.set()
        self.assertRaises(shmpipe.Cancelled, consumer.read, 1)
        producer.close()
        consumer.close()

    def test_opening_alone_times_out(self):
        with self.assertRaises(shmpipe.TimedOut):
            shmpipe.open_producer(self.path, create_file=True, timeout=0.05)
        with self.assertRaises(shmpipe.TimedOut):
            shmpipe.open_producer(self.path, timeout=0)

    def test_multiprocessing_by_fork_and_spawn(self):
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with shmpipe.create_consumer(timeout=LIMIT) as ring:
                process = context.Process(target=_write_there, args=(ring.address, 1000))
                process.start()
                self.assertEqual(ring.readall(), b"y" * 1000)
                process.join()
                self.assertEqual(process.exitcode, 0)

    def test_a_forked_copy_is_inert(self):
        producer, consumer = shmpipe.pair(timeout=LIMIT)
        child = os.fork()
        if child == 0:
            try:
                for call in (lambda: producer.write(b"x"), lambda: consumer.read(1), consumer.stats):
                    try:
                        call()
                        os._exit(1)
                    except shmpipe.Inherited:
                        pass
                producer.close()
                consumer.abort()
                del producer, consumer
                gc.collect()
                os._exit(0)
            finally:
                os._exit(2)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        producer.write(b"still ours")
        self.assertEqual(consumer.read(20), b"still ours")
        producer.close()
        self.assertEqual(consumer.read(1), b"")
        consumer.close()

    def test_an_end_is_not_pickled_but_its_address_is(self):
        with shmpipe.create_producer() as ring:
            self.assertRaises(TypeError, pickle.dumps, ring)
            self.assertEqual(pickle.loads(pickle.dumps(ring.address)), ring.address)
            at, nonce = ring.address
            self.assertRaises(shmpipe.Removed, shmpipe.attach_consumer, (at, nonce ^ 1))
            self.assertRaises(shmpipe.RoleTaken, shmpipe.attach_producer, ring.address)

    def test_a_child_gets_a_ring_in_each_direction(self):
        producer, consumer, child = shmpipe.spawn_duplex(CHILD + ["upper"])
        with producer:
            producer.write(b"some words")
        self.assertEqual(consumer.readall(), b"SOME WORDS")
        consumer.close()
        self.assertEqual(child.wait(), 0)
        self.assertNotIn("SHMPIPE_RING", os.environ)

    def test_a_child_that_takes_nothing_is_noticed(self):
        producer, consumer, child = shmpipe.spawn_duplex(["true"])
        child.wait()
        self.assertRaises(shmpipe.NeverCame, consumer.read, 1)
        producer.abort()
        consumer.close()
        with self.assertRaises(FileNotFoundError):
            shmpipe.spawn_duplex(["/does/not/exist"])

    def test_persistent_streams(self):
        for text in (b"one", b"two"):
            with self.open("producer", persistent=True) as ring:
                ring.write(text)
        with self.open("consumer", persistent=True) as ring:
            self.assertEqual(ring.readall(), b"one")
            self.assertRaises(shmpipe.InUse, shmpipe.remove, self.path)
            self.assertTrue(ring.next_stream())
            self.assertRaises(shmpipe.NotEnded, ring.next_stream)
            self.assertEqual(ring.readall(), b"two")
        self.assertRaises(shmpipe.Mismatch, self.open, "producer", persistent=True, capacity=1 << 20)
        shmpipe.remove(self.path)
        self.assertRaises(shmpipe.NoRing, shmpipe.remove, self.path)

    def test_asyncio_reads_and_writes_by_the_descriptor(self):
        child = shmpipe.create_producer(capacity=4096), shmpipe.create_consumer(capacity=4096)
        process = shmpipe.popen(CHILD + ["upper"], child)
        producer, consumer = child
        producer.timeout = consumer.timeout = 0

        async def write(data):
            loop, view = asyncio.get_running_loop(), memoryview(data)
            while view:
                written = producer.write(view)
                if written is None:
                    await _readable(loop, producer.poll_fd())
                else:
                    view = view[written:]
            producer.close()

        async def read():
            loop, received = asyncio.get_running_loop(), []
            while True:
                data = consumer.read(65536)
                if data is None:
                    await _readable(loop, consumer.poll_fd())
                elif not data:
                    return b"".join(received)
                else:
                    received.append(data)

        async def both():
            return (await asyncio.wait_for(asyncio.gather(write(b"abc" * 30000), read()), LIMIT))[1]

        self.assertEqual(asyncio.run(both()), b"ABC" * 30000)
        consumer.close()
        self.assertEqual(process.wait(), 0)


async def _readable(loop, descriptor):
    ready = loop.create_future()
    loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _write_there(address, length):
    with shmpipe.attach_producer(address, timeout=LIMIT) as ring:
        ring.write(b"y" * length)


class Declarations(unittest.TestCase):
    """The package repeats a part of shmpipe.h. That part is compared here."""

    HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "capi", "include", "shmpipe.h")

    def header(self):
        if not os.path.exists(self.HEADER):
            self.skipTest("not run: the tests are not in a copy of the repository")
        with open(self.HEADER, encoding="utf-8") as file:
            return file.read()

    def test_each_code_has_a_kind(self):
        import re

        codes = {int(number) for number in re.findall(r"^    SHMPIPE_\w+ = (-\d+)", self.header(), re.M)}
        self.assertGreater(len(codes), 25)
        self.assertEqual(codes - {-1}, set(shmpipe._errors.KINDS))

    def test_each_struct_has_the_fields_of_the_header(self):
        import re

        from shmpipe import _library

        structs = (("options", _library.Options), ("stats", _library.Stats), ("occupant", _library.Occupant))
        for name, struct in structs:
            body = re.search(r"typedef struct shmpipe_%s \{(.*?)\}" % name, self.header(), re.S).group(1)
            body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
            declared = [field.split()[-1].lstrip("*") for field in body.split(";") if field.strip()]
            self.assertEqual(declared, [field for field, _ in struct._fields_], name)

    def test_each_function_has_the_arguments_of_the_header(self):
        import re

        from shmpipe import _library

        code = re.sub(r"/\*.*?\*/", "", self.header(), flags=re.S)
        for name, _, arguments in _library._FUNCTIONS:
            declared = re.search(r"\bshmpipe_%s\((.*?)\);" % name, code, re.S).group(1)
            count = 0 if declared == "void" else declared.count(",") + 1
            self.assertEqual(count, len(arguments), name)


if __name__ == "__main__":
    unittest.main()
