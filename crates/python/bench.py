#!/usr/bin/env python3
"""Streams blocks of 1 MiB between two processes: by shmpipe, multiprocessing.Pipe and a Unix socket.

    bench.py [BLOCKS]      prints GB/s of each, one a line

SHMPIPE_LIBRARY names the shared object, if the package is not installed.
"""

import multiprocessing
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "src"))
import shmpipe  # noqa: E402

BLOCK = 1 << 20


def write_ring(address, blocks):
    block = bytes(BLOCK)
    with shmpipe.attach_producer(address) as ring:
        for _ in range(blocks):
            ring.write(block)


def read_ring(blocks):
    buffer, total = bytearray(BLOCK), 0
    with shmpipe.create_consumer() as ring:
        process = start(write_ring, ring.address, blocks)
        ring.peek()  # the clock starts when bytes come
        begin = time.perf_counter()
        while True:
            got = ring.readinto(buffer)
            if not got:
                break
            total += got
        seconds = time.perf_counter() - begin
    process.join()
    return total / seconds


def write_pipe(pipe, blocks):
    block = bytes(BLOCK)
    for _ in range(blocks):
        pipe.send_bytes(block)
    pipe.close()


def read_pipe(blocks):
    reader, writer = multiprocessing.Pipe(duplex=False)
    buffer = bytearray(BLOCK)
    process = start(write_pipe, writer, blocks)
    writer.close()
    reader.poll(None)
    begin = time.perf_counter()
    total = sum(reader.recv_bytes_into(buffer) for _ in range(blocks))
    seconds = time.perf_counter() - begin
    process.join()
    reader.close()
    return total / seconds


def write_socket(end, blocks):
    block = bytes(BLOCK)
    for _ in range(blocks):
        end.sendall(block)
    end.close()


def read_socket(blocks):
    reader, writer = socket.socketpair()
    buffer, total = bytearray(BLOCK), 0
    process = start(write_socket, writer, blocks)
    writer.close()
    reader.recv(1, socket.MSG_PEEK)
    begin = time.perf_counter()
    while True:
        got = reader.recv_into(buffer)
        if not got:
            break
        total += got
    seconds = time.perf_counter() - begin
    process.join()
    reader.close()
    return total / seconds


def start(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


if __name__ == "__main__":
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for name, measure in (("shmpipe", read_ring), ("pipe", read_pipe), ("socket", read_socket)):
        print("%s %.3f" % (name, measure(blocks) / 1e9), flush=True)
