"""The other process of the tests."""

import os
import signal
import subprocess
import sys

import shmpipe

# A shell without job control starts what runs beside it with SIGINT ignored, and Python leaves that so.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT = 60.0
what, *rest = sys.argv[1:]
if what == "write":
    path, length, *how = rest
    ring = shmpipe.open_producer(path, create_file=True, timeout=LIMIT)
    ring.write(bytes(n % 251 for n in range(int(length))))
    if how == ["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == ["raise"]:
        raise RuntimeError("in the middle of a stream")
    ring.close()
elif what == "read":
    with shmpipe.open_consumer(rest[0], create_file=True, timeout=LIMIT) as ring:
        print(len(ring.readall()))
elif what == "upper":
    with shmpipe.consumer_from_parent() as inlet, shmpipe.producer_from_parent() as outlet:
        while True:
            data = inlet.read(1000)
            if not data:
                break
            outlet.write(data.upper())
elif what == "taken":
    print("SHMPIPE_RING" in os.environ, flush=True)
    with shmpipe.consumer_from_parent(), shmpipe.producer_from_parent():
        print("SHMPIPE_RING" in os.environ, flush=True)
        grandchild = "import os; print('SHMPIPE_RING' in os.environ)"
        subprocess.run([sys.executable, "-c", grandchild], env=dict(os.environ), check=True)
elif what == "wait":
    path, call = rest
    producer, consumer = shmpipe.pair(capacity=4096)
    if call == "close":
        # The child lives, and takes nothing.
        given = shmpipe.create_producer()
        sleeper = shmpipe.popen(["sleep", "60"], [given])
        given.write(b"unread")
    print("waits", flush=True)
    try:
        if call == "open":
            shmpipe.open_consumer(path, create_file=True)
        elif call == "read":
            consumer.read(1)
        elif call == "write":
            producer.write(bytes(10000))
        elif call == "peek":
            consumer.peek(10)
        elif call == "close":
            given.close()
    except KeyboardInterrupt:
        print("KeyboardInterrupt")
    if call == "close":
        given.close()  # has no effect
        sleeper.kill()
        sleeper.wait()
    producer.close()
    consumer.close()
