#!/usr/bin/env python3
"""Measures Redis servers beside each other with Redis' own load tool, redis-benchmark.

    compare.py redis=127.0.0.1:6379:PID warren=127.0.0.1:6380:PID [--tests lpush,set] [--pipelines 1,16]

The servers run already, and lose their keys; PID is a server's process. Every row runs on each server in turn, `--runs`
times, and prints medians: requests answered per second, and the server's CPU time per request.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers import Server  # noqa: E402

TESTS = "lpush,rpop,set,get,incr,hset,sadd,zadd"

# What takes needs what it takes.
FILLED = {"rpop": "lpush", "lpop": "rpush", "spop": "sadd", "zpopmin": "zadd"}


def cli(server, *words):
    subprocess.run(["redis-cli", "-h", server.host, "-p", str(server.port), *words], check=True, stdout=subprocess.DEVNULL)


def run(server, test, pipelined, options):
    requests = options.requests * min(pipelined, 10)

    def load(test, pipelined):
        size = ["-n", str(requests), "-c", str(options.clients), "-d", str(options.bytes), "-r", "10000"]
        command = ["redis-benchmark", "-h", server.host, "-p", str(server.port), "-t", test, "-P", str(pipelined), "-q", *size]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    cli(server, "flushall")
    if test in FILLED:
        load(FILLED[test], 16)
    before, started = server.cpu_us(), time.monotonic()
    load(test, pipelined)
    return requests / (time.monotonic() - started), (server.cpu_us() - before) / requests


def append(path, name, command, seen):
    """What the runs of a row found, as ../results.py reads it."""
    sides = {}
    for server, runs in seen.items():
        rates, costs = zip(*runs)
        sides[server] = {"values": rates, "cpu_us_per_message": statistics.median(costs)}
    with open(path, "a") as out:
        print(json.dumps({"figure": name, "unit": "msg/s", "command": command, "sides": sides}), file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=HOST:PORT:PID")
    parser.add_argument("--tests", default=TESTS)
    parser.add_argument("--pipelines", default="1,16")
    parser.add_argument("--requests", type=int, default=100_000, help="of a row; ten times as many when pipelined")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", help="append a line of JSON for each row to this file, for ../results.py")
    options = parser.parse_args()
    servers = [Server.given(given) or parser.error(f"{given} is no NAME=HOST:PORT:PID") for given in options.servers]
    print(f"{'test':12}{'-P':>4}" + "".join(f"{server.name + ' req/s':>18}{'CPU us':>9}" for server in servers))
    for test in options.tests.split(","):
        for pipelined in map(int, options.pipelines.split(",")):
            seen = {server.name: [] for server in servers}
            for _ in range(options.runs):
                for server in servers:
                    seen[server.name].append(run(server, test, pipelined, options))
            cells = [map(statistics.median, zip(*runs)) for runs in seen.values()]
            row = "".join(f"{rate:18.0f}{cpu:9.2f}" for rate, cpu in map(tuple, cells))
            print(f"{test:12}{pipelined:4}" + row, flush=True)
            if options.out:
                append(options.out, f"{test}_P{pipelined}", f"redis-benchmark -t {test} -P {pipelined}", seen)


if __name__ == "__main__":
    main()
