"""Rings between processes: by path, fork, exec, and the descriptor to poll."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import shmpipe

from common import CHILD, LIMIT


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
        for what in ("open", "read", "write", "peek", "close"):
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

    def test_what_was_taken_is_not_passed_on(self):
        producer, consumer, child = shmpipe.spawn_duplex(CHILD + ["taken"], stdout=subprocess.PIPE)
        out, _ = child.communicate(timeout=LIMIT)
        self.assertEqual(out, b"True\nFalse\nFalse\n")
        producer.abort()
        consumer.close()

    def test_a_fork_renews_a_lock_that_another_thread_holds(self):
        producer, consumer = shmpipe.pair(timeout=LIMIT)
        held, over = threading.Event(), threading.Event()

        def hold():
            with consumer._gate, consumer._lock:
                held.set()
                over.wait(LIMIT)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(LIMIT)
        child = os.fork()
        if child == 0:
            try:
                free = consumer._gate.acquire(timeout=5) and consumer._lock.acquire(timeout=5)
                self.assertRaises(shmpipe.Inherited, consumer.read, 1)
                consumer.close()
                os._exit(0 if free else 1)
            finally:
                os._exit(2)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        over.set()
        holder.join()
        producer.close()
        consumer.close()

    def test_a_nul_is_refused(self):
        producer, consumer = shmpipe.create_producer(), shmpipe.create_consumer()
        for call in (
            lambda: shmpipe.open_producer("/tmp\0x"),
            lambda: shmpipe.open_consumer(b"/tmp\0x"),
            lambda: shmpipe.remove("/tmp\0x"),
            lambda: shmpipe.producer_from_parent("a\0b"),
            lambda: shmpipe.popen(["true"], {"a\0b": producer}),
            lambda: shmpipe.popen(["true\0"], [producer]),
            lambda: shmpipe.popen(["true"], [producer], env={"a": "\0"}),
        ):
            self.assertRaises(ValueError, call)
        producer.abort()
        consumer.abort()

    def test_an_empty_environment_stays_empty(self):
        with shmpipe.create_consumer(timeout=LIMIT) as ring:
            for environment in ({}, {b"SHMPIPE_RING": b"old"}):
                child = shmpipe.popen(["/usr/bin/env"], [ring], env=environment, stdout=subprocess.PIPE)
                lines = child.communicate(timeout=LIMIT)[0].decode().splitlines()
                self.assertEqual([line.split("=")[0] for line in lines], ["SHMPIPE_RING"])
                self.assertNotIn("old", lines[0])

    def test_ends_can_be_given_again_if_a_child_cannot_be_started(self):
        producer, consumer = shmpipe.create_producer(timeout=LIMIT), shmpipe.create_consumer(timeout=LIMIT)
        for wrong in (["/does/not/exist"], ["/"]):
            self.assertRaises(OSError, shmpipe.popen, wrong, [producer, consumer])
        child = shmpipe.popen(CHILD + ["upper"], [producer, consumer])
        with producer:
            producer.write(b"again")
        self.assertEqual(consumer.readall(), b"AGAIN")
        consumer.close()
        self.assertEqual(child.wait(), 0)

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
