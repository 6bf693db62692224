#!/usr/bin/env python3
"""How fast the ZeroMQ door takes messages from PUSH and gives them to PULL.

    target/release/warren --data-dir DIR --print-ready &          # or --ephemeral
    python3 benches/zmq/throughput.py --address 127.0.0.1:5555 --pid $!

It speaks ZMTP itself, in blocks of ready-made frames, so that what it measures is the broker: a client library costs more
for each message than the broker does. Prints messages a second, and the broker's CPU time for each, as the kernel counts
it.
"""

import argparse
import os
import socket
import threading
import time

BLOCK_BYTES = 256 * 1024


def connect(address, kind):
    """A connection that has said what it is, and heard the same."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    greeting = (b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01" + b"NULL").ljust(64, b"\0")
    name = kind.encode()
    ready = b"\x05READY\x0bSocket-Type" + len(name).to_bytes(4, "big") + name
    connection.sendall(greeting + bytes([4, len(ready)]) + ready)
    heard = b""
    while len(heard) < 66 or len(heard) < 66 + heard[65]:
        heard += connection.recv(66 + 255 - len(heard))
    return connection


def frame(size):
    head = bytes([0, size]) if size < 256 else b"\x02" + size.to_bytes(8, "big")
    return head + b"x" * size


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def push(address, one, messages):
    connection = connect(address, "PUSH")
    per_block = max(1, BLOCK_BYTES // len(one))
    block = one * per_block
    for _ in range(messages // per_block):
        connection.sendall(block)
    connection.sendall(one * (messages % per_block))
    # Closed when the other side has read everything.
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def pull(address, one, messages, done):
    connection = connect(address, "PULL")
    left = len(one) * messages
    buffer = bytearray(BLOCK_BYTES)
    while left > 0:
        count = connection.recv_into(buffer)
        assert count, "the broker closed"
        left -= count
    done.append(time.perf_counter())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--address", default="127.0.0.1:5555")
    arguments.add_argument("--messages", type=int, default=5_000_000)
    arguments.add_argument("--size", type=int, default=100)
    arguments.add_argument("--pid", type=int, help="the broker's, for its CPU time")
    given = arguments.parse_args()
    one, done = frame(given.size), []
    reader = threading.Thread(target=pull, args=(given.address, one, given.messages, done))
    reader.start()
    before, started = cpu_seconds(given.pid) if given.pid else 0, time.perf_counter()
    writer = threading.Thread(target=push, args=(given.address, one, given.messages))
    writer.start()
    writer.join()
    reader.join()
    seconds = done[0] - started
    line = f"{given.messages} messages of {given.size} bytes in {seconds:.2f} s: {given.messages / seconds:,.0f}/s"
    if given.pid:
        line += f", {(cpu_seconds(given.pid) - before) / given.messages * 1e9:.0f} ns of CPU each"
    print(line)


if __name__ == "__main__":
    main()
