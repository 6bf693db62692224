#!/usr/bin/env python3
"""Measures Kafka servers beside each other with Kafka's own load tools.

    compare.py --kafka DIR kafka=127.0.0.1:9092:PID warren=127.0.0.1:9093:PID [ROW ...]

DIR has Kafka's jars. The servers run already; PID is a server's process. Every row runs on each server in turn, `--runs`
times, and prints medians: the rate or the times, the server's CPU time for each record, and the most memory that it had
in the row. What the rows are: ROWS below, and README.md.
"""

import argparse
import functools
import itertools
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers import Server  # noqa: E402

# Of topics.
serial = itertools.count(1)


def new_topic(server, partitions=1):
    """Created and usable."""
    name = f"bench-{os.getpid()}-{next(serial)}"
    client = Client(server)
    client.create(name, partitions)
    client.await_usable(name, partitions)
    client.close()
    return name


def drop_topic(server, name):
    client = Client(server)
    client.ask(20, 1, array([string(name)]) + struct.pack(">i", 60_000))
    client.close()


# --- as much of the protocol as the rows need that have no tool ----------------------------


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def blob(data):
    return struct.pack(">i", len(data)) + data


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@functools.lru_cache
def batch(size):
    """A record batch of one record with a value of `size` bytes."""

    def varint(value):
        value = value << 1 ^ value >> 63
        out = b""
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    record = b"\0\0\0" + varint(-1) + varint(size) + b"x" * size + b"\0"
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + varint(len(record)) + record
    return struct.pack(">qiibI", 0, 9 + len(body), 0, 2, crc32c(body)) + body


class Client:
    """One connection, one request at a time."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, key, version, body):
        request = struct.pack(">hhi", key, version, 0) + string("bench") + body
        self.socket.sendall(blob(request))

    def receive(self):
        size = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(size)[4:]

    def ask(self, key, version, body):
        self.send(key, version, body)
        return self.receive()

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the server has closed the connection")
            data += part
        return bytes(data)

    def close(self):
        self.socket.close()

    def create(self, topic, partitions):
        asked = string(topic) + struct.pack(">ih", partitions, 1) + array([]) + array([])
        answer = self.ask(19, 2, array([asked]) + struct.pack(">ib", 60_000, 0))
        code = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))[0]
        if code:
            raise RuntimeError(f"CreateTopics: error {code}")

    def await_usable(self, topic, partitions):
        """Until ListOffsets answers for every partition."""
        asked = [struct.pack(">iq", number, -1) for number in range(partitions)]
        request = struct.pack(">i", -1) + array([string(topic) + array(asked)])
        while True:
            answer = self.ask(2, 1, request)
            at = 4 + 2 + len(topic) + 4
            if all(struct.unpack_from(">h", answer, at + 22 * n + 4)[0] == 0 for n in range(partitions)):
                return
            time.sleep(0.005)

    def produce_body(self, topic, data):
        """With acks=all."""
        asked = string(topic) + array([struct.pack(">i", 0) + blob(data)])
        return struct.pack(">hhi", -1, -1, 30_000) + array([asked])

    def produce(self, topic, data):
        answer = self.ask(0, 7, self.produce_body(topic, data))
        code, offset = struct.unpack_from(">hq", answer, 4 + 2 + len(topic) + 4 + 4)
        if code:
            raise RuntimeError(f"Produce: error {code}")
        return offset

    def fetch_body(self, topic, offset, wait_ms):
        asked = string(topic) + array([struct.pack(">iqi", 0, offset, 1 << 20)])
        return struct.pack(">iiiib", -1, wait_ms, 1, 50 << 20, 0) + array([asked])

    def fetch(self, topic, offset, wait_ms):
        """The offsets of the records, each of which is a batch of its own."""
        answer = self.ask(1, 4, self.fetch_body(topic, offset, wait_ms))
        at = 4 + 4 + 2 + len(topic) + 4
        code = struct.unpack_from(">h", answer, at + 4)[0]
        if code:
            raise RuntimeError(f"Fetch: error {code}")
        at += 4 + 2 + 8 + 8
        at += 4 + 16 * max(struct.unpack_from(">i", answer, at)[0], 0)
        end = at + 4 + struct.unpack_from(">i", answer, at)[0]
        at += 4
        offsets = []
        while at + 12 <= end:
            base, length = struct.unpack_from(">qi", answer, at)
            offsets.append(base)
            at += 12 + length
        return offsets


# --- rows ----------------------------------------------------------------------------------


def tool(options, name, *arguments):
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    java = ["java", "-Xmx512M", quiet, "-cp", str(Path(options.kafka, "*")), f"org.apache.kafka.tools.{name}"]
    ran = subprocess.run([*java, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    if ran.returncode:
        raise RuntimeError(f"{name}: {ran.stdout[-500:]}{ran.stderr[-500:]}")
    return ran.stdout


def fill(options, server, topic, records, size, *properties):
    what = ["--topic", topic, "--num-records", records, "--record-size", size, "--throughput", "-1"]
    properties = [f"bootstrap.servers={server.address}", *properties]
    return tool(options, "ProducerPerformance", *what, "--producer-props", *properties)


def produce(options, server, size, partitions, *properties):
    """ProducerPerformance."""
    topic, records = new_topic(server, partitions), options.records * 1024 // max(size, 256)
    with Meter(server) as meter:
        output = fill(options, server, topic, records, size, *properties)
    drop_topic(server, topic)
    rate = float(re.findall(r"([\d.]+) records/sec", output)[-1])
    return {"rec/s": rate, **meter.per_record(records)}


def consume(options, server, size, partitions, *properties, records=None):
    """ConsumerPerformance, from the first record to the last; the join of the group is not in it."""
    records = records or options.records * 1024 // max(size, 256)
    topic = new_topic(server, partitions)
    fill(options, server, topic, records, size, "acks=1", *properties)
    if records > options.records * 4:
        drop_page_cache()
    what = ["--bootstrap-server", server.address, "--topic", topic, "--group", topic]
    with Meter(server) as meter:
        output = tool(options, "ConsumerPerformance", *what, "--messages", records, "--timeout", 60_000)
    drop_topic(server, topic)
    row = next(line for line in reversed(output.splitlines()) if re.match(r"\d{4}-", line)).split(",")
    if int(row[4]) < records:
        raise RuntimeError(f"{row[4]} of {records} records")
    return {"rec/s": float(row[9]), **meter.per_record(records)}


def head(options, server):
    """As much as `--head-gib`, written and then read from its head, when nothing of it is in the page cache."""
    return consume(options, server, 1024, 1, records=options.head_gib << 20)


def drop_page_cache():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def latency(options, server):
    """1,000 records of 1 KiB a second, acks=all; from when each was due until a waiting Fetch has it."""
    topic, count, rate = new_topic(server), 5_000, 1_000
    sender, receiver = Client(server), Client(server)
    sender.produce(topic, batch(1024))
    receiver.fetch(topic, 0, 500)
    due, times = {}, []
    with Meter(server) as meter:
        started = time.perf_counter() + 0.01

        def send():
            for i in range(count):
                at = started + i / rate
                time.sleep(max(at - time.perf_counter(), 0))
                due[i + 1] = at
                sender.send(0, 7, sender.produce_body(topic, batch(1024)))

        def confirm():
            for _ in range(count):
                sender.receive()

        threads = [threading.Thread(target=send), threading.Thread(target=confirm)]
        for thread in threads:
            thread.start()
        offset = 1
        while offset <= count:
            for offset in receiver.fetch(topic, offset, 500):
                times.append((time.perf_counter() - due[offset]) * 1e3)
                offset += 1
        for thread in threads:
            thread.join()
    times = sorted(times[rate:])  # the first second warms up
    return {"p50 ms": times[len(times) // 2], "p99 ms": times[len(times) * 99 // 100], **meter.per_record(count)}


def partitions_1000(options, server):
    """A topic of 1,000 partitions, until ListOffsets answers for each."""
    with Meter(server) as meter:
        started = time.perf_counter()
        topic = new_topic(server, 1000)
        usable = (time.perf_counter() - started) * 1e3
    drop_topic(server, topic)
    return {"usable ms": usable, **meter.per_record(1000)}


def join(options, server):
    """A new group, from FindCoordinator to the first record."""
    topic = new_topic(server)
    group, first = string(topic), Client(server)
    first.produce(topic, batch(100))
    while struct.unpack_from(">h", first.ask(10, 0, group))[0]:
        time.sleep(0.05)  # the server has to make its offsets topic first
    with Meter(server) as meter:
        started = time.perf_counter()
        client = Client(server)
        client.ask(10, 0, group)
        protocols = array([string("range") + blob(b"")])
        answer = client.ask(11, 2, group + struct.pack(">ii", 45_000, 300_000) + string("") + string("consumer") + protocols)
        code, generation, size = struct.unpack_from(">hih", answer, 4)
        at = 4 + 8 + size
        at += 2 + struct.unpack_from(">h", answer, at)[0]
        member = string(answer[at + 2 : at + 2 + struct.unpack_from(">h", answer, at)[0]].decode())
        asked = group + struct.pack(">i", generation) + member
        client.ask(14, 1, asked + array([member + blob(b"")]))
        client.ask(9, 2, group + array([string(topic) + array([struct.pack(">i", 0)])]))
        if not client.fetch(topic, 0, 500):
            raise RuntimeError("no record")
        took = (time.perf_counter() - started) * 1e3
    client.ask(13, 0, group + member)
    return {"ms": took, **meter.per_record(1)}


def idle_500(options, server):
    """500 consumers that wait for records at one partition, 500 ms at a time, and get none: CPU for ten seconds of it."""
    topic = new_topic(server)
    clients = [Client(server) for _ in range(500)]
    stop = threading.Event()

    def wait(some):
        for client in some:
            client.send(1, 4, client.fetch_body(topic, 0, 500))
        while not stop.is_set():
            for client in some:
                client.receive()
                client.send(1, 4, client.fetch_body(topic, 0, 500))

    threads = [threading.Thread(target=wait, args=[clients[i::5]], daemon=True) for i in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    with Meter(server) as meter:
        time.sleep(10)
    stop.set()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    return {"CPU %": meter.cpu_us / 1e5, "MiB": meter.peak_mib}


ROWS = {
    "produce_100": lambda o, s: produce(o, s, 100, 1, "acks=1"),
    "produce_100_all": lambda o, s: produce(o, s, 100, 1, "acks=all"),
    "produce_1k": lambda o, s: produce(o, s, 1024, 1, "acks=1"),
    "produce_1k_all": lambda o, s: produce(o, s, 1024, 1, "acks=all"),
    "produce_1k_12p": lambda o, s: produce(o, s, 1024, 12, "acks=1"),
    "produce_1k_12p_all": lambda o, s: produce(o, s, 1024, 12, "acks=all"),
    "produce_1k_lz4": lambda o, s: produce(o, s, 1024, 1, "acks=all", "compression.type=lz4"),
    "produce_100k": lambda o, s: produce(o, s, 100 << 10, 1, "acks=all", "batch.size=1000000"),
    "consume_100": lambda o, s: consume(o, s, 100, 1),
    "consume_100_12p": lambda o, s: consume(o, s, 100, 12),
    "consume_1k": lambda o, s: consume(o, s, 1024, 1),
    "consume_1k_12p": lambda o, s: consume(o, s, 1024, 12),
    "consume_100k": lambda o, s: consume(o, s, 100 << 10, 1, "batch.size=1000000"),
    "head_1k": head,
    "latency": latency,
    "partitions_1000": partitions_1000,
    "join": join,
    "idle_500": idle_500,
}


class Meter:
    """The server's CPU time, and its peak of memory, in a `with`."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.forget_peak()
        self.before = self.server.cpu_us()
        return self

    def __exit__(self, *exception):
        self.cpu_us = self.server.cpu_us() - self.before
        self.peak_mib = self.server.peak_mib()

    def per_record(self, records):
        return {"CPU us": self.cpu_us / records, "MiB": self.peak_mib}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers_and_rows", nargs="+", metavar="NAME=HOST:PORT:PID | ROW")
    parser.add_argument("--kafka", required=True, metavar="DIR")
    parser.add_argument("--records", type=int, default=500_000, help="of 1 KiB; of other sizes as many bytes, roughly")
    parser.add_argument("--head-gib", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    servers = [server for server in map(Server.given, options.servers_and_rows) if server]
    rows = [row for row in options.servers_and_rows if not Server.given(row)] or ROWS
    for row in rows:
        found = {server.name: [] for server in servers}
        for _ in range(options.runs):
            for server in servers:
                found[server.name].append(ROWS[row](options, server))
        medians = {
            name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
        }
        for name, figures in medians.items():
            first = next(iter(medians.values()))
            cells = (f"{value:12,.2f} {key:9} x{value / first[key] if first[key] else 0:5.2f}" for key, value in figures.items())
            print(f"{row:20}{name:10}" + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
