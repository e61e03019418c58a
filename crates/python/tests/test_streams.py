"""Streams and loans within one process, with the standard library alone: python -m unittest discover crates/python/tests"""

import gc
import io
import json
import pickle
import threading
import time
import unittest
import warnings
import weakref

import shmpipe

from common import LIMIT


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

    def test_an_end_is_not_freed_in_a_call_that_another_thread_overtakes(self):
        for make in ("_now", "_until"):
            producer, consumer = shmpipe.pair()
            handle, alive = weakref.ref(consumer._handle), []

            def call(pointer, *limit):
                consumer._forget()  # the last step of a close
                gc.collect()
                alive.append(handle() is not None)
                return 0

            getattr(consumer, make)(*([None] if make == "_until" else []), call)
            self.assertEqual(alive, [True], make)
            self.assertIsNone(handle(), make)  # freed once the call is over
            producer.close()

    def test_a_reader_that_takes_little_does_not_prolong_a_write(self):
        self.producer.timeout = 0.02
        self.producer._until = lambda *_: 1  # there is always room for one byte
        written = self.producer.write(bytes(1 << 22))
        self.assertTrue(0 < written < 1 << 22, written)

    def test_limits_that_c_cannot_express(self):
        self.producer.write(b"abc")
        for limit in (float("inf"), 1e300, 1e10):
            self.consumer.timeout = limit
            self.assertEqual(self.consumer.read(1), b"a" if limit == float("inf") else b"b" if limit == 1e300 else b"c")
            for end in shmpipe.pair(timeout=limit):
                end.close()
        self.consumer.timeout = -1
        self.assertRaises(shmpipe.TimedOut, self.consumer.read, 1)
        self.assertRaises(ValueError, shmpipe.pair, timeout=float("nan"))

    def test_numbers_are_not_cut_off(self):
        for option, value in (("capacity", 1 << 64), ("capacity", -1), ("batch", 1 << 64), ("mode", 1 << 32)):
            self.assertRaises(ValueError, shmpipe.pair, **{option: value})
        self.assertRaises(ValueError, shmpipe.create_producer, owner=1 << 32)
        self.assertRaises(ValueError, shmpipe.create_producer, project=-1)
        identity, nonce = self.producer.address
        self.assertRaises(ValueError, shmpipe.attach_consumer, (identity + (1 << 32), nonce))
        self.assertRaises(ValueError, shmpipe.attach_consumer, (identity, nonce + (1 << 64)))
        self.assertRaises(ValueError, self.producer.reserve, (1 << 64) + 1)
        self.assertRaises(ValueError, self.consumer.peek, 1, (1 << 64) + 1)
        self.producer.reserve(1)
        self.assertRaises(ValueError, self.producer.commit, (1 << 64) + 1)
        self.assertRaises(ValueError, self.producer.commit, -1)
        self.producer.commit(1)


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

    def test_a_view_outlives_an_end_that_another_thread_closes(self):
        self.producer.write(b"kept")
        lend, consumer = self.consumer._lend, self.consumer
        handle = weakref.ref(consumer._handle)

        def overtaken(*arguments):
            consumer._forget()  # the last step of a close
            return lend(*arguments)

        consumer._lend = overtaken
        view = consumer.peek()
        gc.collect()
        self.assertIsNotNone(handle())
        self.assertEqual(bytes(view), b"kept")
        view.release()
        gc.collect()
        self.assertIsNone(handle())

    def test_each_call_that_moves_bytes_takes_a_loan_back(self):
        self.producer.write(b"ab")
        part = self.consumer.peek(2)[1:]
        for call in (lambda: self.consumer.read(1), self.consumer.peek, self.consumer.consume, self.consumer.next_stream):
            self.assertRaises((BufferError, ValueError), call)
        self.assertRaises(BufferError, self.consumer.next_stream)
        self.assertEqual(bytes(part), b"b")
        part.release()
        self.assertEqual(self.consumer.read(2), b"ab")
