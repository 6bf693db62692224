#!/usr/bin/env python3
"""Makes one page of what comparisons with other servers found: RESULTS.md, and the figures in the README.

    benches/results.py FILE… >benches/RESULTS.md
    benches/results.py FILE… --readme README.md

A FILE has lines of JSON, one for each run of a figure, or several runs of it together:

    {"figure": "t1k", "unit": "msg/s", "command": "…", "sides": {"rabbitmq": {"values": [32204], "cpu_us_per_message": 31.5,
     "peak_rss_mib": 210}, "warren": {…}}}

as `compare.py --out` in `amqp/` and `redis/` writes them, or the tab-separated lines that `cargo bench --bench streams`
prints. Lines of one figure are taken together however they are spread over files. `{"about": "…"}` is a paragraph of the
page: the machine, the versions, how long a run was. A side's name is a server's; `warren_os` is Warren with `--durability os`.
"""

import argparse
import json
import statistics
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

PEERS = {"rabbitmq": "RabbitMQ", "kafka": "Kafka", "redis": "Redis", "flink": "Flink"}
WARREN = {"warren": "Warren", "warren_os": "Warren, `os`"}
NAMES = PEERS | WARREN

# In the README, in this order.
TEN = {
    "startup vs rabbitmq": "start, to the first handshake",
    "np1k_c100": "1 KiB, persistent, confirmed, acknowledged",
    "n100": "100 B, transient",
    "q1k_c100": "1 KiB through a quorum queue",
    "nlat_p1k_r5000_p99": "5,000 confirmed messages a second, p99",
    "java_p1k_acksall": "Kafka's producer, 1 KiB, `acks=all`",
    "rdk_consume_1k": "librdkafka reads 1 KiB",
    "e2e_sync_p50": "one Kafka record, from producer to consumer, p50",
    "lpush_P16": "LPUSH, 50 clients, pipelines of 16",
    "sql_calc": "SQL: filter and projection of JSON",
}

HEAD = """# Beside RabbitMQ, Kafka, Redis and Flink

Made by `benches/results.py`; do not edit. Every figure has its servers in turn on the same machine:
median (least … most) of the runs. *Factor* is Warren against the peer, above 1 where Warren is
ahead: more a second, or less time and memory. CPU is the server's alone, for each message, in
microseconds; memory the most it held during the load. The load shares the cores with the server, so
rates are floors, and CPU says more about a server than its rate.

Durability: *Warren* confirms after fdatasync, its default. *Warren, `os`* confirms after write(), as
RabbitMQ 3.10 and Kafka do by default: that column is the like of theirs. Redis runs without a log,
which is its default; beside Redis with one: [redis/](redis/README.md).
"""


@dataclass
class Side:
    """All runs of a figure on one server."""

    values: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    peak: list = field(default_factory=list)

    def add(self, values, cpu, peak):
        self.values += values
        self.cpu += [cpu] if cpu is not None else []
        self.peak += [peak] if peak is not None else []

    @property
    def median(self):
        return statistics.median(self.values)


@dataclass
class Figure:
    name: str
    unit: str
    command: str = ""
    sides: dict = field(default_factory=dict)

    def side(self, name):
        return self.sides.setdefault(name, Side())

    @property
    def peer(self):
        return next((name for name in PEERS if name in self.sides), None)

    def factor(self, side):
        """How far that side is ahead of the peer."""
        if self.peer is None or side not in self.sides:
            return None
        peer, ours = self.sides[self.peer].median, self.sides[side].median
        more, less = (ours, peer) if self.unit.endswith("/s") else (peer, ours)
        return more / less if less else None


def read(paths):
    """All figures by name and unit, the paragraphs about them, and what failed."""
    figures, about, failed = {}, [], []

    def figure(name, unit):
        return figures.setdefault((name, unit), Figure(name, unit))

    for path in paths:
        lines = Path(path).read_text().splitlines()
        if not any(line.startswith("{") for line in lines):
            read_streams(lines, figure)
            continue
        for line in map(json.loads, lines):
            if "about" in line:
                about += [line["about"]] if line["about"] not in about else []
                continue
            failed += [f"`{line['figure']}` on {NAMES[side]}: {why}" for side, why in line.get("errors", {}).items()]
            for side, found in line["sides"].items():
                # Every peer has a start of its own.
                name = line["figure"]
                if name in ("startup", "idle_rss", "idle_cpu"):
                    name += " vs " + line.get("against", next(iter(line["sides"])))
                entry = figure(name, line["unit"])
                entry.command = line.get("command", entry.command)
                entry.side(side).add(found["values"], found.get("cpu_us_per_message"), found.get("peak_rss_mib"))
    return list(figures.values()), about, failed


def read_streams(lines, figure):
    """What the streams bench prints: tables one below the other, each with its head."""
    head = []
    for cells in (line.split("\t") for line in lines):
        if cells[0] == "row":
            head = cells
            continue
        row = dict(zip(head, cells))
        if "records_per_s" in row:
            cpu, peak = float(row["cpu_us_per_record"]), float(row["rss_mib"])
            rate = [float(row["records_per_s"])]
            figure(f"sql_{row['row']}", "records/s").side(row["engine"]).add(rate, cpu, peak)
        elif "p50_us" in row:
            side = "warren_os" if (row["engine"], row["durability"]) == ("warren", "os") else row["engine"]
            for label in ("p50", "p99"):
                figure(f"sql_latency_{label}", "us").side(side).add([float(row[f"{label}_us"])], None, None)
        elif "cpu_ms_per_s" in row:
            name = f"sql_idle_{row['jobs']}_jobs"
            figure(name, "ms of CPU a second").side("warren").add([float(row["cpu_ms_per_s"])], None, float(row["rss_mib"]))


def number(value):
    """Three digits, or all of those before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(side):
    if side is None:
        return "–"
    if len(side.values) == 1:
        return number(side.median)
    return f"{number(side.median)} ({number(min(side.values))} … {number(max(side.values))})"


def each(figure, names, what):
    """One number for each side, in the order of the names."""
    found = [what(figure.sides[name]) if name in figure.sides else None for name in names]
    return " : ".join(map(number, found)) if any(found) else "–"


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def table(figures, peer):
    """Everything that was measured against one peer."""
    sides = [peer] + [name for name in WARREN if any(name in figure.sides for figure in figures)]
    ours = sides[1:]
    head = ["figure", "unit", NAMES[peer]] + [cell for name in ours for cell in (NAMES[name], "factor")]
    order = " : ".join(NAMES[name] for name in sides)
    lines = [row(*head, f"CPU, {order}", f"MiB, {order}"), "|" + "---|" * (len(head) + 2)]
    for figure in figures:
        cells = [f"`{figure.name}`", figure.unit, spread(figure.sides.get(peer))]
        for name in ours:
            cells += [spread(figure.sides.get(name)), number(figure.factor(name))]
        cpu = each(figure, sides, lambda side: statistics.median(side.cpu) if side.cpu else None)
        lines.append(row(*cells, cpu, each(figure, sides, lambda side: max(side.peak, default=None))))
    return lines


def page(figures, about, failed):
    lines = [HEAD, *(textwrap.fill(text, 100) + "\n" for text in about)]
    for peer, title in PEERS.items():
        found = [figure for figure in figures if figure.peer == peer]
        if found:
            lines += [f"## {title}\n", *table(found, peer), ""]
    alone = [figure for figure in figures if figure.peer is None]
    if alone:
        lines += ["## Warren alone\n", row("figure", "unit", "Warren", "MiB"), "|---|---|---|---|"]
        for figure in alone:
            side = next(iter(figure.sides.values()))
            lines.append(row(f"`{figure.name}`", figure.unit, spread(side), number(max(side.peak, default=None))))
        lines.append("")
    behind = [(figure.factor(side), figure.name, side) for figure in figures for side in WARREN if side in figure.sides]
    behind = sorted(one for one in behind if one[0] is not None and one[0] < 0.95)
    if behind:
        lines += ["## Where Warren is behind\n"]
        lines += [f"- `{name}`, {NAMES[side]}: {factor:.2g}" for factor, name, side in behind] + [""]
    if failed:
        lines += ["## What failed\n", *(f"- {line}" for line in failed), ""]
    commands = [figure for figure in figures if figure.command]
    if commands:
        lines += ["## The loads\n", row("figure", "load"), "|---|---|"]
        lines += [row(f"`{figure.name}`", figure.command) for figure in commands] + [""]
    return "\n".join(lines).rstrip() + "\n"


def ten(figures):
    """The README's table."""
    head = ["", "unit", "peer"] + [cell for side in WARREN.values() for cell in (side, "factor")]
    lines = [row(*head), "|---" * len(head) + "|"]
    by_name = {figure.name: figure for figure in figures}
    for figure, text in ((by_name[name], text) for name, text in TEN.items() if name in by_name):
        cells = [text, figure.unit, f"{NAMES[figure.peer]} {number(figure.sides[figure.peer].median)}"]
        for side in WARREN:
            found = figure.sides.get(side)
            cells += [number(found.median if found else None), number(figure.factor(side))]
        lines.append(row(*cells))
    return lines


def into_readme(path, figures, about):
    """Between the two marks, and nothing else. What must be known of a run stands before its figures."""
    begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
    text = Path(path).read_text()
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"{path} has no {begin.strip()} … {end}")
    warnings = [textwrap.fill(text, 100) + "\n" for text in about if text.startswith("**")]
    Path(path).write_text(before + begin + "\n".join(warnings + ten(figures)) + "\n" + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--readme", help="put the figures that matter into this file, and print nothing")
    args = parser.parse_args()
    figures, about, failed = read(args.files)
    if args.readme:
        into_readme(args.readme, figures, about)
    else:
        print(page(figures, about, failed), end="")


if __name__ == "__main__":
    main()
