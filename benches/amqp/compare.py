#!/usr/bin/env python3
"""Measures AMQP servers beside each other with RabbitMQ's own load tool, PerfTest.

    compare.py --perftest DIR rabbitmq=127.0.0.1:5672:PID warren=127.0.0.1:5673:PID [ROW ...]

DIR has PerfTest's jars in lib/. The servers run already; PID is a server's first process, whose descendants count, too.
Every row runs on each server in turn, `--runs` times, and prints medians: messages received per second, the server's
CPU time per message, and the latencies that PerfTest tells. What the rows are: ROWS below, and README.md.
"""

import argparse
import json
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers import Server  # noqa: E402

DURABLE = "-f persistent -ad false"
ACKS = "-q 500 -A 100"
BINDINGS = 10_000


@dataclass(frozen=True)
class Row:
    """One load: PerfTest's flags, and what must be declared before."""

    flags: str
    setup: object = None
    # Seconds whose figures do not count: PerfTest and its connections start.
    skip: int = 2


class Client:
    """As much of AMQP 0-9-1 as declares and binds: one channel, no-wait until `done`."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 30)
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect(0x000A000A)
        self.send(0, 0x000A000B, b"\0\0\0\0" + short("PLAIN") + long("\0guest\0guest") + short("en_US"))
        self.expect(0x000A001E)
        self.send(0, 0x000A001F, struct.pack(">HIH", 2047, 131072, 0))
        self.send(0, 0x000A0028, short("/") + b"\0\0")
        self.expect(0x000A0029)
        self.send(1, 0x0014000A, b"\0")
        self.expect(0x0014000B)

    def send(self, channel, method, arguments):
        payload = struct.pack(">I", method) + arguments
        self.socket.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the server has closed the connection")
            data += part
        return data

    def expect(self, method):
        while True:
            kind, _, size = struct.unpack(">BHI", self.exactly(7))
            payload = self.exactly(size + 1)
            if kind == 1:
                break
        found = struct.unpack(">I", payload[:4])[0]
        if found != method:
            raise ConnectionError(f"{payload[:-1]!r} instead of {method:#x}")

    def exchange(self, name, kind):
        self.send(1, 0x0028000A, b"\0\0" + short(name) + short(kind) + b"\x10" + long(""))

    def queue(self, name, arguments=b""):
        self.send(1, 0x0032000A, b"\0\0" + short(name) + b"\x10" + struct.pack(">I", len(arguments)) + arguments)

    def bind(self, queue, exchange, key):
        self.send(1, 0x00320014, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\x01" + long(""))

    def forget(self, exchanges, queues):
        for name in queues:
            self.send(1, 0x00320028, b"\0\0" + short(name) + b"\x04")
        for name in exchanges:
            self.send(1, 0x00280014, b"\0\0" + short(name) + b"\x02")

    def done(self):
        """Everything before has been done."""
        self.send(1, 0x003C000A, struct.pack(">IH", 0, 0) + b"\0")
        self.expect(0x003C000B)
        self.socket.close()


def short(text):
    return bytes([len(text)]) + text.encode()


def long(text):
    return struct.pack(">I", len(text)) + text.encode()


def string(name, value):
    return short(name) + b"S" + long(value)


def number(name, value):
    return short(name) + b"l" + struct.pack(">q", value)


def topic_setup(client):
    """One binding that takes everything among many that take nothing PerfTest sends."""
    client.forget(["bench.topic"], ["bench.topic"])
    client.exchange("bench.topic", "topic")
    client.queue("bench.topic")
    patterns = ["a{0}.b{0}.c{0}", "a{0}.*.c{0}", "a{0}.#", "*.b{0}.c{0}"]
    for i in range(BINDINGS - 1):
        client.bind("bench.topic", "bench.topic", patterns[i % 4].format(i))
    client.bind("bench.topic", "bench.topic", "#")


def dlx_setup(client):
    """bench.in expires everything after a moment, into bench.out."""
    client.forget(["bench.enter", "bench.dead"], ["bench.in", "bench.out"])
    client.exchange("bench.enter", "direct")
    client.exchange("bench.dead", "direct")
    dead = string("x-dead-letter-exchange", "bench.dead") + string("x-dead-letter-routing-key", "k")
    client.queue("bench.in", number("x-message-ttl", 5) + dead)
    client.queue("bench.out")
    client.bind("bench.in", "bench.enter", "k")
    client.bind("bench.out", "bench.dead", "k")


ROWS = {
    "transient_100": Row("-s 100 -a -u b1"),
    "transient_1k": Row("-s 1024 -a -u b2"),
    "transient_1k_ack": Row(f"-s 1024 {ACKS} -u b3"),
    "persistent_100": Row(f"-s 100 {DURABLE} -c 100 {ACKS} -u b4"),
    "persistent_1k": Row(f"-s 1024 {DURABLE} -c 100 {ACKS} -u b5"),
    "quorum_1k": Row(f"-s 1024 {DURABLE} --quorum-queue -c 100 {ACKS} -u b6"),
    "fanout_10": Row(
        "-s 100 -a -t fanout -e bench.fan -k x -x 1 -y 10"
        " --queue-pattern b7.%02d --queue-pattern-from 1 --queue-pattern-to 10"
    ),
    "topic_10000": Row("-s 100 -a -p -K -t topic -e bench.topic -u bench.topic -c 1000", topic_setup),
    "connections_100x10": Row(
        "-s 100 -a -x 50 -X 10 -y 50 -Y 10 -c 10"
        " --queue-pattern b8.%03d --queue-pattern-from 1 --queue-pattern-to 50",
        skip=4,
    ),
    "priority_10": Row(f"-s 100 -a -c 1000 -qa x-max-priority=10 -mp priority=5 -u b9"),
    "dlx_ttl": Row("-s 100 -a -p -t direct -e bench.enter -k k -u bench.out -c 1000", dlx_setup),
    "body_1mib": Row("-s 1048576 -a -c 10 -u b10"),
    "latency_5000": Row(f"-s 1024 {DURABLE} -c 1000 -q 500 -A 1 -r 5000 -u b11"),
}


def measure(server, name, row, secs, perftest):
    """One run: (messages/s, CPU us per message, latencies or None)."""
    if row.setup:
        client = Client(server.host, server.port)
        row.setup(client)
        client.done()
    uri = f"amqp://guest:guest@{server.host}:{server.port}/%2f"
    jars = str(Path(perftest, "lib", "*"))
    command = ["java", "-cp", jars, "com.rabbitmq.perf.PerfTest", "-h", uri, *row.flags.split(), "-z", str(secs)]
    cpu = server.cpu_us()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=secs + 60)
    cpu = server.cpu_us() - cpu
    output = ran.stdout + ran.stderr
    if "queue" in row.flags or " -u b" in row.flags:
        clean(server, row.flags)
    seconds = [float(n) for n in re.findall(r"received: ([\d.]+) msg/s", output.replace(",", ""))]
    average = re.findall(r"receiving rate avg: ([\d.]+) msg/s", output.replace(",", ""))
    if ran.returncode or not average or len(seconds) <= row.skip:
        raise RuntimeError(f"{name} on {server.name}: {output[-600:]}")
    messages = float(average[-1]) * secs
    latency = re.findall(r"consumer latency: ([\d/]+) .s", output)
    return statistics.median(seconds[row.skip :]), cpu / max(messages, 1), latency[row.skip :]


def clean(server, flags):
    """The queues of a run are deleted: PerfTest leaves durable ones."""
    found = re.search(r"-u (\S+)", flags)
    names = [found[1]] if found else []
    pattern = re.search(r"--queue-pattern (\S+) .*-to (\d+)", flags)
    if pattern:
        names += [pattern[1] % n for n in range(1, int(pattern[2]) + 1)]
    client = Client(server.host, server.port)
    client.forget([], names)
    client.done()


def latencies(lines):
    """Medians over the seconds: min/median/75th/95th/99th in microseconds."""
    columns = zip(*([int(n) for n in line.split("/")] for line in lines))
    return [statistics.median(column) for column in columns]


def append(path, name, row, results):
    """What the runs of a row found, as ../results.py reads it."""
    sides = {
        server: {"values": [rate for rate, _, _ in runs], "cpu_us_per_message": statistics.median(cost for _, cost, _ in runs)}
        for server, runs in results.items()
        if runs
    }
    line = {"figure": name, "unit": "msg/s", "command": f"PerfTest {row.flags}", "sides": sides}
    with path.open("a") as out:
        print(json.dumps(line), file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--perftest", required=True, help="PerfTest's directory")
    parser.add_argument("--secs", type=int, default=6, help="seconds of a run (6)")
    parser.add_argument("--runs", type=int, default=2, help="runs on each server (2)")
    parser.add_argument("--out", type=Path, help="append a line of JSON for each row to this file, for ../results.py")
    parser.add_argument("arguments", nargs="+", metavar="NAME=HOST:PORT:PID | ROW")
    args = parser.parse_args()
    servers = [server for server in map(Server.given, args.arguments) if server]
    names = [name for name in args.arguments if not Server.given(name)] or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown or not servers:
        parser.error(f"no server, or no row {unknown}; rows: {' '.join(ROWS)}")
    print("| row | server | msg/s (median) | runs | CPU us/msg | p50/p95/p99 us |\n|---|---|---|---|---|---|")
    for name in names:
        row, results = ROWS[name], {server.name: [] for server in servers}
        for run in range(args.runs):
            for server in servers if run % 2 == 0 else servers[::-1]:
                try:
                    results[server.name].append(measure(server, name, row, args.secs, args.perftest))
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    print(f"{name} {server.name}: {error}", file=sys.stderr)
                time.sleep(0.5)
        if args.out:
            append(args.out, name, row, results)
        for server in servers:
            found = results[server.name]
            if not found:
                print(f"| {name} | {server.name} | failed | | | |")
                continue
            rates, costs = [rate for rate, _, _ in found], [cost for _, cost, _ in found]
            told = [line for _, _, lines in found for line in lines]
            late = latencies(told) if told else []
            shown = f"{late[1]:,.0f}/{late[3]:,.0f}/{late[4]:,.0f}" if len(late) >= 5 and any(late) else "-"
            runs = "/".join(f"{rate:,.0f}" for rate in rates)
            rate, cost = statistics.median(rates), statistics.median(costs)
            print(f"| {name} | {server.name} | {rate:,.0f} | {runs} | {cost:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
